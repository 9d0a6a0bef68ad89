"""Queries on runs. None of them scans the history: a page examines a bounded number of rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import NotFound
from gateway.core.holding import HELD
from gateway.core.listing import Page, RunFilter
from gateway.core.model import BROADCAST_PARENT, PARTS, Run, TriggerKind
from gateway.core.places import Place, Scope
from gateway.core.shards import Tally, tally
from gateway.core.states import IN_FLIGHT, OPEN, RunState
from gateway.store import cursors
from gateway.store.engine import Database
from gateway.store.run_rows import COLUMNS, TEXT, run_of, run_of_values
from gateway.store.sqltext import in_list, in_lists
from gateway.store.tables import request, run
from gateway.store.transact import reading, transact
from gateway.store.transaction import open_cursor

EXAMINED = 50_000
_CHUNK = 500
_SPANS = 100
_NEWEST = 1 << 62
ALL_PARTS = run.c.open_part.in_(bindparam("parts", range(PARTS), expanding=True, literal_execute=True))
# MySQL would rather walk the primary key when a query is ordered by it; `+ 0` says the same to SQLite.
OPEN_INDEX = "FORCE INDEX (ix_run_open_part_due_ms)"
_ID = run.c.id + 0


class RunStore:
    """Implements `core.catalog.RunCatalog` and `core.ports.RunReader`. `examined` bounds the work of a page."""

    def __init__(self, db: Database, clock: Clock, examined: int = EXAMINED) -> None:
        self._db = db
        self._clock = clock
        self._examined = examined

    # ------------------------------------------------------------ catalog

    async def get(self, run_id: int) -> Run:
        found = await self.get_many([run_id])
        if run_id not in found:
            raise NotFound("run", run_id)
        return found[run_id]

    async def page(self, wanted: RunFilter, *, cursor: str | None, limit: int) -> Page[Run]:
        before = _NEWEST if cursor is None else cursors.decode("r", cursor)
        async with reading(self._db) as conn:
            if wanted.states is not None and wanted.states <= OPEN:
                return await self._open_page(conn, wanted, before, limit)
            if wanted.job_id is not None:
                floor, more = await self._job_window(conn, wanted, before)
            elif wanted == RunFilter(wanted.namespace_id):
                floor, more = 0, False  # every row counts, so the limit of the page bounds it
            else:
                before, floor, more = await self._window(conn, before)
            query = _newest(wanted).where(run.c.id < before, run.c.id >= floor).order_by(run.c.id.desc())
            return await _page_of(conn, query, limit, floor if more else None)

    async def _open_page(
        self, conn: AsyncConnection, wanted: RunFilter, before: int, limit: int
    ) -> Page[Run]:
        """By the index that holds open runs only."""
        query = _newest(wanted).where(ALL_PARTS, before > _ID).order_by(_ID.desc())
        return await _page_of(conn, query.with_hint(run, OPEN_INDEX, "mysql"), limit, None)

    async def _job_window(self, conn: AsyncConnection, wanted: RunFilter, before: int) -> tuple[int, bool]:
        """The smallest id to examine among the job's own, and whether there may be smaller ones."""
        if wanted == RunFilter(wanted.namespace_id, job_id=wanted.job_id):
            return 0, False  # every row counts, so the limit of the page bounds it
        ids = (
            select(run.c.id)
            .where(run.c.job_id == wanted.job_id, run.c.id < before)
            .order_by(run.c.id.desc())
            .limit(self._examined)
            .subquery()
        )
        count, floor = (await conn.execute(select(func.count(), func.min(ids.c.id)))).one()
        return floor or 0, count == self._examined

    async def _window(self, conn: AsyncConnection, before: int) -> tuple[int, int, bool]:
        """A stretch of ids that begins at the newest run, so that gaps between blocks of ids cost nothing."""
        newest = (await conn.execute(select(func.max(run.c.id)).where(run.c.id < before))).scalar()
        if newest is None:
            return before, before, False
        floor = max(newest - self._examined + 1, 0)
        return newest + 1, floor, floor > 0

    # ------------------------------------------------------------ the flow's side

    async def get_many(self, run_ids: Collection[int]) -> dict[int, Run]:
        # Finished text: results that reach another node than the one that sent their run are looked up here.
        found: dict[int, Run] = {}
        async with reading(self._db) as conn:
            cursor = await open_cursor(conn)
            for ids in in_lists(run_ids):
                for row in await cursor.rows(f"SELECT {TEXT} FROM run WHERE id IN ({ids})"):
                    found[row[0]] = run_of_values(row)
        return found

    async def open_runs(
        self, after: Run | None, limit: int, states: Collection[RunState], parts: Collection[int]
    ) -> list[Run]:
        part, due_ms, run_id = (after.part, after.due_ms, after.id) if after else (0, -1, -1)
        column = run.c.open_part
        later = or_(run.c.due_ms > due_ms, and_(run.c.due_ms == due_ms, run_id < run.c.id))
        # The first condition is for the index, which is walked in its own order.
        ahead = column >= part if len(parts) == PARTS else column.in_([n for n in sorted(parts) if n >= part])
        query = (
            select(*COLUMNS)
            .where(ahead, or_(column > part, later), run.c.state.in_(sorted(states)))
            .order_by(column, run.c.due_ms, run.c.id)
            .limit(limit)
            .with_hint(run, OPEN_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            return [run_of(row) for row in (await conn.execute(query)).mappings()]

    async def overdue(
        self, before_ms: int, limit: int, states: Collection[RunState], parts: Collection[int]
    ) -> list[Run]:
        query = (
            select(*COLUMNS)
            .where(
                run.c.open_part.in_(sorted(parts)), run.c.due_ms < before_ms, run.c.state.in_(sorted(states))
            )
            .order_by(run.c.due_ms)
            .limit(limit)
            .with_hint(run, OPEN_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            return [run_of(row) for row in (await conn.execute(query)).mappings()]

    async def forget_requests(self, run_ids: Collection[int]) -> None:
        ordered = sorted(run_ids)

        async def body(conn: AsyncConnection) -> None:
            for start in range(0, len(ordered), _CHUNK):
                chunk = ordered[start : start + _CHUNK]
                await conn.execute(delete(request).where(request.c.run_id.in_(chunk)))

        await transact(self._db, self._clock, body)

    async def open_runs_of_job(self, job_id: int, part: int, after_id: int, limit: int) -> list[Run]:
        query = (
            select(*COLUMNS)
            .where(run.c.open_part == part, run.c.job_id == job_id, after_id < _ID)
            .order_by(_ID)
            .limit(limit)
            .with_hint(run, OPEN_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            return [run_of(row) for row in (await conn.execute(query)).mappings()]

    async def under_way(self, scope: Scope) -> list[Place]:
        row = run.c
        mine = row.job_id if scope.kind == "job" else row.app_id
        query = (
            select(
                row.id,
                row.job_id,
                row.app_id,
                row.part,
                row.root_id,
                row.shard,
                row.claimed_ms,
                row.address,
                row.state,
            )
            .where(row.open_part == scope.part, mine == scope.id, row.state.in_(sorted(IN_FLIGHT | HELD)))
            .order_by(row.claimed_ms, row.id)
            .with_hint(run, OPEN_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            rows = await conn.execute(query)
            return [Place(*row[:-1], settled=True, held=row.state in HELD) for row in rows]

    async def running_by_address(self, app_id: int) -> dict[str, int]:
        row = run.c
        query = (
            select(row.address, func.count().label("n"))
            .where(ALL_PARTS, row.app_id == app_id, row.state.in_(sorted(IN_FLIGHT)), row.address != "")
            .group_by(row.address)
            .with_hint(run, OPEN_INDEX, "mysql")
        )
        async with reading(self._db) as conn:
            return {found.address: found.n for found in await conn.execute(query)}

    async def states(self, run_ids: Collection[int]) -> dict[int, RunState]:
        found: dict[int, RunState] = {}
        async with reading(self._db) as conn:
            cursor = await open_cursor(conn)
            for ids in in_lists(run_ids):
                for run_id, state in await cursor.rows(f"SELECT id,state FROM run WHERE id IN ({ids})"):
                    found[run_id] = RunState(state)
        return found

    async def keep_places(self, run_ids: Collection[int]) -> set[int]:
        found: set[int] = set()
        async with reading(self._db) as conn:
            cursor = await open_cursor(conn)
            for ids in in_lists(run_ids):
                # One that waits again is open as well, and has no place any more.
                rows = await cursor.rows(
                    f"SELECT id FROM run WHERE id IN ({ids}) AND open_part IS NOT NULL"
                    f" AND state IN ({in_list(HELD)})"
                )
                found.update(row[0] for row in rows)
        return found

    async def family(self, job_id: int, slot_key: int) -> list[Run]:
        query = select(*COLUMNS).where(run.c.job_id == job_id, run.c.slot_key == slot_key)
        async with reading(self._db) as conn:
            rows = await conn.execute(query.order_by(run.c.shard, run.c.attempt))
            return [run_of(row) for row in rows.mappings()]

    async def tally(self, parent: Run) -> Tally:
        mine = (run.c.job_id == parent.job_id, run.c.slot_key == parent.slot_key, run.c.shard >= 0)
        async with reading(self._db) as conn:
            rows = await conn.execute(select(run.c.shard, run.c.attempt, run.c.state).where(*mine))
            return tally((shard, attempt, RunState(state)) for shard, attempt, state in rows)

    async def slots_with_rows(self, spans: Sequence[tuple[int, int, int]]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        async with reading(self._db) as conn:
            cursor = await open_cursor(conn)
            for start in range(0, len(spans), _SPANS):
                within = " OR ".join(
                    f"job_id={job_id:d} AND slot_key BETWEEN {first:d} AND {last:d}"
                    for job_id, first, last in spans[start : start + _SPANS]
                )
                for job_id, slot in await cursor.rows(f"SELECT job_id,slot_key FROM run WHERE {within}"):
                    found.setdefault(job_id, set()).add(slot)
        return found


def _newest(wanted: RunFilter) -> Select[Any]:
    guards: list[ColumnElement[bool]] = [run.c.namespace_id == wanted.namespace_id]
    if wanted.job_id is not None:
        guards.append(run.c.job_id == wanted.job_id)
    if wanted.app_id is not None:
        guards.append(run.c.app_id == wanted.app_id)
    if wanted.states is not None:
        guards.append(run.c.state.in_(sorted(wanted.states)))
    if wanted.from_ms is not None:
        guards.append(run.c.due_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        guards.append(run.c.due_ms < wanted.to_ms)
    if wanted.root_id is not None:
        guards.append(run.c.root_id == wanted.root_id)
    if wanted.trigger is not None:
        guards.append(run.c.trigger_kind == int(wanted.trigger))
    if wanted.parent_id is not None:
        guards.append(run.c.parent_id == wanted.parent_id)
    if wanted.author is not None:
        guards.append(run.c.author == wanted.author)
    if wanted.no_shards:
        # As `core.shards.is_shard` has it.
        alone = and_(run.c.shard_total == 1, or_(run.c.parent_id == 0, run.c.parent_id != run.c.root_id))
        guards.append(or_(run.c.shard == BROADCAST_PARENT, alone))
    if wanted.not_rerun:
        guards.append(run.c.rerun_id == 0)
        # What failed at an old admin was that one's to tell.
        guards.append(run.c.trigger_kind != int(TriggerKind.IMPORTED))
    return select(*COLUMNS).where(*guards)


async def _page_of(conn: AsyncConnection, query: Select[Any], limit: int, floor: int | None) -> Page[Run]:
    """`floor` is the smallest id that the query looked at, None if it looked at all that is left."""
    runs = [run_of(row) for row in (await conn.execute(query.limit(limit + 1))).mappings()]
    if len(runs) > limit:
        return Page(tuple(runs[:limit]), cursors.encode("r", runs[limit - 1].id))
    return Page(tuple(runs), None if floor is None else cursors.encode("r", floor))
