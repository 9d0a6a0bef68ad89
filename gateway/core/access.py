"""Access tokens: how executors prove to the gateway who they are, and the gateway to them.

An app's own tokens count; without any, those of its namespace; without these, the setting's. An app and a namespace have at
most two at once: the newest, and the one before it while executors are being given the new one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, NoReturn, Protocol

from gateway.core.errors import Refused
from gateway.core.model import DEFAULT_NAMESPACE, App
from gateway.core.registry import Registry

MOST_AT_ONCE = 2
TEXT = r"[!-~]{1,255}"  # it is sent in a header
ANYBODY = ""  # in the place of a token: nobody is asked for one
NO_TOKEN = "no access token"  # noqa: S105 – what a caller is told
_MARK_BITS = 24


@dataclass(frozen=True, slots=True)
class AccessToken:
    """`app_id` 0: of the whole namespace. `ends_ms` 0: until it is removed.

    An empty text stands for what would count without tokens of its own: it goes on being valid beside the first one.
    """

    id: int
    namespace_id: int
    app_id: int
    text: str = field(repr=False)
    created_ms: int = 0
    ends_ms: int = 0
    author: str = ""

    def valid_at(self, now_ms: int) -> bool:
        return not self.ends_ms or now_ms < self.ends_ms


def mark_of(token: str) -> str:
    """Enough to tell two tokens apart, far too little to find one; empty for none."""
    return hashlib.sha256(b"xxljob-gateway " + token.encode()).hexdigest()[: _MARK_BITS // 4] if token else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class _Key(NamedTuple):
    text: str
    digest: bytes
    mark: str


def _key(token: str) -> _Key:
    return _Key(token, _digest(token), mark_of(token))


class Reach(Protocol):
    """The apps that a caller may report results for."""

    @property
    def is_everything(self) -> bool: ...

    def covers(self, app_id: int) -> bool: ...


class TokenCheck(Protocol):
    """What every dialect asks, inbound and outbound. `peer` is the caller's network address, for the event."""

    def reach(self, sent: str, peer: str) -> Reach:
        """Before the body is read: for which apps this token may speak. Raises `Refused` if for none."""
        ...

    def admit(self, sent: str, appname: str, peer: str) -> str:
        """Whether an executor of this app may register or go: the mark of its token. Raises `Refused`."""
        ...

    def is_own(self, sent: str, appname: str) -> bool:
        """Whether this is a token of the app alone, which nothing else accepts by what is set for all."""
        ...

    def guest(self, peer: str) -> Reach:
        """For which apps a generation that cannot send a token may speak from there. Raises `Refused` if for none."""
        ...

    def admit_guest(self, appname: str, peer: str) -> None:
        """Whether an executor of this app may register that cannot send a token. Raises `Refused`."""
        ...

    def sent_to(self, appname: str, address: str) -> str:
        """The token that a call down carries: the one this executor came with, else the newest; empty for none."""
        ...


class _Guest:
    """Who came without a token, from an address that some apps let in."""

    is_everything = False

    def __init__(self, registry: Registry, peer: str) -> None:
        self._registry = registry
        self._peer = peer

    def covers(self, app_id: int) -> bool:
        app = self._registry.app(app_id)
        return app is not None and lets_in(app, self._peer)


def lets_in(app: App, peer: str) -> bool:
    """Whether the app takes calls without a token from this address."""
    if not app.tokenless_from:
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in _network(one) for one in app.tokenless_from)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


class EveryApp:
    """Nobody has tokens of their own."""

    is_everything = True

    def covers(self, app_id: int) -> bool:  # noqa: ARG002 – the port's
        return True


EVERY_APP = EveryApp()


class _Bearer:
    """Who came with this token."""

    is_everything = False

    def __init__(self, tokens: AccessTokens, digest: bytes) -> None:
        self._tokens = tokens
        self._digest = digest

    def covers(self, app_id: int) -> bool:
        return self._tokens.match(self._digest, self._tokens.registry.app(app_id)) is not None


