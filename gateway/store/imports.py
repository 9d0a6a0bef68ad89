"""Imports: what is remembered of where apps, jobs and users came from, and one import as one transaction.

Locks are taken in the order source → app → job → next fire → run → revision, and ids ascend: nodes are at work meanwhile, and
people change limits. Links need no lock of their own, for a cycle is no reason to refuse one here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import case, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.acting import author
from gateway.core.clock import Clock
from gateway.core.errors import Conflict
from gateway.core.generations import MAX_INT_ID
from gateway.core.model import App, Job
from gateway.core.users import User
from gateway.store.apps import app_of
from gateway.store.definitions import job_of
from gateway.store.engine import Database, patience
from gateway.store.held_ids import APP, JOB, USER, made_since
from gateway.store.ids import job_ids, raise_sequence, run_ids
from gateway.store.import_apps import AppImport, lock_apps, prove_unlimited, write_apps
from gateway.store.import_jobs import JobImport, prepared, write_jobs
from gateway.store.import_users import UserImport, raise_user_ids, write_users
from gateway.store.jobs import JobStore, jobs_with_fires
from gateway.store.many import update_each
from gateway.store.revisions import bump
from gateway.store.tables import app, app_alias, deleted_job, import_item, import_source, job, user_account
from gateway.store.tables.imports import UNDONE_IN_PART
from gateway.store.transact import reading, transact
from gateway.store.users import user_of

WRITE_S = 600.0
PATIENCE_S = 15
_PAGE = 1000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one thing of a source. `version`: the one that was written; `live`: whether it was cut over."""

    kind: str
    old_key: str
    new_id: int
    version: int = 0
    digest: str = ""
    wants_enabled: bool = False
    live: bool = False


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that is there. `taken_*`: ids that nothing new gets, also those of what is gone: of deleted jobs that have not
    been forgotten yet, and what imports hold, but for the apps of this source itself, which it may make again.

    `items`: with the id 0 where another thing has got theirs.
    """

    apps: Mapping[int, App]
    aliases: Mapping[int, int]
    taken_app_ids: frozenset[int]
    jobs: Mapping[int, Job]
    taken_job_ids: frozenset[int]
    users: Mapping[int, User]
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Import:
    """What is to be written at once. `firsts`: by the name of a sequence, the first id that it may give out then.

    `withdrawn`: what the source called jobs that it has no more.
    """

    source: str
    release: str
    timezone: str
    apps: Sequence[AppImport]
    jobs: Sequence[JobImport]
    users: Sequence[UserImport]
    firsts: Mapping[str, int]
    first_user: int = 0
    withdrawn: Sequence[int] = ()


@dataclass(slots=True)
class Written:
    """What was written: ids. `notes`: what was asked for and could not be done as an edit."""

    apps_made: list[int] = field(default_factory=list)
    apps_changed: list[int] = field(default_factory=list)
    jobs_made: list[int] = field(default_factory=list)
    jobs_changed: list[int] = field(default_factory=list)
    users_made: list[int] = field(default_factory=list)
    users_changed: list[int] = field(default_factory=list)
    items: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        made = self.apps_made or self.jobs_made or self.users_made or self.items
        return bool(made or self.apps_changed or self.jobs_changed or self.users_changed)


class ImportStore:
    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._run_ids = run_ids(db, clock)
        self._jobs = JobStore(db, clock, job_ids(db, clock), self._run_ids)

    async def holdings(self, source: str) -> Holdings:
        async with reading(self._db) as conn:
            apps = [app_of(row) for row in await conn.execute(select(app).order_by(app.c.id))]
            aliases = await conn.execute(select(app_alias.c.id, app_alias.c.app_id))
            users = [user_of(row) for row in await conn.execute(select(user_account))]
            gone = set((await conn.execute(select(deleted_job.c.job_id))).scalars())
            source_id = await _source_id(conn, source)
            items = [] if source_id is None else await _items_here(conn, source_id)
            mine = import_item.c
            of_jobs = set((await conn.execute(select(mine.new_id).where(mine.kind == JOB))).scalars())
            others = (mine.kind == APP, mine.source_id != (source_id or 0))
            of_apps = set((await conn.execute(select(mine.new_id).where(*others))).scalars())
            known = {row.id: row.app_id for row in aliases}
        jobs = await self._all_jobs()
        return Holdings(
            apps={one.id: one for one in apps},
            aliases=known,
            taken_app_ids=frozenset(of_apps),
            jobs=jobs,
            taken_job_ids=frozenset(gone | of_jobs | jobs.keys()),
            users={one.id: one for one in users},
            items=items,
        )

    async def _all_jobs(self) -> dict[int, Job]:
        found: dict[int, Job] = {}
        after = 0
        while True:
            async with reading(self._db) as conn:
                query = jobs_with_fires().where(job.c.id > after).order_by(job.c.id).limit(_PAGE)
                rows = (await conn.execute(query)).all()
            found.update((row.id, job_of(row)) for row in rows)
            if len(rows) < _PAGE:
                return found
            after = rows[-1].id

    async def write(self, wanted: Import) -> Written:
        """All of it or nothing. Raises `Conflict` where the target is not as it was when the import was planned."""
        now_ms = self._clock.now_ms()
        limited = await self._limited(wanted.apps)
        ready = await prepared(wanted.jobs, limited, now_ms, self._clock)
        if any(one.job.enabled for one in wanted.jobs):
            await self._run_ids.refill()

        async def body(conn: AsyncConnection) -> Written:
            done = Written()
            if not self._db.is_sqlite:
                await conn.exec_driver_sql(patience(PATIENCE_S))
            source_id = await _lock_source(conn, wanted, now_ms)
            locked = await lock_apps(conn, wanted.apps)
            prove_unlimited(locked, limited)
            made, changed = done.apps_made, done.apps_changed
            await write_apps(conn, wanted.source, wanted.apps, locked, made, changed, done.notes, now_ms)
            versions = await write_jobs(conn, self._jobs, wanted.source, wanted.jobs, ready, now_ms)
            done.jobs_made, done.jobs_changed = list(ready.ids), versions.changed
            done.notes += versions.notes
            await write_users(conn, wanted.source, wanted.users, done.users_made, done.users_changed, now_ms)
            done.items = await _write_items(conn, source_id, wanted, versions.numbers)
            if done.apps_made or done.apps_changed:
                await bump(conn, "app")
            if done.jobs_made or done.jobs_changed:
                await bump(conn, "job")
            if done.anything:
                mine, before_ms = import_source.c.id == source_id, import_source.c.imported_ms
                # Clocks of two machines may differ; what an earlier import has made must not seem younger than all.
                imported_ms = case((before_ms > now_ms, before_ms), else_=now_ms)
                values = {"imported_ms": imported_ms, "release": wanted.release, "timezone": wanted.timezone}
                await conn.execute(update(import_source).where(mine).values(values))
            if not self._db.is_sqlite:  # whose next id is above those that are there, whatever was
                await raise_user_ids(conn, wanted.first_user)
            for name, first in sorted(wanted.firsts.items()):
                # Who has used them up has no old executors any more, or could not give them ids any more either.
                if name != "run_int" or first < MAX_INT_ID:
                    await raise_sequence(conn, name, first)
            return done

        return await transact(self._db, self._clock, body, within_s=WRITE_S)

    async def _limited(self, apps: Sequence[AppImport]) -> set[int]:
        ids = [one.app.id for one in apps]
        async with reading(self._db) as conn:
            rows = (await conn.execute(select(app).where(app.c.id.in_(ids)))).all()
        there = {row.id: app_of(row).limited for row in rows}
        return {one.app.id for one in apps if there.get(one.app.id, one.app.limited)}


async def _source_id(conn: AsyncConnection, name: str) -> int | None:
    found: int | None = (
        await conn.execute(select(import_source.c.id).where(import_source.c.name == name))
    ).scalar()
    return found


async def _lock_source(conn: AsyncConnection, wanted: Import, now_ms: int) -> int:
    """Two imports of one source come one after the other; the second finds what the first has made."""
    mine = import_source.c.name == wanted.source
    locking = select(import_source.c.id, import_source.c.log_done).where(mine).with_for_update()
    row = (await conn.execute(locking)).first()
    if row is not None and row.log_done == UNDONE_IN_PART:
        raise Undone(undone_in_part(wanted.source))
    if row is None:
        values = {"name": wanted.source, "created_ms": now_ms, "author": author()[:64]}
        await conn.execute(insert(import_source).values(values))
        row = (await conn.execute(locking)).one()
    return int(row.id)


class Undone(Conflict):
    """The import is not there any more, or going."""


def undone_in_part(source: str) -> str:
    return f"the import from {source} is being undone: finish that first, with `xxljob-gateway import --undo`"


async def _items(conn: AsyncConnection, source_id: int) -> list[Item]:
    """Of apps, jobs and users."""
    mine = import_item.c
    query = select(import_item).where(mine.source_id == source_id, mine.kind.in_((APP, JOB, USER)))
    return [item_of(row) for row in await conn.execute(query)]


async def _items_here(conn: AsyncConnection, source_id: int) -> list[Item]:
    items = await _items(conn, source_id)
    since = {
        kind: await made_since(conn, source_id, kind, {one.new_id for one in items if one.kind == kind})
        for kind in (APP, JOB, USER)
    }
    return [replace(one, new_id=0) if one.new_id in since[one.kind] else one for one in items]


def item_of(row: Any) -> Item:
    return Item(
        kind=row.kind,
        old_key=row.old_key,
        new_id=row.new_id,
        version=row.version,
        digest=row.digest,
        wants_enabled=bool(row.wants_enabled),
        live=bool(row.live),
    )


async def _write_items(
    conn: AsyncConnection, source_id: int, wanted: Import, versions: Mapping[int, int]
) -> int:
    """Remember what became of each thing; how many of these rows have changed."""
    before = {(one.kind, one.old_key): one for one in await _items(conn, source_id)}
    after = [
        Item(APP, key, one.app.id, digest=one.digests.get(key, "")) for one in wanted.apps for key in one.keys
    ]
    for mine in wanted.jobs:
        known = before.get((JOB, str(mine.old_id)))
        if mine.keeps and (known is None or known.new_id == mine.job.id):
            continue
        is_same = known is not None and known.new_id == mine.job.id
        number = versions.get(mine.job.id, known.version if known is not None else 0)
        is_live = is_same and known is not None and known.live
        after.append(
            Item(JOB, str(mine.old_id), mine.job.id, number, mine.digest, mine.wants_enabled, is_live)
        )
    withdrawn = [before[JOB, str(one)] for one in wanted.withdrawn if (JOB, str(one)) in before]
    # Without a digest one that comes back in the source has changed.
    after += [replace(one, wants_enabled=False, digest="") for one in withdrawn if not one.live]
    after += [Item(USER, str(one.old_id), one.user.id) for one in wanted.users if not one.keeps]
    new = [one for one in after if (one.kind, one.old_key) not in before]
    changed = [one for one in after if before.get((one.kind, one.old_key), one) != one]
    for start in range(0, len(new), _CHUNK):
        await conn.execute(insert(import_item), [_row(source_id, one) for one in new[start : start + _CHUNK]])
    await update_each(conn, import_item, [_row(source_id, one) for one in changed])
    return len(new) + len(changed)


def _row(source_id: int, one: Item) -> dict[str, Any]:
    return {
        "source_id": source_id,
        "kind": one.kind,
        "old_key": one.old_key,
        "new_id": one.new_id,
        "version": one.version,
        "digest": one.digest,
        "wants_enabled": int(one.wants_enabled),
        "live": int(one.live),
    }
