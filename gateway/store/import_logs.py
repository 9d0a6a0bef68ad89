"""Runs and days of an old admin, batch by batch: each batch and the mark of how far they go are one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.daily import day_of
from gateway.core.errors import Conflict, NotFound, StoreError
from gateway.core.events import Source
from gateway.core.model import FIRST_LONG_ID, TriggerKind
from gateway.core.states import RunState
from gateway.store.daily import LIVE, REMOVED
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.ids import FIRST_INT_ID
from gateway.store.imports import Undone, undone_in_part
from gateway.store.tables import id_sequence, import_item, import_source, job, node, run, run_daily
from gateway.store.tables.imports import UNDONE_IN_PART
from gateway.store.transact import reading, transact

FIRST_OWN_ID = 1 << 31
"""From here to the first long id: for runs whose own ids are too large, or taken by those of another source."""
SEQUENCE = "run_imported"
LOG = "log"
_CHUNK = 500
_C = import_source.c
_ITEM = import_item.c
_DAILY = run_daily.c


@dataclass(frozen=True, slots=True)
class LogMark:
    """How far the log of a source has come: rows from `first` to `mark` are done; `first` is 0 before any is.

    `from_ms`: when the first of its rows was triggered, from whose day on runs count, not its daily report; 0 for never.
    `newest`: the latest time that a row had, by the clock there, and `newest_id` the last row with a time; what tells a log
    that goes on from one whose ids have begun again, which they have done `again` times.
    """

    source_id: int
    first: int
    mark: int
    last: int
    from_ms: int
    done: bool
    newest_id: int = 0
    newest: datetime | None = None
    again: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing has come, although it was begun with."""
        return self.newest is None and self.mark < self.first


@dataclass(slots=True, eq=False)
class OldRun:
    """A run as the old admin's log has it, of a job that is here. Not frozen, for there may be millions."""

    old_id: int
    job_id: int
    state: RunState
    trigger_ms: int
    sent_ms: int
    finished_ms: int
    result_code: int
    address: str
    shard: int
    shard_total: int
    attempt: int
    params: str | None
    message: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Appended:
    """`of_deleted`: runs left out, because their jobs were deleted meanwhile. `renamed`: those that got another id."""

    mark: LogMark
    written: int
    of_deleted: int
    renamed: int


@dataclass(frozen=True, slots=True)
class OldDay:
    """`day`: as a number from 1970, by the old admin's calendar."""

    day: int
    succeeded: int
    failed: int
    lost: int