class AccessTokens:
    """All tokens in memory. Implements `TokenCheck`.

    The time that a comparison takes tells nothing about how much of a guess was right: it is constant, mostly of digests.
    """

    def __init__(self, setting: Sequence[str], registry: Registry, now_ms: Callable[[], int]) -> None:
        self.registry = registry
        self._now_ms = now_ms
        self._setting = tuple(map(_key, setting)) or (_key(ANYBODY),)
        self._texts = [text.encode() for text in setting]
        self._rows: dict[tuple[int, int], list[AccessToken]] = {}
        self._known: frozenset[bytes] = frozenset()
        self._valid: dict[tuple[int, int], tuple[tuple[_Key, ...], int]] = {}
        self._only = self._setting[0].text if len(self._setting) == 1 else None
        self.on_refused: Callable[[str, str, str], None] = lambda _appname, _peer, _why: None

    def set_all(self, tokens: Iterable[AccessToken]) -> None:
        """All that there are."""
        rows: dict[tuple[int, int], list[AccessToken]] = {}
        for one in sorted(tokens, key=lambda one: -one.id):
            rows.setdefault((one.namespace_id, one.app_id), []).append(one)
        self._rows, self._valid = rows, {}
        texts = [one.text for of_one in rows.values() for one in of_one if one.text]
        self._known = frozenset(_digest(text) for text in (*texts, *(key.text for key in self._setting)))
        self._only = self._setting[0].text if not rows and len(self._setting) == 1 else None

    # ------------------------------------------------------------ up

    def reach(self, sent: str, peer: str) -> Reach:
        if not self._rows:
            self._reach_plainly(sent, peer)
            return EVERY_APP
        digest = _digest(sent)
        if digest not in self._known and self._setting[0].text != ANYBODY:
            self._refuse(sent, "", peer)
        return _Bearer(self, digest)

    def _reach_plainly(self, sent: str, peer: str) -> None:
        """The hot path: each callback of a gateway without tokens of apps. A digest would take most of its time."""
        if self._texts:
            text, known = sent.encode("utf-8", "surrogatepass"), False
            for one in self._texts:
                known |= hmac.compare_digest(text, one)
            if not known:
                self._refuse(sent, "", peer)

    def admit(self, sent: str, appname: str, peer: str) -> str:
        mark = self.match(_digest(sent), self.registry.app_named(appname))
        if mark is None:
            self._refuse(sent, appname, peer)
        return mark

    def is_own(self, sent: str, appname: str) -> bool:
        app, digest = self.registry.app_named(appname), _digest(sent)
        if app is None:
            return False
        now_ms = self._now_ms()
        rows = self._rows.get((app.namespace_id, app.id), ())
        own = [_key(row.text) for row in rows if row.text and row.valid_at(now_ms)]
        others = (row for scope, of_one in self._rows.items() if scope[1] != app.id for row in of_one)
        shared = [*self._setting, *(_key(row.text) for row in others if row.text)]
        return self._holds(digest, own) and not self._holds(digest, shared)

    @staticmethod
    def _holds(digest: bytes, keys: Iterable[_Key]) -> bool:
        return sum(hmac.compare_digest(digest, key.digest) for key in keys) > 0

    def match(self, digest: bytes, app: App | None) -> str | None:
        """The mark of the token if the app accepts it."""
        return self._among(digest, self.valid(app))

    def _among(self, digest: bytes, keys: Sequence[_Key]) -> str | None:
        found = None
        for key in keys:  # all of them, so that the time does not tell which one it was
            if hmac.compare_digest(digest, key.digest):
                found = key.mark
            elif key.text == ANYBODY and found is None:
                found = ""
        return found

    def _refuse(self, sent: str, appname: str, peer: str) -> NoReturn:
        known = appname if self.registry.app_named(appname) is not None else ""
        whose = f"app {known}" if known and self._rows else "this gateway"
        why = f"the access token is not one {whose} accepts" if sent else NO_TOKEN
        self.on_refused(known, peer, why)
        raise Refused(why)

    def guest(self, peer: str) -> Reach:
        if not any(lets_in(app, peer) for app in self.registry.apps()):
            self._refuse_guest("", peer)
        return _Guest(self.registry, peer)

    def admit_guest(self, appname: str, peer: str) -> None:
        app = self.registry.app_named(appname)
        if app is None or not lets_in(app, peer):
            self._refuse_guest(appname if app else "", peer)

    def _refuse_guest(self, appname: str, peer: str) -> NoReturn:
        whose = f"app {appname} takes" if appname else "no app takes"
        why = f"{whose} calls of executors that send no token from {peer or 'there'}: set tokenless_from"
        self.on_refused(appname, peer, why)
        raise Refused(why)

    # ------------------------------------------------------------ down

    def sent_to(self, appname: str, address: str) -> str:
        if self._only is not None:
            return self._only
        app = self.registry.app_named(appname)
        keys = self.valid(app)
        if len(keys) > 1 and app is not None:
            executor = self.registry.executor(app.id, address)
            if executor is not None:
                for key in keys:
                    if key.mark == executor.token_mark:
                        return key.text
        return keys[0].text

    # ------------------------------------------------------------ what counts

    def valid(self, app: App | None) -> tuple[_Key, ...]:
        """The newest first. An app that does not exist would be one of the default namespace."""
        scope = (DEFAULT_NAMESPACE, 0) if app is None else (app.namespace_id, app.id)
        now_ms = self._now_ms()
        found = self._valid.get(scope)
        if found is None or now_ms >= found[1] > 0:
            ends = [row.ends_ms for rows in self._rows.values() for row in rows if row.ends_ms > now_ms]
            keys = dict.fromkeys(self._of_app(scope, now_ms))
            found = self._valid[scope] = tuple(keys), min(ends, default=0)
        return found[0]

    def _of_app(self, scope: tuple[int, int], now_ms: int) -> list[_Key]:
        below = self._level((scope[0], 0), now_ms, list(self._setting))
        return self._level(scope, now_ms, below) if scope[1] else below

    def _level(self, scope: tuple[int, int], now_ms: int, below: list[_Key]) -> list[_Key]:
        rows = [row for row in self._rows.get(scope, ()) if row.valid_at(now_ms)]
        if not rows:
            return below
        return [key for row in rows for key in ([_key(row.text)] if row.text else below)]


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose tokens: an app's, or a whole namespace's (`app_id` 0)."""

    namespace_id: int
    app_id: int
    name: str


class AccessCatalog(Protocol):
    """What is kept of them. The text leaves by `create` alone, and to the nodes."""

    async def holder(self, *, appname: str | None = None, namespace: str | None = None) -> Holder:
        """Raises `NotFound`."""
        ...

    async def of(self, holder: Holder) -> list[AccessToken]:
        """The newest first, those that have ended too."""
        ...

    async def create(self, holder: Holder, text: str | None, old_valid_ms: int | None) -> AccessToken:
        """A new one; what counted before goes on for so long, None: until it is removed.

        Raises `Conflict` where two are valid, `NotFound`.
        """
        ...

    async def remove(self, holder: Holder, token_id: int) -> None:
        """Raises `NotFound`."""
        ...

    async def all_access_tokens(self) -> list[AccessToken]: ...
