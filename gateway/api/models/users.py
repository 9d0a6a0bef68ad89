"""Users of the admin web endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.api.models.base import Answer, Body, Iso, Text
from gateway.core.users import MAX_PASSWORD, MIN_PASSWORD

_LONG = f"{MIN_PASSWORD} to {MAX_PASSWORD} characters."
_OLD_COOKIE = (
    "Take the cookie that an xxl-job-admin before 3.2 makes of the password's MD5 for a login, as scripts "
    "that have it written into them need."
)


class UserChange(Body):
    role: Literal["admin", "normal"] = Field("normal", description="`admin`: everything; `normal`: its apps.")
    apps: list[str] = Field(
        [], max_length=1000, description="The appnames whose jobs and runs a normal user sees and changes."
    )


class UserBody(UserChange):
    username: Text = Field(min_length=1, max_length=50)
    password: Text = Field(description=_LONG)
    old_cookie: bool = Field(default=False, description=_OLD_COOKIE)


class PasswordBody(Body):
    password: Text = Field(description=_LONG)
    old_cookie: bool = Field(default=False, description=_OLD_COOKIE)


class UserAnswer(Answer):
    username: str
    role: Literal["admin", "normal"]
    apps: list[str]
    old_cookie: bool
    warnings: list[str] = Field([], description="What is weak about what was just set.")
    created: Iso
    created_ms: int
    updated: Iso
    updated_ms: int


class UserList(Answer):
    items: list[UserAnswer]
    next_cursor: None = None