class LogImportStore:
    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def mark(self, source: str) -> LogMark:
        """Raises `NotFound` for a source of which nothing has been imported."""
        async with reading(self._db) as conn:
            row = (await conn.execute(select(import_source).where(_C.name == source))).first()
            if row is None:
                raise NotFound("import", source)
            if row.log_done == UNDONE_IN_PART:
                raise Undone(undone_in_part(source))
            mark = LogMark(
                row.id, row.log_first, row.log_mark, row.log_last, row.log_from_ms, bool(row.log_done)
            )
            newest = (await conn.execute(select(import_item).where(*_newest_of(mark)))).first()
        if newest is None:
            return mark
        at = datetime.fromisoformat(newest.digest) if newest.digest else None
        return replace(mark, newest_id=int(newest.old_key), newest=at, again=newest.version)

    async def has_company(self) -> bool:
        """Whether nodes are at work on this database."""
        if self._db.is_sqlite:  # whose one process holds the lock that whoever writes here has
            return False
        async with reading(self._db) as conn:
            return (
                await conn.execute(select(node.c.name).where(node.c.live == 1).limit(1))
            ).first() is not None

    async def begin(
        self, mark: LogMark, first: int, last: int, from_ms: int, from_day: int, again: int = 0
    ) -> LogMark:
        """Rows up to `last` are wanted, and back to `first` of that day, from which on the daily report covers none.

        `again`: from which id on rows have ids that others had.
        """
        known = replace(mark, first=0, from_ms=0) if mark.is_empty else mark
        is_further = not known.from_ms or from_ms < known.from_ms
        wanted = replace(
            known,
            first=known.first or first,
            mark=known.mark if known.first else first - 1,
            last=max(known.last, last),
            from_ms=min(known.from_ms or from_ms, from_ms),
            done=False,
        )
        if again:
            wanted = replace(
                wanted, first=min(wanted.first, again), mark=again - 1, last=last, again=mark.again + 1
            )

        async def body(conn: AsyncConnection) -> None:
            await _move(conn, mark, wanted)
            if is_further:
                days = (_DAILY.job_id == -mark.source_id, _DAILY.day >= from_day)
                await conn.execute(delete(run_daily).where(*days))

        await transact(self._db, self._clock, body)
        return wanted

    async def append(self, mark: LogMark, runs: Sequence[OldRun], wanted: LogMark) -> Appended:
        """Write these, and that the log has come so far. Raises `Conflict` if somebody else has moved the mark."""
        try:
            return await self._append(mark, runs, wanted, taken=False)
        except _TakenError:
            return await self._append(mark, runs, wanted, taken=True)

    async def _append(
        self, mark: LogMark, runs: Sequence[OldRun], wanted: LogMark, *, taken: bool
    ) -> Appended:
        async def body(conn: AsyncConnection) -> Appended:
            await _move(conn, mark, wanted)
            places = await _places(conn, {one.job_id for one in runs})
            kept = [one for one in runs if one.job_id in places]
            there = await _taken(conn, [one.old_id for one in kept]) if taken else set[int]()
            # Of ids that have begun again none is kept: newer runs would stand before older ones.
            renamed = [one for one in kept if mark.again or one.old_id >= FIRST_INT_ID or one.old_id in there]
            ids = {
                id(one): run_id for one, run_id in zip(renamed, await _ids(conn, len(renamed)), strict=True)
            }
            rows = [_row(one, ids.get(id(one), one.old_id), places[one.job_id]) for one in kept]
            try:
                for start in range(0, len(rows), _CHUNK):
                    await conn.execute(insert(run), rows[start : start + _CHUNK])
            except IntegrityError:
                if taken:
                    raise Conflict("runs with these ids were made at this moment: try again") from None
                raise _TakenError from None
            await _count_anew(conn, kept)
            return Appended(wanted, len(kept), len(runs) - len(kept), len(renamed))

        return await transact(self._db, self._clock, body)

    async def finish(self, mark: LogMark, source: str, words: str, *, done: bool) -> None:
        """`done`: all that was wanted is there. The event says what came; nothing, for want of words, is no event."""

        async def body(conn: AsyncConnection) -> None:
            await _move(conn, mark, replace(mark, done=done))
            if words:
                now_ms = self._clock.now_ms()
                await note(conn, now_ms, Source.SYSTEM, "imported", [("import", source[:128], words)])

        await transact(self._db, self._clock, body)

    async def write_days(self, source_id: int, days: Sequence[OldDay], keep: int | None = None) -> None:
        """Instead of all that were written of this source before, but for that of the day `keep`."""
        rows = [
            {
                "day": one.day,
                "job_id": -source_id,
                "kind": REMOVED,
                "app_id": 0,
                "succeeded": one.succeeded,
                "failed": one.failed,
                "lost": one.lost,
            }
            for one in sorted(days, key=lambda one: one.day)
            if one.day != keep
        ]
        before = [_DAILY.job_id == -source_id, *([] if keep is None else [_DAILY.day != keep])]

        async def body(conn: AsyncConnection) -> None:
            await _hold(conn, source_id)
            await conn.execute(delete(run_daily).where(*before))
            for start in range(0, len(rows), _CHUNK):
                await conn.execute(insert(run_daily), rows[start : start + _CHUNK])
            await conn.execute(update(import_source).where(_C.id == source_id).values(days_done=1))

        await transact(self._db, self._clock, body)


class _TakenError(Conflict):
    """An id is a run's already."""


async def _hold(conn: AsyncConnection, source_id: int) -> None:
    """Nobody moves its mark or undoes it until this transaction ends. Raises `Undone`."""
    query = select(_C.name, _C.log_done).where(_C.id == source_id).with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise Undone("the import was undone at this moment")
    if row.log_done == UNDONE_IN_PART:
        raise Undone(undone_in_part(row.name))


