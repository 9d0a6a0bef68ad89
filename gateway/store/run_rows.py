"""A row of `run` as a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, case, func

from gateway.core.model import Run, TriggerKind
from gateway.core.states import OPEN, RunState
from gateway.store.sqltext import split_addresses
from gateway.store.tables import run

# In the order of the fields of `Run`.
NAMES = tuple(Run.__dataclass_fields__)
COLUMNS = [run.c[name] for name in NAMES]
TEXT = ",".join(NAMES)

_KIND, _STATE, _OUTCOME, _ADDRESSES = map(NAMES.index, ("trigger_kind", "state", "outcome", "addresses"))
_KINDS = {int(kind): kind for kind in TriggerKind}
_STATES = {int(state): state for state in RunState}


def count_open() -> ColumnElement[int]:
    """How many of the rows are open. One that is over and keeps its place has an `open_part`, too."""
    return func.count(case((run.c.state.in_(sorted(OPEN)), 1)))


def run_of(row: RowMapping) -> Run:
    """From a row with `COLUMNS`."""
    return run_of_values([row[name] for name in NAMES])


def run_of_values(values: Sequence[Any]) -> Run:
    """From the values of `COLUMNS`, as a driver gives them."""
    fields = list(values)
    fields[_KIND] = _KINDS[fields[_KIND]]
    fields[_STATE] = _STATES[fields[_STATE]]
    fields[_OUTCOME] = _STATES[fields[_OUTCOME]] if fields[_OUTCOME] else None
    fields[_ADDRESSES] = split_addresses(fields[_ADDRESSES])
    return Run(*fields)
