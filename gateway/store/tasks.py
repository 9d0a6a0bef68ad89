"""Names of runs: which run a task id names, and the other way round. The rows are inserted by the writer."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from gateway.core.submission import default_task_id, root_of_default
from gateway.store.engine import Database
from gateway.store.tables import task
from gateway.store.transact import reading


class TaskStore:
    """Implements `core.catalog.TaskCatalog`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def root_of(self, namespace_id: int, task_id: str) -> int | None:
        root_id = root_of_default(task_id)
        if root_id is not None:
            return root_id
        mine = (task.c.namespace_id == namespace_id, task.c.task_id == task_id)
        async with reading(self._db) as conn:
            return (await conn.execute(select(task.c.run_id).where(*mine))).scalar_one_or_none()

    async def names(self, root_ids: Collection[int]) -> dict[int, str]:
        if not root_ids:
            return {}
        query = select(task.c.run_id, task.c.task_id).where(task.c.run_id.in_(sorted(root_ids)))
        async with reading(self._db) as conn:
            given = {row.run_id: row.task_id for row in await conn.execute(query)}
        return {root_id: given.get(root_id) or default_task_id(root_id) for root_id in root_ids}
