"""Users of the old admin: names, roles, what they may do, and what is known of their passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.core.users import MAX_USERNAME, Role, User
from importer.plan.notes import Notes
from importer.plan.values import OldPassword
from importer.source.values import SourceUser

# Which only a check against the hash that is kept here can tell.
IF_CHANGED = "password: the one there, if it has changed and nobody has set one here"
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_SCHEMES = {32: "md5", 64: "sha256"}


def password_of(user: SourceUser, notes: Notes) -> OldPassword | None:
    """The scheme shows in the length."""
    told = (user.password or "").strip()
    scheme = _SCHEMES.get(len(told))
    if scheme is None or not _HEX.fullmatch(told):
        why = "no hash of MD5 or SHA-256, so nobody can log in with it: give this user a password"
        notes.warn("password", "***" if told else "", "none", why)
        return None
    return OldPassword(scheme, told.lower())


def user_of(
    user: SourceUser, user_id: int, username: str, app_ids: Mapping[str, int], now_ms: int, notes: Notes
) -> User:
    if user_id != user.id:
        notes.note("id", user.id, str(user_id), "the id is taken here")
    role = Role.NORMAL
    if user.role in (0, 1):
        role = Role(user.role)
    else:
        notes.repaired("role", user.role, "normal", "there are two roles, 0 and 1")
    notes.extras(user.extra, are_secret=True)
    return User(
        id=user_id,
        username=username,
        role=role,
        app_ids=_permission(user, app_ids, notes),
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _permission(user: SourceUser, app_ids: Mapping[str, int], notes: Notes) -> frozenset[int]:
    found = set()
    for item in (user.permission or "").split(","):
        key = item.strip()
        if not key:
            continue
        number = str(int(key)) if key.isascii() and key.isdecimal() and len(key) < 11 else key
        if number in app_ids:
            found.add(app_ids[number])
        else:
            notes.dropped("permission", item, "there is no such group")
    return frozenset(found)


def username_of(user: SourceUser, taken: set[str], notes: Notes) -> str:
    """Names are told apart by their letters' case here, where two of the source differ in that alone both are kept."""
    kept = "".join(one for one in user.username if one.isprintable()).strip()[:MAX_USERNAME].strip()
    name = kept or f"user-{user.id}"
    if name != user.username:
        why = f"a username has 1 to {MAX_USERNAME} visible characters without blanks around them"
        notes.repaired("username", user.username, name, why)
    if name in taken:
        other, number = name, user.id
        while name in taken:
            name = f"{other[: MAX_USERNAME - 12]}-{number}"
            number += 1
        notes.repaired("username", other, name, "another user of the source has this name")
    taken.add(name)
    return name
