"""Users of the admin web endpoints. Of a password only an argon2id hash is kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound, StoreError
from gateway.core.events import Source
from gateway.core.users import Role, User, app_ids_of, app_ids_text
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.held_ids import USER, let_go
from gateway.store.passwords import Passwords, in_scheme, md5_of
from gateway.store.sessions import hash_of
from gateway.store.tables import user_account, user_session
from gateway.store.transact import reading, transact

log = structlog.get_logger(__name__)

_DIGESTS_KEPT = 1000


class UserStore:
    """Implements `core.users.UserCatalog`."""

    def __init__(self, db: Database, clock: Clock, passwords: Passwords | None = None) -> None:
        self._db = db
        self._clock = clock
        self._passwords = passwords or Passwords()
        # By name, the hash in force and the digest that fits it: an old cookie comes with every call of its script.
        self._fitting: dict[str, tuple[str, str]] = {}

    async def create(self, user: User, password: str) -> User:
        now_ms = self._clock.now_ms()
        values = {
            "username": user.username,
            "role": int(user.role),
            "app_ids": app_ids_text(user.app_ids),
            "created_ms": now_ms,
            "updated_ms": now_ms,
            **await self._hashes(user, password),
        }

        async def body(conn: AsyncConnection) -> User:
            try:
                await conn.execute(insert(user_account).values(values))
            except IntegrityError:
                raise Conflict(f"there is a user {user.username!r} already") from None
            mine = user_account.c.username == user.username
            made = user_of((await conn.execute(select(user_account).where(mine))).one())
            await note(conn, now_ms, Source.USER, "created", [(user.username, "", _told(made))])
            return made

        return await transact(self._db, self._clock, body)

    async def get(self, username: str) -> User:
        row = await self._row(username)
        if row is None:
            raise NotFound("user", username)
        return user_of(row)

    async def by_id(self, user_id: int) -> User:
        async with reading(self._db) as conn:
            row = (await conn.execute(select(user_account).where(user_account.c.id == user_id))).first()
        if row is None:
            raise NotFound("user", user_id)
        return user_of(row)

    async def all_users(self) -> list[User]:
        query = select(user_account).order_by(user_account.c.username)
        async with reading(self._db) as conn:
            return [user_of(row) for row in await conn.execute(query)]

    async def update(self, user: User) -> User:
        values = {"role": int(user.role), "app_ids": app_ids_text(user.app_ids)}
        return await self._change(user, values, "changed", _told(user))

    async def set_password(self, user: User, password: str, *, keep: str = "") -> User:
        values = await self._hashes(user, password)
        return await self._change(user, values, "password_changed", "", ends_sessions_but=hash_of(keep))

    async def remove(self, user_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            row = await _locked(conn, user_id)
            await conn.execute(delete(user_session).where(user_session.c.user_id == user_id))
            await conn.execute(delete(user_account).where(user_account.c.id == user_id))
            # The database may give the id to the next user, who is not to become what the source says of this one.
            await let_go(conn, USER, user_id)
            await note(conn, self._clock.now_ms(), Source.USER, "removed", [(row.username, "", "")])

        await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ who is it

    async def with_password(self, username: str, password: str) -> User | None:
        row = await self._row(username)
        if row is None:
            await self._passwords.matches(None, password)
            return None
        if not await self._passwords.matches(row.password_hash, in_scheme(row.password_scheme, password)):
            return None
        if row.password_scheme:
            await self._hash_anew(row, password)
        return user_of(row)

    async def _hash_anew(self, row: Any, password: str) -> None:
        """The first login after an import: from now on the hash is of the password itself."""
        mine = and_(user_account.c.id == row.id, user_account.c.password_hash == row.password_hash)
        values = {"password_hash": await self._passwords.hashed(password), "password_scheme": ""}

        async def body(conn: AsyncConnection) -> None:
            # Whoever has set another password meanwhile is right.
            await conn.execute(update(user_account).where(mine).values(values))

        try:
            await transact(self._db, self._clock, body)
        except StoreError as error:  # it fits all the same, and the next login tries again
            log.warning("password_not_hashed_anew", user=row.username, error=str(error)[:200])

    async def has_old_password(self, user_id: int, scheme: str = "", digest: str = "") -> bool:
        """Whether it is still the one that was imported; with a `digest`, whether that is of this one."""
        async with reading(self._db) as conn:
            row = (await conn.execute(select(user_account).where(user_account.c.id == user_id))).first()
        if row is None or not row.password_scheme or not digest:
            return row is not None and bool(row.password_scheme)
        return row.password_scheme == scheme and await self._passwords.matches(row.password_hash, digest)

    async def with_digest(self, username: str, digest: str) -> User | None:
        row = await self._row(username)
        if row is None or not row.cookie_hash:
            return None
        known = (row.cookie_hash, hash_of(digest))
        if self._fitting.get(username) != known:
            if not await self._passwords.matches(row.cookie_hash, digest):
                return None
            if len(self._fitting) >= _DIGESTS_KEPT:
                self._fitting.clear()
            self._fitting[username] = known
        return user_of(row)

    # ------------------------------------------------------------ pieces

    async def _row(self, username: str) -> Any:
        query = select(user_account).where(user_account.c.username == username)
        async with reading(self._db) as conn:
            return (await conn.execute(query)).first()

    async def _hashes(self, user: User, password: str) -> dict[str, str]:
        cookie_hash = await self._passwords.hashed(md5_of(password)) if user.old_cookie else ""
        return {
            "password_hash": await self._passwords.hashed(password),
            "password_scheme": "",
            "cookie_hash": cookie_hash,
        }

    async def _change(
        self,
        user: User,
        values: dict[str, Any],
        reason: str,
        text: str,
        *,
        ends_sessions_but: str | None = None,
    ) -> User:
        now_ms = self._clock.now_ms()

        async def body(conn: AsyncConnection) -> None:
            await _locked(conn, user.id)
            mine = user_account.c.id == user.id
            await conn.execute(update(user_account).where(mine).values(**values, updated_ms=now_ms))
            if ends_sessions_but is not None:
                session = user_session.c
                ended = and_(session.user_id == user.id, session.token_hash != ends_sessions_but)
                await conn.execute(delete(user_session).where(ended))
            await note(conn, now_ms, Source.USER, reason, [(user.username, "", text)])

        await transact(self._db, self._clock, body)
        return replace(user, updated_ms=now_ms)


async def _locked(conn: AsyncConnection, user_id: int) -> Any:
    query = select(user_account).where(user_account.c.id == user_id).with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise NotFound("user", user_id)
    return row


async def forget_apps(conn: AsyncConnection, app_ids: Collection[int]) -> None:
    """Nobody has rights to these any more: an import may give such an id to another app."""
    gone = frozenset(app_ids)
    query = select(user_account.c.id, user_account.c.app_ids).where(user_account.c.app_ids != "")
    for row in (await conn.execute(query.order_by(user_account.c.id).with_for_update())).all():
        theirs = app_ids_of(row.app_ids)
        if theirs & gone:
            values = {"app_ids": app_ids_text(theirs - gone)}
            await conn.execute(update(user_account).where(user_account.c.id == row.id).values(values))


def _told(user: User) -> str:
    return user.role.word + (f", apps {app_ids_text(user.app_ids)}" if user.app_ids else "")


def user_of(row: Any) -> User:
    return User(
        id=row.id,
        username=row.username,
        role=Role(row.role),
        app_ids=app_ids_of(row.app_ids),
        old_cookie=bool(row.cookie_hash),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )
