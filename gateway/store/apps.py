"""Apps and their executors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.listing import Page
from gateway.core.model import DEFAULT_NAMESPACE, AddressMode, App, Executor
from gateway.core.pauses import Scope
from gateway.core.placement import ExecutorSetting, SettingChange
from gateway.store import cursors, pauses
from gateway.store.access import forget_tokens
from gateway.store.app_parts import hold_all_nodes, move_jobs
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.executor_settings import change_setting, settings
from gateway.store.ids import IdsTaken
from gateway.store.ids import Sequence as IdSequence
from gateway.store.revisions import bump
from gateway.store.sqltext import join_addresses, split_addresses
from gateway.store.tables import app as app_table
from gateway.store.tables import app_alias
from gateway.store.tables import executor as executor_table
from gateway.store.tables import executor_setting as setting_table
from gateway.store.tables import job as job_table
from gateway.store.transact import reading, transact, upsert
from gateway.store.users import forget_apps


class AppStore:
    """Implements `core.catalog.AppCatalog`, `core.ports.AppReader` and `core.ports.ExecutorWriter`."""

    def __init__(self, db: Database, clock: Clock, ids: IdSequence) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._names: dict[int, str] = {}

    # ------------------------------------------------------------ catalog

    async def create(self, app: App) -> App:
        for _ in range(_TRIES):
            try:
                return await self._create(app, *await self._ids.draw(1))
            except IdsTaken:
                self._ids.drop_reserve()
        raise Conflict("apps with ids of their own are being made at this moment: try again")

    async def _create(self, app: App, app_id: int) -> App:
        now_ms = self._clock.now_ms()
        made = replace(app, id=app_id, created_ms=now_ms, updated_ms=now_ms)

        async def body(conn: AsyncConnection) -> None:
            await insert_app(conn, made)
            await note(conn, now_ms, Source.APP, "created", [(made.appname, made.title, "")])
            await bump(conn, "app")

        await transact(self._db, self._clock, body)
        return made

    async def get(self, appname: str) -> App:
        query = select(app_table).where(
            app_table.c.namespace_id == DEFAULT_NAMESPACE, app_table.c.appname == appname
        )
        async with reading(self._db) as conn:
            row = (await conn.execute(query)).first()
        if row is None:
            raise NotFound("app", appname)
        return app_of(row)

    async def names(self, app_ids: Collection[int]) -> dict[int, str]:
        """From memory where it can: an appname never changes, and `all_apps` tells whose ids were given again."""
        found = {app_id: self._names[app_id] for app_id in app_ids if app_id in self._names}
        missing = sorted(set(app_ids) - found.keys())
        if missing:
            query = select(app_table.c.id, app_table.c.appname).where(app_table.c.id.in_(missing))
            async with reading(self._db) as conn:
                read = {row.id: row.appname for row in await conn.execute(query)}
            found |= read
            self._names |= read
        return found

    async def ids_of(self, app_ids: Collection[int]) -> dict[int, int]:
        found = {app_id: app_id for app_id in app_ids}
        unknown = sorted(app_id for app_id in found if app_id not in self._names)
        if unknown:
            query = select(app_alias.c.id, app_alias.c.app_id).where(app_alias.c.id.in_(unknown))
            async with reading(self._db) as conn:
                found.update((row.id, row.app_id) for row in await conn.execute(query))
        return found

    async def other_ids(self, app_ids: Collection[int]) -> dict[int, list[int]]:
        query = (
            select(app_alias.c.id, app_alias.c.app_id)
            .where(app_alias.c.app_id.in_(sorted(app_ids)))
            .order_by(app_alias.c.id)
        )
        found: dict[int, list[int]] = {}
        async with reading(self._db) as conn:
            for row in await conn.execute(query):
                found.setdefault(row.app_id, []).append(row.id)
        return found

    async def page(self, *, cursor: str | None, limit: int) -> Page[App]:
        after = 0 if cursor is None else cursors.decode("a", cursor)
        query = (
            select(app_table)
            .where(app_table.c.namespace_id == DEFAULT_NAMESPACE, app_table.c.id > after)
            .order_by(app_table.c.id)
            .limit(limit + 1)
        )
        async with reading(self._db) as conn:
            apps = [app_of(row) for row in await conn.execute(query)]
        return cursors.page_of(apps, limit, lambda last: cursors.encode("a", last.id))

    async def update(self, app: App) -> tuple[App, list[int]]:
        now_ms = self._clock.now_ms()

        async def body(conn: AsyncConnection) -> tuple[App, list[int]]:
            mine = app_table.c.id == app.id
            seen = (await conn.execute(select(app_table).where(mine))).first()
            if seen is None:
                raise NotFound("app", app.appname)
            moves = app_of(seen).limited != app.limited
            if moves:
                await hold_all_nodes(conn)
            old = (await conn.execute(select(app_table).where(mine).with_for_update())).first()
            if old is None or (app_of(old).limited != app.limited) != moves:
                raise Conflict(f"app {app.appname!r} was changed at this moment: try again")
            # A claim that was judged by what the app said before must see that it has been changed.
            changed = replace(app, updated_ms=max(now_ms, old.updated_ms + 1))
            await conn.execute(update(app_table).where(mine).values(**changeable(changed)))
            jobs = await move_jobs(conn, self._clock, app.id, limited=changed.limited) if moves else []
            await note(conn, changed.updated_ms, Source.APP, "changed", [(app.appname, app.title, "")])
            await bump(conn, "app")
            return changed, jobs

        return await transact(self._db, self._clock, body)

    async def delete(self, app_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            # Whoever adds a job locks the app's row as well, so none can come in between.
            mine = select(app_table.c.appname).where(app_table.c.id == app_id).with_for_update()
            row = (await conn.execute(mine)).first()
            if row is None:
                raise NotFound("app", app_id)
            jobs = select(func.count()).select_from(job_table).where(job_table.c.app_id == app_id)
            count = (await conn.execute(jobs)).scalar_one()
            if count:
                raise Conflict(f"app {row.appname!r} still has {count} jobs: delete them first")
            await conn.execute(delete(app_table).where(app_table.c.id == app_id))
            await conn.execute(delete(executor_table).where(executor_table.c.app_id == app_id))
            await conn.execute(delete(setting_table).where(setting_table.c.app_id == app_id))
            await conn.execute(delete(app_alias).where(app_alias.c.app_id == app_id))
            await forget_tokens(conn, app_id)
            await forget_apps(conn, [app_id])
            await pauses.forget(conn, Scope.APP, app_id)
            await note(conn, self._clock.now_ms(), Source.APP, "deleted", [(row.appname, "", "")])
            await bump(conn, "app")

        await transact(self._db, self._clock, body)

    async def settings_of(self, app_id: int) -> list[ExecutorSetting]:
        async with reading(self._db) as conn:
            return await settings(conn, app_id)

    async def set_executor(self, app: App, address: str, change: SettingChange) -> ExecutorSetting:
        async def body(conn: AsyncConnection) -> ExecutorSetting:
            return await change_setting(conn, app, address, change, self._clock.now_ms())

        return await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ the scheduler's side

    async def executor_settings(self) -> list[ExecutorSetting]:
        async with reading(self._db) as conn:
            return await settings(conn)

    async def all_apps(self) -> list[App]:
        async with reading(self._db) as conn:
            found = [app_of(row) for row in await conn.execute(select(app_table).order_by(app_table.c.id))]
        self._names = {app.id: app.appname for app in found}
        return found

    async def executors_since(self, revision: int) -> tuple[list[Executor], list[Executor]]:
        """In the order of (app, address)."""
        columns = [executor_table.c[name] for name in (*_EXECUTOR_COLUMNS, "gone")]
        query = (
            select(*columns)
            .where(executor_table.c.rev > revision)
            .order_by(executor_table.c.app_id, executor_table.c.address)
        )
        there: list[Executor] = []
        gone: list[Executor] = []
        async with reading(self._db) as conn:
            for *values, is_gone in await conn.execute(query):
                (gone if is_gone else there).append(Executor(*values))
        return there, gone

    async def use_int_ids(self, app_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            mine = and_(app_table.c.id == app_id, app_table.c.id_sequence != INT_IDS)
            if not (await conn.execute(select(app_table.c.id).where(mine).with_for_update())).first():
                return
            await conn.execute(update(app_table).where(mine).values(id_sequence=INT_IDS))
            await bump(conn, "app")

        await transact(self._db, self._clock, body)

    async def save_executors(self, changed: Sequence[Executor], removed: Sequence[Executor]) -> None:
        """Both in the order of (app, address)."""
        now_ms = self._clock.now_ms()

        async def body(conn: AsyncConnection) -> None:
            # First of all, so that whoever reads this revision finds all that belongs to earlier ones.
            rev = await bump(conn, "executor")
            for one in removed:
                row = executor_table.c
                mine = and_(
                    row.app_id == one.app_id,
                    row.address == one.address,
                    row.last_beat_ms <= one.last_beat_ms,
                )
                await conn.execute(
                    update(executor_table).where(mine).values(gone=1, rev=rev, last_beat_ms=one.last_beat_ms)
                )
            news = await _younger(conn, changed) if changed else []
            if news:
                columns = (*_EXECUTOR_COLUMNS[2:], "rev", "gone")
                rows = [
                    {name: getattr(executor, name) for name in _EXECUTOR_COLUMNS} | {"rev": rev, "gone": 0}
                    for executor in news
                ]
                await conn.execute(upsert(self._db, executor_table, update=columns), rows)
            forgotten = and_(
                executor_table.c.gone == 1, executor_table.c.last_beat_ms < now_ms - FORGOTTEN_MS
            )
            if removed:
                await conn.execute(delete(executor_table).where(forgotten))

        await transact(self._db, self._clock, body)


_TRIES = 3
FORGOTTEN_MS = 600_000
LONG_IDS, INT_IDS = "run", "run_int"  # names of sequences
_EXECUTOR_COLUMNS = ("app_id", "address", "dialect", "client", "registered_ms", "last_beat_ms", "token_mark")


async def _younger(conn: AsyncConnection, executors: Sequence[Executor]) -> list[Executor]:
    """Without those of whom a later word is there: another node has heard a beat since then, or a goodbye."""
    row = executor_table.c
    query = select(row.app_id, row.address, row.last_beat_ms).where(
        row.app_id.in_({one.app_id for one in executors}), row.address.in_({one.address for one in executors})
    )
    known = {(app_id, address): beat_ms for app_id, address, beat_ms in await conn.execute(query)}
    return [one for one in executors if known.get((one.app_id, one.address), -1) <= one.last_beat_ms]


async def insert_app(conn: AsyncConnection, app: App) -> None:
    """A new app as a row. Raises `Conflict` for an appname, `IdsTaken` for an id, that another has."""
    row = {
        "id": app.id,
        "namespace_id": app.namespace_id,
        "appname": app.appname,
        "created_ms": app.created_ms,
    }
    try:
        await conn.execute(insert(app_table).values(**row, **changeable(app)))
    except IntegrityError:
        named = and_(app_table.c.namespace_id == app.namespace_id, app_table.c.appname == app.appname)
        if (await conn.execute(select(app_table.c.id).where(named))).first() is not None:
            raise Conflict(f"there is an app {app.appname!r} already") from None
        raise IdsTaken from None
    if (await conn.execute(select(app_alias.c.id).where(app_alias.c.id == app.id))).first() is not None:
        raise IdsTaken


def changeable(app: App) -> dict[str, Any]:
    return {
        "title": app.title,
        "address_mode": app.address_mode.value,
        "addresses": join_addresses(app.addresses),
        "max_running": app.max_running,
        "starts_per_second": None if app.starts_per_second is None else repr(app.starts_per_second),
        "id_sequence": INT_IDS if app.int_ids else LONG_IDS,
        "dialect": app.dialect,
        "tokenless_from": " ".join(app.tokenless_from),
        "updated_ms": app.updated_ms,
    }


def app_of(row: Any) -> App:
    return App(
        id=row.id,
        namespace_id=row.namespace_id,
        appname=row.appname,
        title=row.title,
        address_mode=AddressMode(row.address_mode),
        addresses=split_addresses(row.addresses) or (),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        max_running=row.max_running,
        starts_per_second=None if row.starts_per_second is None else float(row.starts_per_second),
        int_ids=row.id_sequence == INT_IDS,
        dialect=row.dialect,
        tokenless_from=tuple(row.tokenless_from.split()),
    )
