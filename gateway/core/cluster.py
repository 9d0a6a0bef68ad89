"""Who schedules what: pure decisions about nodes and the parts of the jobs they own.

A node is alive as long as its beat moves. Every node computes the same division of the parts from the same look
at the database, so that two of them seldom want the same part; where their looks differ, a guarded update decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.model import PARTS
from gateway.core.work import Lease

FREE = ("", 0)
Holder = tuple[str, int]
"""A node's name and the epoch under which it holds something."""
Farewell = Mapping[Holder, Collection[int]]
"""Parts by the node that gets them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who wants to join. `instance` is the data directory behind the name, `agreed` the settings all must share.

    `alone`: nobody else can have this database open. `fit`: whether its clock allows it to own parts.
    """

    name: str
    instance: str
    address: str = ""
    version: str = ""
    agreed: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    fit: bool = True


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease, when any node of this database last wrote its beat (0: never), and the nodes' common secret."""

    lease: Lease
    seen_ms: int
    secret: str


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as people see it. `state` is live, draining, dead or stopped."""

    name: str
    state: str
    parts: int
    address: str
    version: str
    epoch: int
    clock_offset_ms: int
    fit: bool
    started_ms: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Member:
    """A node as its row shows it. `live` is False after a stop in order, or once somebody has fenced it.

    `fit` is False while its clock is too far from the database's. `address` is where the other nodes reach it;
    empty for a version that had no control listener.
    """

    name: str
    epoch: int
    beat: int
    live: bool = True
    draining: bool = False
    fit: bool = True
    address: str = ""

    @property
    def holder(self) -> Holder:
        return self.name, self.epoch


@dataclass(frozen=True, slots=True)
class Roster:
    """One look at the database: all nodes by name, the holder of each part, what has changed, what waits.

    `revisions` count the changes of apps, executors and jobs. `requests` are (run id, part) of rows that another
    node has left for the owner of that part.
    """

    members: Mapping[str, Member]
    holders: Mapping[int, Holder]
    revisions: Mapping[str, int] = field(default_factory=dict)
    requests: Sequence[tuple[int, int]] = ()

    def owner(self, part: int) -> Member | None:
        """The node that rightly holds this part, None while nobody does."""
        name, epoch = self.holders.get(part, FREE)
        member = self.members.get(name)
        return member if member is not None and member.live and member.epoch == epoch else None

    def parts_of(self, member: Member) -> list[int]:
        return sorted(part for part, holder in self.holders.items() if holder == member.holder)


class Watch:
    """How long each beat has stood still, as this node has seen it with its own clock.

    Only stretches between two looks that both went well and lie close together count: a node that stood still
    itself, or that the database kept waiting, accuses nobody.
    """

    def __init__(self, longest_gap_s: float) -> None:
        self._longest_gap_s = longest_gap_s
        self._seen: dict[str, tuple[int, int]] = {}
        self._silent_s: dict[str, float] = {}
        self._looked_at: float | None = None

    def look(self, members: Iterable[Member], now: float, *, took_s: float = 0.0) -> None:
        """`now` is when the look began, `took_s` how long the database needed for it."""
        gap_s = 0.0 if self._looked_at is None else now - self._looked_at
        if max(gap_s, took_s) > self._longest_gap_s:
            gap_s = 0.0
        # What this look found may be as young as its end, so only time after that is silence.
        self._looked_at = now + took_s
        present: dict[str, tuple[int, int]] = {}
        silent_s: dict[str, float] = {}
        for member in members:
            beat = (member.epoch, member.beat)
            present[member.name] = beat
            same = self._seen.get(member.name) == beat
            silent_s[member.name] = self._silent_s[member.name] + gap_s if same else 0.0
        self._seen, self._silent_s = present, silent_s

    def silent_s(self, name: str) -> float:
        return self._silent_s.get(name, 0.0)


@dataclass(frozen=True, slots=True)
class Division:
    """What this node should do now: parts to take (each with the holder it is taken from), parts to give away."""

    take: Mapping[int, Holder] = field(default_factory=dict)
    give: Mapping[str, Sequence[int]] = field(default_factory=dict)


def quotas(names: Iterable[str]) -> dict[str, int]:
    """How many parts each of these nodes should own: equal shares, the rest to the first by name."""
    ordered = sorted(names)
    if not ordered:
        return {}
    share, rest = divmod(PARTS, len(ordered))
    return {name: share + (index < rest) for index, name in enumerate(ordered)}


def candidates(roster: Roster, alive: Collection[str]) -> list[str]:
    """The nodes that should own parts: those that drain only when there is nobody else.

    Where no clock is right, those that own parts go on; and of several, all: then it is the database's that is wrong.
    """
    present = [member for name, member in roster.members.items() if name in alive]
    fit = [member for member in present if member.fit]
    if not fit:
        fit = present if len(present) > 1 else [member for member in present if roster.parts_of(member)]
    return sorted(member.name for member in fit if not member.draining) or sorted(
        member.name for member in fit
    )


def divide(
    roster: Roster, alive: Collection[str], me: str, overdue: Collection[int] = frozenset()
) -> Division:
    """The next step towards equal shares, as far as it is this node's to do.

    Parts of nobody go to those that lack some; who has too many gives to those that still lack some. A node that
    should own none gives all, unless nobody could take them. `overdue` parts have been nobody's for so long that
    anyone should take them, whoever they are meant for.
    """
    wanted = quotas(candidates(roster, alive))
    owned: dict[str, list[int]] = {name: [] for name in roster.members}
    orphans: list[int] = []
    for part in range(PARTS):
        owner = roster.owner(part)
        if owner is None:
            orphans.append(part)
        else:
            owned[owner.name].append(part)
    lacking = [name for name in wanted for _ in range(wanted[name] - len(owned[name]))]
    take: dict[int, Holder] = {}
    for part, name in zip(orphans, lacking, strict=False):
        if name == me:
            take[part] = roster.holders.get(part, FREE)
    if me in wanted:
        take.update({part: roster.holders.get(part, FREE) for part in orphans if part in overdue})
    lacking = lacking[len(orphans) :]
    give: dict[str, list[int]] = {}
    if wanted:
        spare = [
            (name, part)
            for name in sorted(owned)
            if name in alive
            for part in reversed(owned[name][wanted.get(name, 0) :])
        ]
        for (name, part), to in zip(spare, lacking, strict=False):
            if name == me:
                give.setdefault(to, []).append(part)
    return Division(take, {name: sorted(parts) for name, parts in give.items()})


def farewell(roster: Roster, alive: Collection[str], me: str) -> dict[str, list[int]]:
    """To whom a node that stops gives its parts: spread over the others, the emptiest first."""
    heirs = [name for name in candidates(roster, set(alive) - {me}) if name != me]
    member = roster.members.get(me)
    if not heirs or member is None:
        return {}
    load = {name: len(roster.parts_of(roster.members[name])) for name in heirs}
    gifts: dict[str, list[int]] = {}
    for part in roster.parts_of(member):
        heir = min(heirs, key=lambda name: (load[name], name))
        load[heir] += 1
        gifts.setdefault(heir, []).append(part)
    return gifts


class Holding(Collection[int]):
    """The parts this node schedules now. Stages ask it before they plan, claim or keep a run."""

    def __init__(self, parts: Iterable[int] = ()) -> None:
        self._parts = frozenset(parts)

    def __contains__(self, part: object) -> bool:
        return part in self._parts

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[int]:
        return iter(self._parts)

    @property
    def parts(self) -> frozenset[int]:
        return self._parts

    @property
    def is_all(self) -> bool:
        return len(self._parts) == PARTS

    def add(self, parts: Iterable[int]) -> None:
        self._parts |= frozenset(parts)

    def remove(self, parts: Iterable[int]) -> None:
        self._parts -= frozenset(parts)

    def clear(self) -> None:
        self._parts = frozenset()
