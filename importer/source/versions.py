"""GLUE versions as they come by: the newest of each job are kept, of older ones nothing but that they exist."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from importer.source import bounds
from importer.source.bounds import Bounds
from importer.source.catalog import Table
from importer.source.cells import Cell

MOST_KEPT = 30
"""Of a job: XXL-JOB itself removes older ones when a source is saved."""
_NAMES = ("id", "job_id", "job_group", "job_name")
_Key = tuple[Cell, ...]


class Versions:
    """Takes rows by id. `rows` are all of them, those of older versions with nothing but what names them."""

    def __init__(self, table: Table, held: Bounds) -> None:
        self.rows: list[dict[str, Cell]] = []
        self._table = table
        self._held = held
        self._newest: dict[_Key, deque[int]] = {}

    def take(self, row: dict[str, Cell]) -> None:
        self._held.hold(self._table, row)
        self.rows.append(row)
        self._held.require(self._table, len(self.rows), bounds.MOST_VERSIONS)
        newest = self._newest.setdefault(_key(row), deque())
        newest.append(len(self.rows) - 1)
        if len(newest) > MOST_KEPT:
            place = newest.popleft()
            older = self.rows[place]
            self.rows[place] = {column: older[column] for column in _NAMES if column in older}
            self._held.release(older)
            self._held.hold(self._table, self.rows[place])


def _key(row: Mapping[str, Cell]) -> _Key:
    job_id = row.get("job_id")
    return (job_id,) if job_id is not None else (row.get("job_group"), row.get("job_name"))
