"""Jobs of an import are taken from this scheduler again, hundreds in a transaction; and what is known of them then.

Locks are taken in the order job → next fire → run, ids ascending: nodes are at work meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

from sqlalchemy import and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import is_chained
from gateway.core.confine import Slots, schedule_of
from gateway.core.given_back import SlotRow, last_handled
from gateway.core.model import Job
from gateway.core.states import RunState
from gateway.store.cutovers import AT_ONCE, AUTHOR, CutoverStore, ImportedSource, lock, note_items
from gateway.store.definitions import job_at
from gateway.store.held_ids import JOB, made_since
from gateway.store.imports import Item
from gateway.store.next_fires import remove_ahead
from gateway.store.overdue import overdue_row
from gateway.store.tables import job, job_next_fire, job_version, run
from gateway.store.transact import reading, transact

_OVERDUE = "the job was disabled before this slot was planned"
_RANGES = 200
# Where a job belongs is not asked of its old versions; it may be deleted.
_ANYWHERE = SimpleNamespace(namespace_id=0, app_id=0, part=0, created_ms=0)


class WayBackStore(CutoverStore):
    async def disable(self, source: ImportedSource, items: Sequence[Item]) -> list[int]:
        """Those of these jobs that are enabled; their ids. None of them is live afterwards, and what people have not changed
        since is known as such.
        """
        done: list[int] = []
        for start in range(0, len(items), AT_ONCE):
            some = items[start : start + AT_ONCE]
            while some:
                switched, some = await self._disable(source, some)
                done += switched
        return sorted(done)

    async def _disable(self, source: ImportedSource, items: Sequence[Item]) -> tuple[list[int], list[Item]]:
        """In one transaction: the ids of those that were, and the items whose jobs somebody changes at this moment.

        Slots that are due and not planned yet keep a row, with the reason.
        """
        ids = sorted(one.new_id for one in items)
        found = await self._jobs.load(ids)
        as_read = {one.id: (one.version, one.enabled) for one in found.values()}
        others = await self._others(source, ids)
        before = {job_id: one for job_id, one in found.items() if job_id not in others}
        edited = set(await self.edited(before, {one.new_id: one.version for one in items}))
        await self._run_ids.refill()

        async def body(conn: AsyncConnection) -> tuple[list[int], list[Item]]:
            locked = await lock(conn, ids)
            # What was sent while others held the locks was sent from here.
            now_ms = self._clock.now_ms()
            changed = {one for one in ids if locked.get(one) != as_read.get(one)}
            going = [one for one in before.values() if one.enabled and one.id not in changed]
            await self._disable_plain(conn, source, [one for one in going if _is_plain(one)], now_ms)
            for one in going:
                if not _is_plain(one):
                    old = await self._jobs.locked(conn, one.id)
                    await self._jobs.store_change(conn, old, replace(old, enabled=False))
            written = {one.id: one.version + 1 for one in going if one.id not in edited}
            versions = {
                one.old_key: written.get(one.new_id, one.version)
                for one in items
                if one.new_id not in changed
            }
            await note_items(conn, source.id, versions, live=False)
            return [one.id for one in going], [one for one in items if one.new_id in changed]

        return await transact(self._db, self._clock, body)

    async def _disable_plain(
        self, conn: AsyncConnection, source: ImportedSource, jobs: Sequence[Job], now_ms: int
    ) -> None:
        if not jobs:
            return
        await remove_ahead(conn, jobs, now_ms)
        await self._skip_overdue(conn, jobs, now_ms)
        new = [
            replace(one, version=one.version + 1, enabled=False, updated_ms=now_ms, next_fire_at=None)
            for one in jobs
        ]
        await self._write(conn, new, f"given back to {source.name}")

    async def _skip_overdue(self, conn: AsyncConnection, jobs: Sequence[Job], now_ms: int) -> None:
        fires = select(job_next_fire.c.job_id, job_next_fire.c.next_fire_at).where(
            job_next_fire.c.job_id.in_([one.id for one in jobs]), job_next_fire.c.next_fire_at <= now_ms
        )
        due = dict((await conn.execute(fires)).all())
        if not due:
            return
        present: dict[int, set[int]] = {}
        between = (run.c.job_id.in_(sorted(due)), run.c.slot_key.between(min(due.values()), now_ms))
        for job_id, slot_key in await conn.execute(select(run.c.job_id, run.c.slot_key).where(*between)):
            present.setdefault(job_id, set()).add(slot_key)
        late = [
            overdue_row(
                replace(one, next_fire_at=due[one.id]),
                now_ms,
                _OVERDUE,
                self._run_ids,
                present.get(one.id, ()),
            )
            for one in jobs
            if one.id in due
        ]
        if rows := [row for row in late if row is not None]:
            await conn.execute(insert(run), rows)

    async def enabled(self, source: ImportedSource, items: Sequence[Item]) -> dict[int, str]:
        """Those of these jobs that are enabled here: their names, by id."""
        found: dict[int, str] = {}
        for start in range(0, len(items), AT_ONCE):
            ids = [one.new_id for one in items[start : start + AT_ONCE]]
            async with reading(self._db) as conn:
                rows = await conn.execute(
                    select(job.c.id, job.c.name).where(job.c.id.in_(ids), job.c.enabled == 1)
                )
                found.update((row.id, row.name) for row in rows)
        others = await self._others(source, found)
        return {job_id: name for job_id, name in found.items() if job_id not in others}

    async def _others(self, source: ImportedSource, ids: Collection[int]) -> set[int]:
        """Jobs that have got the id of one of the source's that was deleted."""
        async with reading(self._db) as conn:
            return set(await made_since(conn, source.id, JOB, ids))

    # ------------------------------------------------------------ where the old admin goes on

    async def given_back(self, items: Sequence[Item]) -> dict[int, int | None]:
        """Of these jobs those that were cut over and are not enabled any more, nor live: when they were given back, by id.

        None: somebody has disabled or deleted it here before that.
        """
        found: dict[int, int | None] = {}
        mine = job_version.c
        ids = [one.new_id for one in items if not one.live]
        for start in range(0, len(ids), AT_ONCE):
            newest = (
                select(mine.job_id, func.max(mine.version).label("version"))
                .where(mine.job_id.in_(ids[start : start + AT_ONCE]), mine.author == AUTHOR)
                .group_by(mine.job_id)
                .subquery()
            )
            same = and_(mine.job_id == newest.c.job_id, mine.version == newest.c.version)
            query = (
                select(mine.job_id, mine.definition, mine.created_ms)
                .join(newest, same)
                .outerjoin(job, job.c.id == mine.job_id)
                .where(or_(job.c.enabled == 0, job.c.id.is_(None)))
            )
            async with reading(self._db) as conn:
                rows = (await conn.execute(query)).all()
            found |= {
                row.job_id: None if json.loads(row.definition)["enabled"] else row.created_ms for row in rows
            }
        return found

    async def schedules(self, source: ImportedSource, items: Sequence[Item]) -> dict[int, Slots]:
        """What these jobs were imported with, whatever became of them here; those whose history is gone are not in it."""
        found: dict[int, Slots] = {}
        mine = job_version.c
        for start in range(0, len(items), AT_ONCE):
            versions = {one.new_id: one.version for one in items[start : start + AT_ONCE]}
            some = (mine.job_id.in_(versions), mine.version.in_(set(versions.values())))
            async with reading(self._db) as conn:
                rows = (await conn.execute(select(job_version).where(*some))).all()
            for row in rows:
                if row.version == versions[row.job_id]:
                    found[row.job_id] = schedule_of(job_at(row, _ANYWHERE))
        others = await self._others(source, found)
        return {job_id: one for job_id, one in found.items() if job_id not in others}

    async def last_handled(self, since: Mapping[int, int]) -> dict[int, int]:
        """The last slots that are done with here, by job: from these instants on only what had been claimed by then was sent."""
        found = dict(since)
        ids = sorted(since)
        columns = (run.c.job_id, run.c.slot_key, run.c.last_slot_ms, run.c.shard, run.c.state, run.c.sent_ms)
        for start in range(0, len(ids), _RANGES):
            after = [
                and_(run.c.job_id == one, run.c.slot_key > since[one]) for one in ids[start : start + _RANGES]
            ]
            rows: dict[int, list[SlotRow]] = {}
            async with reading(self._db) as conn:
                for row in await conn.execute(select(*columns, run.c.reason).where(or_(*after))):
                    rows.setdefault(row.job_id, []).append(
                        SlotRow(
                            row.slot_key,
                            row.last_slot_ms,
                            row.shard,
                            RunState(row.state),
                            row.sent_ms,
                            row.reason or "",
                        )
                    )
            found |= {job_id: last_handled(some, since[job_id]) for job_id, some in rows.items()}
        return found


def _is_plain(one: Job) -> bool:
    """Nothing but its planned slots has to be taken back."""
    return not (is_chained(one) or one.timing.jitter_ms or one.timing.window.max_fires)
