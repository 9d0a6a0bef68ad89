"""Sessions of users: random texts of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.users import LONGEST_SESSION_S, SESSION_S, Role, Session, User, app_ids_of
from gateway.store.engine import Database
from gateway.store.tables import user_account, user_session
from gateway.store.transact import reading, transact

MOST_OF_A_USER = 1000
_NOTED_EVERY_MS = 3_600_000


class SessionStore:
    """Implements `core.users.Sessions`.

    Each look-up reads the database: a role that was changed, a password, a logout count at once, on every node.
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def open(self, user: User, style: str) -> str:
        text = secrets.token_urlsafe(32)
        now_ms = self._clock.now_ms()
        session = user_session.c
        newest = (
            select(session.token_hash)
            .where(session.user_id == user.id)
            .order_by(session.used_ms.desc(), session.token_hash)
            .limit(1000)
            .offset(MOST_OF_A_USER - 1)
        )

        async def body(conn: AsyncConnection) -> None:
            surplus = sorted((await conn.execute(newest)).scalars())
            if surplus:
                await conn.execute(delete(user_session).where(session.token_hash.in_(surplus)))
            await conn.execute(
                insert(user_session).values(
                    token_hash=hash_of(text),
                    user_id=user.id,
                    style=style,
                    created_ms=now_ms,
                    used_ms=now_ms,
                    expires_ms=now_ms + SESSION_S * 1000,
                )
            )

        await transact(self._db, self._clock, body)
        return text

    async def find(self, text: str) -> Session | None:
        now_ms = self._clock.now_ms()
        session, user = user_session.c, user_account.c
        query = (
            select(
                session.style,
                session.created_ms,
                session.used_ms,
                user.id,
                user.username,
                user.role,
                user.app_ids,
                user.cookie_hash,
            )
            .join(user_account, user.id == session.user_id)
            .where(session.token_hash == hash_of(text), session.expires_ms > now_ms)
        )
        async with reading(self._db) as conn:
            row = (await conn.execute(query)).first()
        if row is None:
            return None
        if now_ms - row.used_ms >= _NOTED_EVERY_MS:
            await self._prolong(text, row.created_ms, now_ms)
        found = User(row.id, row.username, Role(row.role), app_ids_of(row.app_ids), bool(row.cookie_hash))
        return Session(found, row.style)

    async def restyle(self, text: str, style: str) -> None:
        await self._set(text, style=style)

    async def close(self, text: str) -> None:
        async def body(conn: AsyncConnection) -> None:
            await conn.execute(delete(user_session).where(user_session.c.token_hash == hash_of(text)))

        await transact(self._db, self._clock, body)

    async def _prolong(self, text: str, created_ms: int, now_ms: int) -> None:
        end_ms = min(now_ms + SESSION_S * 1000, created_ms + LONGEST_SESSION_S * 1000)
        await self._set(text, used_ms=now_ms, expires_ms=end_ms)

    async def _set(self, text: str, **values: object) -> None:
        async def body(conn: AsyncConnection) -> None:
            mine = user_session.c.token_hash == hash_of(text)
            await conn.execute(update(user_session).where(mine).values(**values))

        await transact(self._db, self._clock, body)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
