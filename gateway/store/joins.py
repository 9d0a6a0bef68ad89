"""Jobs that wait for the end of several parents: counted in the transaction that ends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.core.children import Marks, join
from gateway.core.work import JoinEnd
from gateway.store.sqltext import in_list

Execute = Callable[[str], Awaitable[int]]
Rows = Callable[[str], Awaitable[list[tuple[Any, ...]]]]


class Joins:
    """Part of one attempt to write; see `transaction`. `lock_clause` is empty on SQLite."""

    def __init__(self, execute: Execute, rows: Rows, lock_clause: str, *, is_sqlite: bool) -> None:
        self._execute = execute
        self._rows = rows
        self._lock_clause = lock_clause
        self._is_sqlite = is_sqlite

    async def lock(self, ends: Sequence[JoinEnd]) -> None:
        """Have ends for one child stand in a row: two that do not see each other would both not be the last."""
        ids = in_list({one.end.child_id for one in ends})
        await self._rows(
            f"SELECT job_id FROM job_next_fire WHERE job_id IN ({ids}) ORDER BY job_id{self._lock_clause}"
        )

    async def count(self, ends: Sequence[JoinEnd], now_ms: int) -> list[JoinEnd]:
        """Those whose row is to be inserted now: they were the last that their child waited for."""
        ids = in_list({one.end.child_id for one in ends})
        parents: dict[int, set[int]] = {}
        for child_id, parent_id in await self._rows(
            f"SELECT child_id,parent_id FROM job_link WHERE child_id IN ({ids})"
        ):
            parents.setdefault(child_id, set()).add(parent_id)
        found = await self._rows(
            f"SELECT child_id,parent_id,root_id,used FROM join_mark WHERE child_id IN ({ids})"
        )
        marks: Marks = {
            (child_id, parent_id): (root_id, bool(used)) for child_id, parent_id, root_id, used in found
        }
        before = dict(marks)
        last = join([one.end for one in ends], parents, marks)
        changed = {key: mark for key, mark in marks.items() if before.get(key) != mark}
        if changed:
            await self._store(changed, now_ms)
        return [one for one in ends if one.end in last]

    async def _store(self, changed: Marks, now_ms: int) -> None:
        values = ",".join(
            f"({child_id},{parent_id},{root_id},{used:d},{now_ms})"
            for (child_id, parent_id), (root_id, used) in sorted(changed.items())
        )
        names = ("root_id", "used", "marked_ms")
        if self._is_sqlite:
            sets = ",".join(f"{name}=excluded.{name}" for name in names)
            clause = f"ON CONFLICT (child_id,parent_id) DO UPDATE SET {sets}"
        else:
            sets = ",".join(f"{name}=VALUES({name})" for name in names)
            clause = f"ON DUPLICATE KEY UPDATE {sets}"
        await self._execute(
            f"INSERT INTO join_mark (child_id,parent_id,root_id,used,marked_ms) VALUES {values} {clause}"
        )
