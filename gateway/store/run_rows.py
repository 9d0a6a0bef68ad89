"""A row of `run` as a value."""

from __future__ import annotations

from sqlalchemy import RowMapping

from gateway.core.model import Run, TriggerKind
from gateway.core.states import RunState
from gateway.store.sqltext import split_addresses
from gateway.store.tables import run

_PLAIN = (
    *("id", "namespace_id", "job_id", "app_id", "slot_key", "shard", "shard_total", "attempt", "root_id"),
    *("priority", "due_ms", "created_ms", "job_version", "address", "dialect", "trigger_ms", "claimed_ms"),
    *("sent_ms", "answered_ms", "finished_ms", "result_code", "message", "reason", "params"),
    *("last_slot_ms", "slot_count", "claim_token", "send_deadline_ms"),
)
COLUMNS = [run.c[name] for name in (*_PLAIN, "trigger_kind", "state", "outcome", "addresses")]


def run_of(row: RowMapping) -> Run:
    """From a row with `COLUMNS`."""
    return Run(
        **{name: row[name] for name in _PLAIN},
        trigger_kind=TriggerKind(row["trigger_kind"]),
        state=RunState(row["state"]),
        outcome=RunState(row["outcome"]) if row["outcome"] else None,
        addresses=split_addresses(row["addresses"]),
    )
