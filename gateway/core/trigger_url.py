"""Addresses that start a job: who may call one, and how."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
SCHEMES = ("http", "https")
MOST_PER_JOB = 20
MAX_REPLICAS = 1000

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class UrlKind(StrEnum):
    """On which listener an address works: never on the other one."""

    PUBLIC = "public"
    PRIVATE = "private"


class Restriction(StrEnum):
    NONE = "none"
    DOMAIN = "domain"
    CIDR = "cidr"


@dataclass(frozen=True, slots=True)
class Rules:
    """`allowed`: domains or networks, as the restriction says."""

    methods: tuple[str, ...] = ("POST",)
    schemes: tuple[str, ...] = SCHEMES
    restriction: Restriction = Restriction.NONE
    allowed: tuple[str, ...] = ()

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> Rules:
        kept = json.loads(text)
        return cls(
            tuple(kept["methods"]),
            tuple(kept["schemes"]),
            Restriction(kept["restriction"]),
            tuple(kept["allowed"]),
        )


@dataclass(frozen=True, slots=True)
class TriggerUrl:
    id: int
    job_id: int
    kind: UrlKind
    rules: Rules
    author: str
    created_ms: int
    rotated_ms: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a call comes from. `address` is None where a trusted proxy named none that is one."""

    scheme: str
    address: Address | None
    origin: str


def why_not(rules: Rules, caller: Caller) -> str | None:
    """Why this caller may not use an address with these rules, or None. The method is another matter."""
    if caller.scheme not in rules.schemes:
        return f"the scheme {caller.scheme} is not allowed here, only {', '.join(rules.schemes)}"
    if rules.restriction is Restriction.CIDR:
        networks = [ipaddress.ip_network(one) for one in rules.allowed]
        if caller.address is None or not any(caller.address in one for one in networks):
            return f"calls from {caller.address or 'an unknown address'} are not allowed here"
    if rules.restriction is Restriction.DOMAIN and not _is_of(caller.origin, rules.allowed):
        return f"calls from pages of {caller.origin or 'no domain'} are not allowed here"
    return None


def _is_of(host: str, domains: tuple[str, ...]) -> bool:
    """`*.example.com` is every name below example.com, without example.com itself."""
    return any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in domains if host)


@dataclass(frozen=True, slots=True)
class Said:
    """What a call says of itself: each header as all of its lines, joined by commas."""

    forwarded_for: str = ""
    forwarded_proto: str = ""
    origin: str = ""


def caller_of(scheme: str, peer: str | None, said: Said, trusted: tuple[Network, ...]) -> Caller:
    """Who calls: what a proxy says counts only if the connection comes from a trusted one.

    Of several addresses the last that is no trusted proxy is the caller; whatever stands before it may be made up.
    """
    address = _address(peer or "")
    if _is_trusted(address, trusted):
        # The proxy that we trust has written the last word of each header.
        scheme = said.forwarded_proto.rpartition(",")[2].strip().lower() or scheme
        hops = [one.strip() for one in said.forwarded_for.split(",")]
        address = _address(hops.pop())
        while hops and _is_trusted(address, trusted):
            address = _address(hops.pop())
    return Caller(scheme, address, _host(said.origin))


def _is_trusted(address: Address | None, trusted: tuple[Network, ...]) -> bool:
    return address is not None and any(address in one for one in trusted)


def _address(text: str) -> Address | None:
    """With or without a port; an IPv4 address within IPv6 as what it is."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


class TriggerUrls(Protocol):
    """What is kept of them: the part that cannot be guessed only as its hash."""

    async def create(self, job_id: int, kind: UrlKind, rules: Rules) -> tuple[TriggerUrl, str]:
        """The address and its secret part, shown this once. Raises `NotFound`, `Conflict` for too many."""
        ...

    async def of_job(self, job_id: int) -> list[TriggerUrl]: ...

    async def change(self, job_id: int, url_id: int, rules: Rules) -> TriggerUrl:
        """Raises `NotFound`."""
        ...

    async def rotate(self, job_id: int, url_id: int) -> tuple[TriggerUrl, str]:
        """A new secret part; the old one works no more. Raises `NotFound`."""
        ...

    async def delete(self, job_id: int, url_id: int) -> None:
        """Raises `NotFound`."""
        ...

    async def find(self, secret: str) -> TriggerUrl | None: ...
