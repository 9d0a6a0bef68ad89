"""What somebody who moves should know about the safety of what is moved."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.core.users import Role
from importer.plan.values import Finding, Level, PlannedApp, PlannedJob, PlannedUser
from importer.source.values import Installation

DEFAULT_TOKEN = "default_token"  # noqa: S105 – what XXL-JOB is shipped with, known to everybody
_DEFAULT_PASSWORD = b"123456"
_DEFAULT_DIGESTS = frozenset(
    {
        hashlib.md5(_DEFAULT_PASSWORD, usedforsecurity=False).hexdigest(),
        hashlib.sha256(_DEFAULT_PASSWORD).hexdigest(),
    }
)
_SHIPS_A_TOKEN = (2, 3, 1)
_TOKENS_IN_DATABASE = (3, 5)
_MOST_NAMED = 20


def security_of(
    installation: Installation,
    token: str | None,
    apps: Sequence[PlannedApp],
    jobs: Sequence[PlannedJob],
    users: Sequence[PlannedUser],
) -> tuple[Finding, ...]:
    return (
        *_tokens(installation, token, apps),
        *_glue(jobs),
        *_addresses(installation, apps),
        *_users(users),
    )


def _warning(where: str, field: str, value: str, became: str, why: str) -> Finding:
    return Finding(Level.WARNING, where, field, value, became, why)


def _tokens(installation: Installation, token: str | None, apps: Sequence[PlannedApp]) -> Iterable[Finding]:
    where = "access token"
    if installation.last < _TOKENS_IN_DATABASE:
        if token is None:
            hint = (
                f"releases from 2.3.1 on are shipped with {DEFAULT_TOKEN!r}, which everybody knows"
                if installation.last >= _SHIPS_A_TOKEN
                else "this release is shipped without one"
            )
            yield _warning(where, "access_token", "not in the database", "none", f"it stands in the old admin's configuration: give it with --access-token; {hint}")  # fmt: skip
            return
        yield from _weak(where, token)
        yield _warning(where, "access_token", "one for all apps", f"the token of {len(apps)} apps", "who knows it can register as an executor of any app and report results for its runs: give each app its own when you can")  # fmt: skip
        return
    own = {one.access_token or "" for one in apps}
    named = {value: [one.app.appname for one in apps if (one.access_token or "") == value] for value in own}
    for value, appnames in sorted(named.items(), key=lambda item: item[1]):
        yield from _weak(f"apps {_some(appnames)}", value)
        if value and value != DEFAULT_TOKEN and len(appnames) > 1:
            yield _warning(f"apps {_some(appnames)}", "access_token", "the same", "kept", "who knows it can speak for each of these apps: give each its own")  # fmt: skip


def _weak(where: str, token: str) -> Iterable[Finding]:
    if token == DEFAULT_TOKEN:
        yield _warning(where, "access_token", DEFAULT_TOKEN, "kept", "it is what XXL-JOB is shipped with, so everybody knows it: change it here and at the executors")  # fmt: skip
    elif not token.strip():
        yield _warning(where, "access_token", "empty", "none", "without one, anybody who reaches this server can register as an executor, and anybody who reaches an executor can start jobs on it")  # fmt: skip


def _glue(jobs: Sequence[PlannedJob]) -> Iterable[Finding]:
    glue = [one for one in jobs if one.job.task.glue_type != "BEAN"]
    if not glue:
        return
    types = Counter(one.job.task.glue_type for one in glue)
    told = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
    enabled = [one for one in glue if one.wants_enabled]
    yield _warning(
        f"jobs {_some([str(one.old_id) for one in glue])}",
        "glue_type",
        told,
        f"kept, {len(enabled)} of {len(glue)} to be enabled",
        "GLUE sends code to executors, which run it: who may change these jobs, or reaches an executor with its token, "
        "runs anything there",
    )


def _addresses(installation: Installation, apps: Sequence[PlannedApp]) -> Iterable[Finding]:
    listed = [address for one in apps for address in one.app.addresses]
    registered = [
        one.address if "://" in one.address else f"http://{one.address}" for one in installation.executors
    ]
    found = list(dict.fromkeys([*listed, *registered]))
    plain = [one for one in found if one.lower().startswith("http://")]
    if plain:
        yield _warning("executors", "address", _some(plain), "kept", "plain http: tokens, parameters and GLUE sources can be read on the way; keep it inside your network, or put TLS before the executors")  # fmt: skip
    public = [one for one in found if _is_public(one)]
    if public:
        yield _warning("executors", "address", _some(public), "kept", "public addresses: an executor that the internet reaches runs what anybody with its token sends")  # fmt: skip


def _is_public(address: str) -> bool:
    """Of a name nobody can tell from here."""
    try:
        return ip_address(urlsplit(address).hostname or "").is_global
    except ValueError:
        return False


def _users(users: Sequence[PlannedUser]) -> Iterable[Finding]:
    weak = [one.user.username for one in users if one.password and one.password.digest in _DEFAULT_DIGESTS]
    if weak:
        yield _warning(f"users {_some(weak)}", "password", "123456", "kept", "the password that XXL-JOB is shipped with: change it before anybody else logs in")  # fmt: skip
    hashed = Counter(one.password.scheme for one in users if one.password)
    if hashed:
        told = ", ".join(f"{count} {scheme}" for scheme, count in sorted(hashed.items()))
        yield _warning("users", "password", told, "hashed again with argon2id", "these hashes have no salt: who has seen the old database can find short passwords, so have them changed")  # fmt: skip
    shared = Counter(one.password.digest for one in users if one.password)
    same = [one.user.username for one in users if one.password and shared[one.password.digest] > 1]
    if same:
        yield _warning(f"users {_some(same)}", "password", "the same", "kept", "hashes without salt show that these users share a password")  # fmt: skip
    admins = [one.user.username for one in users if one.user.role is Role.ADMIN]
    if admins:
        yield Finding(Level.NOTE, f"users {_some(admins)}", "role", "admin", "admin", "they may change everything, users included")  # fmt: skip


def _some(names: Sequence[str]) -> str:
    text = ", ".join(names[:_MOST_NAMED])
    return text if len(names) <= _MOST_NAMED else f"{text} and {len(names) - _MOST_NAMED} more"
