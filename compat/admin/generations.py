"""Which admin a caller takes this for: by its session, its address, its parameters."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

OLD_PREFIX = "/xxl-job-admin"


class Generation(StrEnum):
    """The words are kept in sessions."""

    G2 = "g2"  # 2.0 to 3.1.1
    G3A = "g3a"  # 3.2.0: another login, everything else as before
    G3B = "g3b"  # 3.3.0 and later

    @property
    def is_g3(self) -> bool:
        return self is not Generation.G2


COOKIES = {
    Generation.G2: "XXL_JOB_LOGIN_IDENTITY",
    Generation.G3A: "xxl_job_login_token",
    Generation.G3B: "xxl_job_login_token",
}
LOGIN_PAGES = {Generation.G2: "/toLogin", Generation.G3A: "/auth/login", Generation.G3B: "/auth/login"}

# Addresses and parameters that only some generations have.
_UNTIL_3_2 = frozenset(
    (
        "/jobinfo/add",
        "/jobinfo/remove",
        "/jobgroup/save",
        "/jobgroup/remove",
        "/user/add",
        "/user/remove",
        "/user/updatePwd",
        "/joblog/getJobsByGroup",
    )
)
_SINCE_3_3 = frozenset(("/jobinfo/insert", "/jobinfo/delete", "/jobgroup/insert", "/jobgroup/delete"))
_SINCE_3_3_OF_USERS = frozenset(("/user/insert", "/user/delete", "/auth/updatePwd"))
_ONE_OR_MANY = frozenset(("/jobinfo/start", "/jobinfo/stop"))


def told(path: str, names: Collection[str]) -> Generation | None:
    """What the address (without its prefix) and the names of the parameters say; G2 stands for G3A as well."""
    if path in _SINCE_3_3 or path in _SINCE_3_3_OF_USERS:
        return Generation.G3B
    if path in _UNTIL_3_2:
        return Generation.G2
    if path.endswith("/pageList"):
        if "start" in names or "length" in names:
            return Generation.G2
        if "offset" in names or "pagesize" in names:
            return Generation.G3B
    if path in _ONE_OR_MANY:
        return Generation.G3B if {"ids[]", "ids"} & set(names) else Generation.G2 if "id" in names else None
    return None


def of_session(style: str, said: Generation | None) -> Generation:
    """Whose answer a caller who is logged in wants. `style` is what the session has shown so far."""
    known = Generation(style)
    if said is Generation.G3B:
        return said
    if said is Generation.G2 and known is Generation.G3B:
        return Generation.G3A  # the new login, and the old addresses
    return known


def of_stranger(prefix: str, cookies: Collection[str], said: Generation | None) -> Generation:
    """Whose refusal a caller without a session understands."""
    has_new, has_old = (COOKIES[one] in cookies for one in (Generation.G3B, Generation.G2))
    if said is Generation.G3B or (said is None and has_new and not has_old):
        return Generation.G3B
    if said is Generation.G2:
        return Generation.G3A if has_new and not has_old else Generation.G2
    return Generation.G2 if has_old or prefix.startswith(OLD_PREFIX) else Generation.G3B
