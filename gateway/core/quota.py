"""Limits of submissions: so many a second on average, and so many at once. Pure arithmetic on one instant a limit.

That instant is when the whole burst may be used again; each submission moves it on by the time that one takes at the
limit's rate. Several nodes share it through the store, and draw from it in blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

BLOCK_S = 0.1
KEPT_S = 1.0  # what a node has drawn and not used by then is not used any more


@dataclass(frozen=True, slots=True)
class Rate:
    per_second: float
    burst: int

    @property
    def step_us(self) -> int:
        """The time that one submission takes."""
        return math.ceil(1_000_000 / self.per_second)

    @property
    def block(self) -> int:
        """How many a node draws at once, so that many submissions need few transactions."""
        return max(1, min(self.burst, int(self.per_second * BLOCK_S)))


def default_burst(per_second: float) -> int:
    return max(1, math.ceil(per_second))


@dataclass(frozen=True, slots=True)
class Draw:
    """What was granted of a limit, and its instant from now on; or how long to wait for what was wanted."""

    granted: int
    full_at_us: int
    wait_us: int = 0


def draw(full_at_us: int, now_us: int, rate: Rate, wanted: int) -> Draw:
    """At least `wanted`, up to a block, or nothing."""
    step_us = rate.step_us
    base_us = max(full_at_us, now_us)
    end_us = now_us + rate.burst * step_us
    room = (end_us - base_us) // step_us
    if room < wanted:
        return Draw(0, full_at_us, max(base_us + wanted * step_us - end_us, 1))
    granted = min(room, max(wanted, rate.block))
    return Draw(granted, base_us + granted * step_us)


@dataclass(slots=True)
class Stock:
    """What this node has drawn of one limit and not used yet. Instants are monotonic."""

    rate: Rate
    left: int = 0
    until: float = 0.0
    empty_until: float = 0.0

    def use(self, count: int, now: float) -> bool:
        if now >= self.until:
            self.left = 0
        if self.left < count:
            return False
        self.left -= count
        return True

    def fill(self, granted: int, now: float) -> None:
        self.left += granted
        self.until = now + KEPT_S


@dataclass(frozen=True, slots=True)
class Limited:
    """One limit: its name in the store, the words for it, its rate."""

    name: str
    whose: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Limits:
    """All that are set: of tokens by their names, of namespaces by their ids."""

    tokens: dict[str, Limited] = field(default_factory=dict)
    namespaces: dict[int, Limited] = field(default_factory=dict)

    def of(self, namespace_id: int, token: str) -> list[Limited]:
        found = (self.tokens.get(token), self.namespaces.get(namespace_id))
        return [one for one in found if one is not None]


class QuotaStore(Protocol):
    async def limits(self) -> Limits:
        """As they were at most a second ago."""
        ...

    async def draw(self, name: str, rate: Rate, wanted: int) -> Draw:
        """As `draw`, on the instant that all nodes share."""
        ...


class LimitCatalog(Protocol):
    """Limits for people, who set them at run time."""

    async def of_token(self, token_id: int) -> Rate | None:
        """Raises `NotFound`."""
        ...

    async def of_namespace(self, name: str) -> Rate | None:
        """Raises `NotFound`."""
        ...

    async def limit_token(self, token_id: int, rate: Rate | None) -> None:
        """Raises `NotFound`."""
        ...

    async def limit_namespace(self, name: str, rate: Rate | None) -> None:
        """Raises `NotFound`."""
        ...


class Quotas(Protocol):
    async def take(self, namespace_id: int, token: str = "", count: int = 1) -> None:
        """Take so many submissions of a caller's limits. Raises `TooMany`; nothing is taken then."""
        ...
