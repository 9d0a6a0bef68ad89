"""What is left of an import here, and what of it could be taken back: read, and not changed.

What an import has made is known by its moment, to the millisecond: apps and users were made when it was first written, when
it was last written, or with one of its jobs. What has another moment was here before, or came later, and is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.model import FIRST_LONG_ID
from gateway.store.held_ids import APP, JOB, USER, made_at
from gateway.store.ids import FIRST_INT_ID
from gateway.store.import_logs import FIRST_OWN_ID
from gateway.store.many import chunks
from gateway.store.tables import (
    access_token,
    app,
    app_alias,
    backfill,
    deleted_job,
    import_item,
    job,
    job_link,
    run,
    user_account,
)
from gateway.store.tables.imports import UNDONE_IN_PART

_ITEM = import_item.c
_OWN = or_(run.c.id.between(FIRST_INT_ID, FIRST_OWN_ID - 1), run.c.id >= FIRST_LONG_ID)


@dataclass(frozen=True, slots=True)
class Thing:
    """`old_key`: what the source calls it. `note`: what is to be known before it goes, or why it stays."""

    kind: str
    id: int
    name: str
    old_key: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Undoing:
    """What goes and what stays. `aliases`, `tokens`: by id, those that the import has given to apps that stay.

    The four that follow are ids of jobs, or of others' jobs that start one of them, for which it is refused.
    `is_begun`: an earlier call has removed part of the `runs`.
    """

    source_id: int
    source: str
    jobs: tuple[Thing, ...]
    apps: tuple[Thing, ...]
    users: tuple[Thing, ...]
    stays: tuple[Thing, ...]
    aliases: tuple[int, ...]
    tokens: tuple[int, ...]
    live: tuple[int, ...] = ()
    enabled: tuple[int, ...] = ()
    with_runs: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()
    is_begun: bool = field(compare=False, default=False)
    runs: int = field(compare=False, default=0)

    @property
    def job_ids(self) -> tuple[int, ...]:
        return tuple(one.id for one in self.jobs)

    @property
    def is_refused(self) -> bool:
        return bool(self.live or self.enabled or self.with_runs or self.parents)


async def look(conn: AsyncConnection, source: Any) -> Undoing:
    """`source`: its row of `import_source`."""
    items: dict[str, list[Any]] = {APP: [], JOB: [], USER: []}
    for row in await conn.execute(
        select(import_item).where(_ITEM.source_id == source.id, _ITEM.kind.in_(items))
    ):
        items[row.kind].append(row)
    oldest = await made_at(conn, JOB, [one.new_id for one in items[JOB]])
    within = {key: at for key, at in oldest.items() if source.created_ms <= at <= source.imported_ms}
    moments = {source.created_ms, source.imported_ms, *within.values()}
    jobs, kept_jobs, live, enabled = await _jobs(conn, items[JOB], set(within))
    ids = [one.id for one in jobs]
    apps, kept_apps = await _apps(conn, source, items[APP], moments, set(ids))
    users, kept_users = await _users(conn, source, items[USER], moments)
    staying = sorted({one.id for one in kept_apps})
    return Undoing(
        source_id=source.id,
        source=source.name,
        jobs=tuple(jobs),
        apps=tuple(apps),
        users=tuple(users),
        stays=(*kept_jobs, *kept_apps, *kept_users),
        aliases=tuple(await _aliases(conn, source, items[APP], staying)),
        tokens=tuple(await _tokens(conn, staying, moments)),
        live=tuple(live),
        enabled=tuple(enabled),
        with_runs=tuple(await _with_runs(conn, ids)),
        parents=tuple(await _parents(conn, ids)),
        is_begun=source.log_done == UNDONE_IN_PART,
    )


async def count_runs(conn: AsyncConnection, ids: Sequence[int]) -> int:
    """Of all kinds: those that have not come with the import are a reason to refuse."""
    query = select(func.count()).select_from(run).where(run.c.job_id.in_(ids))
    return int((await conn.execute(query)).scalar_one())


async def _jobs(
    conn: AsyncConnection, items: Sequence[Any], made: set[int]
) -> tuple[list[Thing], list[Thing], list[int], list[int]]:
    """Those that go, those that stay; of the first those that were cut over, and those that are enabled."""
    by_id = {one.new_id: one for one in items}
    there = await _rows(conn, job, job.c.id, by_id)
    buried = await _rows(conn, deleted_job, deleted_job.c.job_id, by_id.keys() - there.keys())
    goes: list[Thing] = []
    stays: list[Thing] = []
    for job_id, row in there.items():
        item = by_id[job_id]
        thing = Thing(JOB, job_id, row.name, item.old_key)
        if job_id not in made:
            stays.append(replace(thing, note="it was not made by this import"))
        elif row.version != item.version:
            words = f"changed here since: version {row.version}, imported as version {item.version}"
            goes.append(replace(thing, note=words))
        else:
            goes.append(thing)
    for job_id, row in buried.items():
        why = "deleted here; its id is free when its history is gone"
        stays.append(Thing(JOB, job_id, row.name, by_id[job_id].old_key, why))
    live = [one.id for one in goes if by_id[one.id].live]
    enabled = [one.id for one in goes if there[one.id].enabled and not by_id[one.id].live]
    return goes, sorted(stays, key=lambda one: one.id), live, enabled


async def _apps(
    conn: AsyncConnection, source: Any, items: Sequence[Any], moments: set[int], ids: set[int]
) -> tuple[list[Thing], list[Thing]]:
    keys: dict[int, list[str]] = {}
    for one in items:
        keys.setdefault(one.new_id, []).append(one.old_key)
    there = await _rows(conn, app, app.c.id, keys)
    shared = await _shared(conn, source, APP, there)
    others: dict[int, int] = {}
    for some in chunks(sorted(there)):
        query = select(job.c.app_id, job.c.id).where(job.c.app_id.in_(some))
        for row in await conn.execute(query):
            others[row.app_id] = others.get(row.app_id, 0) + (row.id not in ids)
    goes: list[Thing] = []
    stays: list[Thing] = []
    for app_id, row in there.items():
        thing = Thing(APP, app_id, row.appname, ", ".join(sorted(keys[app_id])))
        why = _why_it_stays(source, row, moments, is_shared=app_id in shared)
        if not why and others.get(app_id):
            why = f"it has jobs that do not go: {others[app_id]}"
        (stays if why else goes).append(replace(thing, note=why))
    return goes, stays


async def _users(
    conn: AsyncConnection, source: Any, items: Sequence[Any], moments: set[int]
) -> tuple[list[Thing], list[Thing]]:
    keys = {one.new_id: one.old_key for one in items}
    there = await _rows(conn, user_account, user_account.c.id, keys)
    shared = await _shared(conn, source, USER, there)
    goes: list[Thing] = []
    stays: list[Thing] = []
    for user_id, row in there.items():
        thing = Thing(USER, user_id, row.username, keys[user_id])
        why = _why_it_stays(source, row, moments, is_shared=user_id in shared)
        if why:
            stays.append(replace(thing, note=why))
        else:
            is_changed = row.updated_ms > source.imported_ms
            goes.append(replace(thing, note="changed here since" if is_changed else ""))
    return goes, stays


def _why_it_stays(source: Any, row: Any, moments: set[int], *, is_shared: bool) -> str:
    if row.created_ms not in moments:
        is_between = source.created_ms < row.created_ms < source.imported_ms
        by_whom = (
            "it is not certain that an import made it" if is_between else "it was not made by this import"
        )
        return f"{by_whom}; what that has changed of it stays changed"
    return "another import has it as well" if is_shared else ""


async def _shared(conn: AsyncConnection, source: Any, kind: str, ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for some in chunks(sorted(ids)):
        other = and_(_ITEM.kind == kind, _ITEM.new_id.in_(some), _ITEM.source_id != source.id)
        found.update((await conn.execute(select(_ITEM.new_id).where(other))).scalars())
    return found


async def _aliases(
    conn: AsyncConnection, source: Any, items: Sequence[Any], staying: Sequence[int]
) -> list[int]:
    """Of apps that stay, unless another import says the same."""
    mine = {(int(one.old_key), one.new_id) for one in items if one.old_key.isdecimal()}
    found: list[int] = []
    for some in chunks(staying):
        other = and_(_ITEM.kind == APP, _ITEM.new_id.in_(some), _ITEM.source_id != source.id)
        others = {(row.old_key, row.new_id) for row in await conn.execute(select(import_item).where(other))}
        there = await conn.execute(select(app_alias).where(app_alias.c.app_id.in_(some)))
        pairs = mine.intersection((row.id, row.app_id) for row in there)
        found += [alias for alias, app_id in pairs if (str(alias), app_id) not in others]
    return sorted(found)


async def _tokens(conn: AsyncConnection, staying: Sequence[int], moments: set[int]) -> list[int]:
    """With the empty one that was put beside, once it would stand alone."""
    mine = access_token.c
    given: list[int] = []
    for some in chunks(staying):
        of_app: dict[int, list[Any]] = {}
        for row in await conn.execute(select(access_token).where(mine.app_id.in_(some))):
            of_app.setdefault(row.app_id, []).append(row)
        for rows in of_app.values():
            texts = [row.id for row in rows if row.text and row.created_ms in moments]
            blanks = [row.id for row in rows if not row.text]
            given += texts
            if texts and len(texts) + len(blanks) == len(rows):
                given += blanks
    return sorted(given)


async def _with_runs(conn: AsyncConnection, ids: Sequence[int]) -> list[int]:
    """Those that have run here, or were to: runs of an old admin have ids that no other has."""
    found: set[int] = set()
    for some in chunks(ids):
        own = select(run.c.job_id).where(run.c.job_id.in_(some), _OWN).distinct()
        found.update((await conn.execute(own)).scalars())
        filled = select(backfill.c.job_id).where(backfill.c.job_id.in_(some))
        found.update((await conn.execute(filled)).scalars())
    return sorted(found)


async def _parents(conn: AsyncConnection, ids: Sequence[int]) -> list[int]:
    found: set[int] = set()
    for some in chunks(ids):
        query = select(job_link.c.parent_id).where(job_link.c.child_id.in_(some))
        found.update((await conn.execute(query)).scalars())
    return sorted(found.difference(ids))


async def _rows(
    conn: AsyncConnection, table: Table, key: ColumnElement[int], ids: Iterable[int]
) -> dict[int, Any]:
    """By id, ascending. Without what is long."""
    names = ("name", "version", "enabled", "appname", "username", "created_ms", "updated_ms")
    columns = [key.label("key"), *(table.c[name] for name in names if name in table.c)]
    found: dict[int, Any] = {}
    for some in chunks(sorted(ids)):
        query = select(*columns).where(key.in_(some)).order_by(key)
        found.update((row.key, row) for row in await conn.execute(query))
    return found
