"""The users of an import, in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.errors import Conflict
from gateway.core.events import Source
from gateway.core.users import User, app_ids_text
from gateway.store.events import note
from gateway.store.import_apps import AGAIN
from gateway.store.tables import user_account
from gateway.store.users import user_of

_C = user_account.c


@dataclass(frozen=True, slots=True)
class UserImport:
    """`is_new`: to be made with this id; `changes`: to be given what `user` says.

    `password_hash` is argon2id over what the source has, made with `scheme`; None: what is there stays.
    """

    user: User
    old_id: int
    is_new: bool = False
    changes: bool = False
    scheme: str = ""
    password_hash: str | None = field(repr=False, default=None)

    @property
    def keeps(self) -> bool:
        return not self.is_new and not self.changes


async def write_users(
    conn: AsyncConnection,
    source: str,
    users: Sequence[UserImport],
    made: list[int],
    changed: list[int],
    now_ms: int,
) -> None:
    told: list[tuple[object, str, str]] = []
    for one in sorted(users, key=lambda one: one.user.id):
        words = f"{one.user.role.word}: user {one.old_id} of {source}"
        if one.is_new:
            await _make(conn, one, now_ms)
            made.append(one.user.id)
            told.append((one.user.username, "", words))
        elif one.changes and await _change(conn, one, now_ms):
            changed.append(one.user.id)
            told.append((one.user.username, "", f"updated, {words}"))
    await note(conn, now_ms, Source.USER, "imported", told)


def _password(one: UserImport) -> dict[str, Any]:
    if one.password_hash is None:
        return {}
    # An old cookie holds the MD5 that this is a hash of.
    fits = one.user.old_cookie and one.scheme == "md5"
    return {
        "password_hash": one.password_hash,
        "password_scheme": one.scheme,
        "cookie_hash": one.password_hash if fits else "",
    }


async def _make(conn: AsyncConnection, one: UserImport, now_ms: int) -> None:
    values = {
        "id": one.user.id,
        "username": one.user.username,
        "role": int(one.user.role),
        "app_ids": app_ids_text(one.user.app_ids),
        "created_ms": now_ms,
        "updated_ms": now_ms,
        "password_hash": "",
        **_password(one),
    }
    try:
        await conn.execute(insert(user_account).values(values))
    except IntegrityError:
        raise Conflict(
            f"there is a user {one.user.username!r}, or one with the id {one.user.id}, already: {AGAIN}"
        ) from None


async def _change(conn: AsyncConnection, one: UserImport, now_ms: int) -> bool:
    row = (await conn.execute(select(user_account).where(_C.id == one.user.id).with_for_update())).first()
    if row is None or row.username != one.user.username:
        raise Conflict(f"user {one.user.username!r} is not here any more: {AGAIN}")
    if user_of(row).updated_ms != one.user.updated_ms:
        raise Conflict(f"user {one.user.username!r} was changed: {AGAIN}")
    values = {"role": int(one.user.role), "app_ids": app_ids_text(one.user.app_ids), **_password(one)}
    if all(getattr(row, name) == value for name, value in values.items()):
        return False
    await conn.execute(update(user_account).where(_C.id == row.id).values(**values, updated_ms=now_ms))
    return True


async def raise_user_ids(conn: AsyncConnection, first: int) -> None:
    """The next user's id is not below `first`: a row that was there moves the counter, and no DDL ends the transaction.

    Not on SQLite, which has no counter; and a MySQL before 8.0 forgets its own when it starts. So ids of users come again.
    """
    last = (await conn.execute(select(_C.id).order_by(_C.id.desc()).limit(1))).scalar() or 0
    if first <= last + 1:
        return
    await conn.execute(insert(user_account).values(id=first - 1, username="", password_hash=""))
    await conn.execute(delete(user_account).where(_C.id == first - 1))
