"""Tokens of the API: random texts of which only the SHA-256 is kept."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.model import Token
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.tables import api_token
from gateway.store.transact import reading, transact

PREFIX = "xg_"
FRESH_S = 1.0


class TokenStore:
    """Implements `core.catalog.TokenCatalog`.

    Hashes and names are kept in memory and read again every second, so a token revoked elsewhere works that much longer.
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._names: dict[str, str] = {}
        self._fresh_until = float("-inf")
        self._changes = 0
        self._loading = asyncio.Lock()

    async def create(self, name: str) -> tuple[Token, str]:
        text = PREFIX + secrets.token_urlsafe(32)
        created_ms = self._clock.now_ms()

        async def body(conn: AsyncConnection) -> Token:
            try:
                await conn.execute(
                    insert(api_token).values(name=name, token_hash=_hash(text), created_ms=created_ms)
                )
            except IntegrityError:
                raise Conflict(f"there is a token {name!r} already") from None
            await note(conn, created_ms, Source.TOKEN, "created", [(name, "", "")])
            row = (await conn.execute(select(api_token).where(api_token.c.name == name))).one()
            return _token_of(row)

        token = await transact(self._db, self._clock, body)
        self._forget()
        return token, text

    async def set_text(self, name: str, text: str) -> None:
        """Make this the text of the token of that name: for one that stands in the configuration."""

        async def body(conn: AsyncConnection) -> None:
            mine = api_token.c.name == name
            if (await conn.execute(select(api_token.c.id).where(mine).with_for_update())).first():
                await conn.execute(update(api_token).where(mine).values(token_hash=_hash(text)))
            else:
                values = {"name": name, "token_hash": _hash(text), "created_ms": self._clock.now_ms()}
                try:
                    await conn.execute(insert(api_token).values(values))
                except IntegrityError:  # another node, started at the same moment, was faster
                    await conn.execute(update(api_token).where(mine).values(token_hash=_hash(text)))

        await transact(self._db, self._clock, body)
        self._forget()

    async def all_tokens(self) -> list[Token]:
        async with reading(self._db) as conn:
            return [_token_of(row) for row in await conn.execute(select(api_token).order_by(api_token.c.id))]

    async def revoke(self, token_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            mine = api_token.c.id == token_id
            name = (await conn.execute(select(api_token.c.name).where(mine).with_for_update())).scalar()
            if name is None:
                raise NotFound("token", token_id)
            await conn.execute(delete(api_token).where(mine))
            await note(conn, self._clock.now_ms(), Source.TOKEN, "revoked", [(name, "", "")])

        await transact(self._db, self._clock, body)
        self._forget()

    async def name_of(self, text: str) -> str | None:
        if self._clock.monotonic() >= self._fresh_until:
            async with self._loading:
                await self._load()
        # What is looked up is a hash, which tells nobody how much of a guess was right.
        return self._names.get(_hash(text))

    async def _load(self) -> None:
        if self._clock.monotonic() < self._fresh_until:
            return  # somebody else has just done it
        begun, changes = self._clock.monotonic(), self._changes
        async with reading(self._db) as conn:
            rows = await conn.execute(select(api_token.c.token_hash, api_token.c.name))
            self._names = {row.token_hash: row.name for row in rows}
        if changes == self._changes:
            self._fresh_until = begun + FRESH_S

    def _forget(self) -> None:
        self._changes += 1
        self._fresh_until = float("-inf")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _token_of(row: Any) -> Token:
    return Token(id=row.id, name=row.name, created_ms=row.created_ms)
