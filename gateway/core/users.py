"""Users of the admin web endpoints: who they are, what they may do; ports of the store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from gateway.core.errors import InvalidValue

MIN_PASSWORD, MAX_PASSWORD = 4, 128
MAX_USERNAME = 50
WEAK_PASSWORD = 10
SESSION_S = 30 * 86_400
"""A session ends when it was not used for this long."""
LONGEST_SESSION_S = 365 * 86_400
"""A session ends this long after its login, however much it is used."""


class Role(IntEnum):
    """XXL-JOB's two, stored and sent as its numbers."""

    NORMAL = 0
    ADMIN = 1

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class User:
    """`app_ids`: what a normal user may see and change; an admin may all. `old_cookie`: whether a cookie that
    xxl-job-admin made from the password's MD5 is as good as a login.
    """

    id: int
    username: str
    role: Role
    app_ids: frozenset[int] = frozenset()
    old_cookie: bool = False
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    def may(self, app_id: int) -> bool:
        """Whether jobs of this app, and their runs, are this user's business."""
        return self.is_admin or app_id in self.app_ids


@dataclass(frozen=True, slots=True)
class Session:
    """`style` is the surface's own word for what it has learned of the client."""

    user: User
    style: str


def require_username(username: str, field: str = "username") -> None:
    """Raises `InvalidValue`."""
    if not 0 < len(username) <= MAX_USERNAME or not username.isprintable() or username != username.strip():
        expected = f"1 to {MAX_USERNAME} visible characters without blanks around them"
        raise InvalidValue(field, username, expected)


def require_password(password: str, field: str = "password") -> None:
    """Raises `InvalidValue`, which never holds the password."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidValue(field, "***", f"{MIN_PASSWORD} to {MAX_PASSWORD} characters")


class UserCatalog(Protocol):
    async def create(self, user: User, password: str) -> User:
        """Id and times are filled in. Raises `Conflict` when the name is taken."""
        ...

    async def get(self, username: str) -> User:
        """Raises `NotFound`."""
        ...

    async def by_id(self, user_id: int) -> User:
        """Raises `NotFound`."""
        ...

    async def all_users(self) -> list[User]:
        """By name."""
        ...

    async def update(self, user: User) -> User:
        """Its role and its apps. Raises `NotFound`."""
        ...

    async def set_password(self, user: User, password: str, *, keep: str = "") -> User:
        """All its sessions end but the one with the text `keep`; `user.old_cookie` is kept. Raises `NotFound`."""
        ...

    async def remove(self, user_id: int) -> None:
        """All its sessions end. Raises `NotFound`."""
        ...

    async def with_password(self, username: str, password: str) -> User | None:
        """Whose password this is. It takes as long for a name that nobody has."""
        ...

    async def with_digest(self, username: str, digest: str) -> User | None:
        """Whose password has this MD5, among those for whom an old cookie will do."""
        ...


class Sessions(Protocol):
    async def open(self, user: User, style: str) -> str:
        """The text of a new session, which is shown this once: letters, digits, `-` and `_`."""
        ...

    async def find(self, text: str) -> Session | None:
        """None for one that is unknown or over."""
        ...

    async def restyle(self, text: str, style: str) -> None: ...

    async def close(self, text: str) -> None: ...


def app_ids_text(app_ids: Collection[int]) -> str:
    return ",".join(map(str, sorted(app_ids)))


def app_ids_of(text: str | None) -> frozenset[int]:
    return frozenset(int(one) for one in (text or "").split(",") if one)
