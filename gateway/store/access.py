"""Access tokens of apps and namespaces."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.access import MOST_AT_ONCE, AccessToken, Holder
from gateway.core.acting import author
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.model import DEFAULT_NAMESPACE
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.revisions import bump
from gateway.store.tables import access_token, app, namespace
from gateway.store.transact import reading, transact

REVISION = "access"
_C = access_token.c


class AccessStore:
    """Implements `core.access.AccessCatalog`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def holder(self, *, appname: str | None = None, namespace: str | None = None) -> Holder:
        async with reading(self._db) as conn:
            if appname is not None:
                return await self._app(conn, appname)
            return await self._namespace(conn, namespace or "")

    async def _app(self, conn: AsyncConnection, appname: str) -> Holder:
        mine = and_(app.c.namespace_id == DEFAULT_NAMESPACE, app.c.appname == appname)
        app_id = (await conn.execute(select(app.c.id).where(mine))).scalar()
        if app_id is None:
            raise NotFound("app", appname)
        return Holder(DEFAULT_NAMESPACE, app_id, appname)

    async def _namespace(self, conn: AsyncConnection, name: str) -> Holder:
        found = (await conn.execute(select(namespace.c.id).where(namespace.c.name == name))).scalar()
        if found is None:
            raise NotFound("namespace", name)
        return Holder(found, 0, name)

    async def of(self, holder: Holder) -> list[AccessToken]:
        async with reading(self._db) as conn:
            return await _rows(conn, _of(holder))

    async def all_access_tokens(self) -> list[AccessToken]:
        async with reading(self._db) as conn:
            return await _rows(conn)

    async def create(self, holder: Holder, text: str | None, old_valid_ms: int | None) -> AccessToken:
        now_ms = self._clock.now_ms()
        ends_ms = 0 if old_valid_ms is None else now_ms + old_valid_ms
        values = {"namespace_id": holder.namespace_id, "app_id": holder.app_id, "created_ms": now_ms}

        async def body(conn: AsyncConnection) -> AccessToken:
            await _lock(conn, holder)
            rows = await _rows(conn, _of(holder))
            valid = [row for row in rows if row.valid_at(now_ms)]
            if len(valid) >= MOST_AT_ONCE:
                raise Conflict(
                    f"{_words(holder)} has {len(valid)} valid tokens, of which {valid[-1].id} is the older: "
                    "remove one first"
                )
            keeps = old_valid_ms is None or old_valid_ms > 0
            if valid and keeps:
                await conn.execute(update(access_token).where(_C.id == valid[0].id).values(ends_ms=ends_ms))
            elif keeps:  # the first: what counted without it goes on beside it
                await conn.execute(
                    insert(access_token).values(text="", author=author()[:64], ends_ms=ends_ms, **values)
                )
            gone = [row.id for row in rows if row not in valid or not keeps]
            if gone:
                await conn.execute(delete(access_token).where(_C.id.in_(gone)))
            made = insert(access_token).values(
                text=text or secrets.token_urlsafe(32), author=author()[:64], **values
            )
            await conn.execute(made)
            words = "the one before is valid " + (
                "until it is removed" if ends_ms == 0 else f"for {(old_valid_ms or 0) // 1000} s more"
            )
            await self._changed(conn, holder, "token_created", words)
            return (await _rows(conn, _of(holder)))[0]

        return await transact(self._db, self._clock, body)

    async def remove(self, holder: Holder, token_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            await _lock(conn, holder)
            if not (await conn.execute(delete(access_token).where(_of(holder), _C.id == token_id))).rowcount:
                raise NotFound("access token", token_id)
            await self._changed(conn, holder, "token_removed", f"access token {token_id}")

        await transact(self._db, self._clock, body)

    async def _changed(self, conn: AsyncConnection, holder: Holder, what: str, words: str) -> None:
        source = Source.APP if holder.app_id else Source.NAMESPACE
        await note(conn, self._clock.now_ms(), source, what, [(holder.name, "", words)])
        await bump(conn, REVISION)


async def forget_tokens(conn: AsyncConnection, app_id: int) -> None:
    """Those of an app that is deleted."""
    if (await conn.execute(delete(access_token).where(_C.app_id == app_id))).rowcount:
        await bump(conn, REVISION)


async def _lock(conn: AsyncConnection, holder: Holder) -> None:
    """Changes of one holder come one after another, and none after its deletion."""
    table: Table = app if holder.app_id else namespace
    mine = table.c.id == (holder.app_id or holder.namespace_id)
    if (await conn.execute(select(table.c.id).where(mine).with_for_update())).first() is None:
        raise NotFound(table.name, holder.name)


def _of(holder: Holder) -> ColumnElement[bool]:
    return and_(_C.namespace_id == holder.namespace_id, _C.app_id == holder.app_id)


async def _rows(conn: AsyncConnection, *mine: ColumnElement[bool]) -> list[AccessToken]:
    query = select(access_token).where(*mine).order_by(_C.id.desc())
    return [_token_of(row) for row in await conn.execute(query)]


def _token_of(row: Any) -> AccessToken:
    return AccessToken(
        id=row.id,
        namespace_id=row.namespace_id,
        app_id=row.app_id,
        text=row.text,
        created_ms=row.created_ms,
        ends_ms=row.ends_ms,
        author=row.author,
    )


def _words(holder: Holder) -> str:
    return f"app {holder.name!r}" if holder.app_id else f"namespace {holder.name!r}"