async def _move(conn: AsyncConnection, mark: LogMark, to: LogMark) -> None:
    """First of all: of two who bring the same rows one waits here, and is refused then."""
    await _hold(conn, mark.source_id)
    mine = (_C.id == mark.source_id, _C.log_first == mark.first, _C.log_mark == mark.mark)
    values = {
        "log_first": to.first,
        "log_mark": to.mark,
        "log_last": to.last,
        "log_from_ms": to.from_ms,
        "log_done": int(to.done),
    }
    if not (await conn.execute(update(import_source).where(*mine).values(values))).rowcount:
        raise Conflict("the log of this source is being imported by somebody else at this moment")
    if (to.newest_id, to.newest, to.again) == (mark.newest_id, mark.newest, mark.again):
        return
    newest = {
        "old_key": str(to.newest_id),
        "digest": "" if to.newest is None else to.newest.isoformat(),
        "version": to.again,
    }
    if not (await conn.execute(update(import_item).where(*_newest_of(mark)).values(newest))).rowcount:
        await conn.execute(insert(import_item).values(source_id=mark.source_id, kind=LOG, **newest))


def _newest_of(mark: LogMark) -> tuple[ColumnElement[bool], ...]:
    return _ITEM.source_id == mark.source_id, _ITEM.kind == LOG


async def _places(conn: AsyncConnection, job_ids: set[int]) -> dict[int, Any]:
    """Of the jobs that are here, locked for others' changes: no count of their days comes between."""
    found: dict[int, Any] = {}
    ids = sorted(job_ids)
    for start in range(0, len(ids), _CHUNK):
        query = select(job.c.id, job.c.namespace_id, job.c.app_id, job.c.part)
        query = query.where(job.c.id.in_(ids[start : start + _CHUNK])).order_by(job.c.id)
        found.update((row.id, row) for row in await conn.execute(query.with_for_update(read=True)))
    return found


async def _taken(conn: AsyncConnection, ids: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for start in range(0, len(ids), _CHUNK):
        there = select(run.c.id).where(run.c.id.in_(ids[start : start + _CHUNK]))
        found.update((await conn.execute(there)).scalars())
    return found


async def _ids(conn: AsyncConnection, count: int) -> range:
    """Between those of old executors and those of this scheduler: so older runs stand before newer ones."""
    if not count:
        return range(0)
    mine = id_sequence.c.name == SEQUENCE
    first: int | None = (
        await conn.execute(select(id_sequence.c.next_id).where(mine).with_for_update())
    ).scalar()
    if first is None:
        first = FIRST_OWN_ID
        await conn.execute(insert(id_sequence).values(name=SEQUENCE, next_id=first + count))
    else:
        await conn.execute(update(id_sequence).where(mine).values(next_id=first + count))
    if first + count > FIRST_LONG_ID:
        raise StoreError("there are no ids left for runs of old admins")
    return range(first, first + count)


async def _count_anew(conn: AsyncConnection, runs: Sequence[OldRun]) -> None:
    """Days on which these have ended, counted for good before they came, are counted again."""
    if not runs:
        return
    first_day = day_of(min(one.finished_ms for one in runs))
    ids = sorted({one.job_id for one in runs})
    for start in range(0, len(ids), _CHUNK):
        counted: tuple[ColumnElement[bool], ...] = (_DAILY.kind == LIVE, _DAILY.day >= first_day)
        mine = _DAILY.job_id.in_(ids[start : start + _CHUNK])
        await conn.execute(delete(run_daily).where(mine, *counted))


def _row(one: OldRun, run_id: int, place: Any) -> dict[str, Any]:
    return {
        "id": run_id,
        "namespace_id": place.namespace_id,
        "job_id": one.job_id,
        "app_id": place.app_id,
        "part": place.part,
        "slot_key": -run_id,
        "shard": one.shard,
        "shard_total": one.shard_total,
        "attempt": one.attempt,
        "root_id": run_id,
        "trigger_kind": int(TriggerKind.IMPORTED),
        "state": int(one.state),
        "outcome": int(one.state),
        "due_ms": one.trigger_ms,
        "created_ms": one.trigger_ms,
        "address": one.address,
        "claim_token": one.old_id,  # what its executor calls it
        "trigger_ms": one.trigger_ms,
        "sent_ms": one.sent_ms,
        "answered_ms": one.sent_ms,
        "finished_ms": one.finished_ms,
        "result_code": one.result_code,
        "message": one.message,
        "reason": one.reason,
        "params": one.params,
        "starts_children": 0,
    }
