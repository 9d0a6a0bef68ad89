"""How long runs took."""

from __future__ import annotations

from collections.abc import Collection

from gateway.store.engine import Database
from gateway.store.tables import run
from gateway.store.transact import reading
from gateway.store.transaction import open_cursor

_LAST_RUNS = 20
_JOBS_A_QUERY = 50


class DurationStore:
    """Implements `core.scenario.Durations`. Looks at the last rows of each job and no further."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._index = "" if db.is_sqlite else " FORCE INDEX (ix_run_job_id_id)"

    async def mean_ms(self, job_ids: Collection[int]) -> dict[int, int]:
        ordered = sorted(set(job_ids))
        took: dict[int, list[int]] = {}
        async with reading(self._db) as conn:
            cursor = await open_cursor(conn)
            for start in range(0, len(ordered), _JOBS_A_QUERY):
                parts = [self._last(job_id) for job_id in ordered[start : start + _JOBS_A_QUERY]]
                for job_id, sent_ms, finished_ms in await cursor.rows(" UNION ALL ".join(parts)):
                    if sent_ms and finished_ms >= sent_ms:
                        took.setdefault(job_id, []).append(finished_ms - sent_ms)
        return {job_id: sum(ms) // len(ms) for job_id, ms in took.items()}

    def _last(self, job_id: int) -> str:
        """Of a broadcast the shards are what takes time."""
        rows = (
            f"SELECT job_id,sent_ms,finished_ms,shard FROM {run.name}{self._index} "
            f"WHERE job_id={job_id:d} ORDER BY id DESC LIMIT {_LAST_RUNS}"
        )
        return f"SELECT job_id,sent_ms,finished_ms FROM ({rows}) AS last_{job_id:d} WHERE shard>=0"
