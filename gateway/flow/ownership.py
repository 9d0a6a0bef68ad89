"""Ownership: which parts of the jobs this node schedules, and when that begins and ends.

In: looks at the rows of all nodes and parts. Out: parts taken up and let go of by the other stages, leases of dead
nodes ended. The database is the authority; what a node's own clock tells only bounds how long it trusts others.
A part changes hands in one of two ways: its owner gives it away, after it has stopped all work on it; or its
owner's beat has stood still for a whole lease, and somebody ends that lease first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from gateway.core.cluster import Division, Identity, Member, Roster, Watch, divide, farewell
from gateway.core.context import Context
from gateway.core.errors import GatewayError, LeaseLost, StoreError
from gateway.core.events import Level, Source
from gateway.core.model import PARTS
from gateway.core.ports import NodeStore
from gateway.core.work import Work

log = structlog.get_logger(__name__)

START_STEPS = 4
CONFIRM_CLOCK = 6  # looks
RETRY_S = 1.0


class Estate(Protocol):
    """What the stages do when parts come and go; see `loops`."""

    async def take_up(self, parts: Collection[int], *, after_crash: bool) -> None:
        """Begin to schedule these parts: all that is open in them is this node's now."""
        ...

    async def let_go(self, parts: Collection[int], *, leaving: bool = False) -> None:
        """Stop all work on these parts; returns when nothing of it is on its way any more.

        `leaving`: this node will own nothing any more, but still takes the results of what it has sent.
        """
        ...

    def forget(self, parts: Collection[int]) -> None:
        """Stop at once: these parts are another node's already."""
        ...

    async def follow(self, roster: Roster) -> None:
        """Look at what the others have changed."""
        ...

    def nudge(self, member: Member) -> None:
        """Have that node look at the database now."""
        ...

    async def is_gone(self, member: Member) -> bool:
        """Whether nobody listens any more where that node listened."""
        ...


class Ownership:
    """Looks twice a second. `wall_offset` is how far this machine's clock is from scheduling time, in ms."""

    def __init__(
        self,
        context: Context,
        nodes: NodeStore,
        estate: Estate,
        identity: Identity,
        on_fatal: Callable[[Exception], None],
        wall_offset: Callable[[], int] | None = None,
    ) -> None:
        self._context = context
        self._nodes = nodes
        self._estate = estate
        self._identity = identity
        self._on_fatal = on_fatal
        self._wall_offset = wall_offset
        self._look_s = context.tuning.renew_every_ms / 1000
        self._watch = Watch(3 * self._look_s)
        self._moving: asyncio.Task[None] | None = None
        self._clock_off = 0
        self._clock_right = 0
        self._fit = identity.fit
        self._last_owner: dict[int, str] = {}
        self._leaving = False
        self._looking = asyncio.Lock()
        self._orphan_since: dict[int, float] = {}
        self.renewing = True
        self.wake = asyncio.Event()
        self.roster = Roster({}, {})
        self.alive: frozenset[str] = frozenset()
        self.problem: str | None = None

    # ------------------------------------------------------------ who is there

    @property
    def me(self) -> str:
        return self._context.lease.node

    def others(self) -> list[Member]:
        """The other nodes that are alive, as of the last look."""
        return [member for name, member in self.roster.members.items() if name in self.alive - {self.me}]

    def owner(self, part: int) -> Member | None:
        """The other node that holds this part and is alive, as of the last look."""
        owner = self.roster.owner(part)
        return owner if owner is not None and owner.name in self.alive - {self.me} else None

    async def others_now(self) -> list[Member]:
        """As `others`, and whoever has joined until this moment. Raises `StoreError` when that cannot be told."""
        if self._identity.alone:
            return []
        roster = await self._nodes.look(())
        known = self.roster.members
        return [
            member
            for name, member in roster.members.items()
            if name != self.me and member.live and (name in self.alive or member != known.get(name))
        ]

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Take what is this node's to take at once: its own, and what belongs to nobody."""
        for _ in range(START_STEPS):
            try:
                await self._step()
            except LeaseLost:  # the last life of this node was about to be fenced
                await self._rejoin()
                continue
            if self._moving is None:
                return
            await self._moving

    async def run(self) -> None:
        """A loop."""
        clock = self._context.clock
        while not self._leaving:
            self.wake.clear()
            async with self._looking:
                await self._step_or_rejoin()
            await clock.wait(self.wake, self._pause_s())

    async def _step_or_rejoin(self) -> None:
        if self._leaving:
            return
        try:
            await self._step()
        except LeaseLost:
            log.warning("lease_lost", node=self.me)
            self._tell(Level.ERROR, self.me, "lease_lost", "another node has taken its parts; it joins again")
            await self._rejoin()
        except StoreError as error:
            log.warning("not_looked", error=str(error)[:200])

    async def renew(self) -> None:
        """Raise the beat, unless a claim has just done it, until this node stops. A loop. Raises `LeaseLost`."""
        clock, writer = self._context.clock, self._context.writer
        while self.renewing:
            self._context.signals.reached("renewing", (0,))
            if clock.monotonic() - writer.renewed_at > self._look_s / 2:
                await writer.write(Work(lease=self._context.lease))
            await clock.sleep(self._look_s)

    async def leave(self) -> None:
        """Give everything to the others; nothing is sent any more."""
        self._leaving = True
        async with self._looking:
            await self._leave()

    async def _leave(self) -> None:
        await self._stop_moving()
        parts = self._context.held.parts
        await self._estate.let_go(parts, leaving=True)
        with contextlib.suppress(StoreError):
            self.roster = await self._nodes.look(())
        members = self.roster.members
        gifts = farewell(self.roster, self.alive, self.me)
        heirs = {members[name].holder: numbers for name, numbers in gifts.items()}
        await self._nodes.leave(self._context.lease, heirs)
        self._nudge(gifts)
        log.info("parts_left", parts=len(parts), heirs=sorted(gifts))
        self._tell(
            Level.INFO,
            self.me,
            "left",
            f"its {len(parts)} parts went to {', '.join(sorted(gifts)) or 'nobody'}",
        )

    def _pause_s(self) -> float:
        """Look more often while somebody's beat stands still: the end of a lease should not be slept through."""
        silent = any(self._watch.silent_s(member.name) > self._look_s for member in self.others())
        return self._look_s / 4 if silent else self._look_s

    # ------------------------------------------------------------ one look

    async def _step(self) -> None:
        context = self._context
        # What was read while parts were moved may be older than what became of them.
        is_settled = self._moving is None or self._moving.done()
        roster = await self._look()
        mine = roster.members.get(self.me)
        if mine is None or mine.epoch != context.lease.epoch:
            raise LeaseLost
        await self._fence_the_dead()
        context.registry.is_shared = len(self.alive) > 1
        await self._check_clock()
        owned = {part for part, holder in roster.holders.items() if holder == mine.holder}
        if is_settled:
            self._moving = None
            if strange := context.held.parts - owned:
                log.warning("parts_gone", parts=len(strange))
                self._estate.forget(strange)
            if new := owned - context.held.parts:
                self._move(self._take_up(new))
            else:
                await self._divide()
        await self._estate.follow(roster)

    async def _look(self) -> Roster:
        clock = self._context.clock
        begun = clock.monotonic()
        roster = await self._nodes.look(self._context.held.parts)
        took_s = clock.monotonic() - begun
        others = [member for member in roster.members.values() if member.name != self.me]
        self._watch.look(others, begun, took_s=took_s)
        lease_s = self._context.tuning.lease_ms / 1000
        silent = {member.name for member in others if self._watch.silent_s(member.name) >= lease_s}
        before = self.alive
        self.alive = frozenset(
            member.name for member in roster.members.values() if member.live and member.name not in silent
        ) | {self.me}
        self.roster = roster
        for part, (name, _) in roster.holders.items():
            if name and name != self.me:
                self._last_owner[part] = name
        orphans = [part for part in range(PARTS) if roster.owner(part) is None]
        self._orphan_since = {part: self._orphan_since.get(part, begun) for part in orphans}
        if came := self.alive - before - {self.me}:
            log.info("nodes_alive", nodes=sorted(came))
        return roster

    async def _fence_the_dead(self) -> None:
        """End the leases of those whose beat has stood still for a whole lease.

        Where nobody listens any more the process is gone for sure; then it is enough to wait until nothing that it
        had claimed could still be sent.
        """
        tuning = self._context.tuning
        lease_s, send_s = tuning.lease_ms / 1000, (tuning.lease_ms - tuning.lease_margin_ms) / 1000
        for member in list(self.roster.members.values()):
            if member.name == self.me or not member.live:
                continue
            silent_s = self._watch.silent_s(member.name)
            if silent_s < send_s or (silent_s < lease_s and not await self._estate.is_gone(member)):
                continue
            if await self._nodes.fence(member.name, member.epoch, member.beat):
                parts = len(self.roster.parts_of(member))
                log.warning("node_dead", node=member.name, silent_s=round(silent_s, 2), parts=parts)
                self._context.counters.add("nodes_fenced")
                self._tell(
                    Level.ERROR, member.name, "dead", f"silent for {silent_s:.1f} s; it owned {parts} parts"
                )
                dead = replace(member, live=False, epoch=member.epoch + 1)
                members = {**self.roster.members, member.name: dead}
                self.roster = replace(self.roster, members=members)
                self.alive -= {member.name}

    def _tell(self, level: Level, name: str, reason: str, text: str) -> None:
        self._context.journal.note(self._context.clock.now_ms(), level, Source.NODE, name, reason, text)

    # ------------------------------------------------------------ parts

    async def _divide(self) -> None:
        long_ago = self._context.clock.monotonic() - self._context.tuning.lease_ms / 1000
        overdue = {part for part, since in self._orphan_since.items() if since < long_ago}
        division: Division = divide(self.roster, self.alive, self.me, overdue)
        if division.take:
            await self._nodes.take(self._context.lease, division.take)
            self._context.signals.reached("parts_taken", division.take)
            self._move(self._take_up(await self._mine_now()))
        elif division.give:
            self._move(self._give(division.give))

    async def _mine_now(self) -> set[int]:
        """The parts of this node that it does not hold yet."""
        roster = await self._nodes.look(())
        holder = (self.me, self._context.lease.epoch)
        return {part for part, one in roster.holders.items() if one == holder} - self._context.held.parts

    def _move(self, work: Coroutine[object, object, None]) -> None:
        self._moving = asyncio.get_running_loop().create_task(self._moved(work), name="parts")

    async def _moved(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except LeaseLost:
            pass  # the next look finds it
        except Exception as error:
            log.exception("parts_not_moved", error=str(error)[:200])
            await self._context.clock.sleep(RETRY_S)
        self.wake.set()

    async def _take_up(self, parts: Collection[int]) -> None:
        if not parts:
            return
        given = {part for part in parts if self._was_given(part)}
        for some, after_crash in ((given, False), (set(parts) - given, True)):
            if some:
                await self._estate.take_up(some, after_crash=after_crash)
                self._last_owner.update(dict.fromkeys(some, self.me))
                log.info("parts_taken_up", parts=len(some), after_crash=after_crash)
                how = "which no running node owned" if after_crash else "from a node that gave them"
                self._tell(Level.INFO, self.me, "parts_taken", f"{len(some)} parts, {how}")

    def _was_given(self, part: int) -> bool:
        """Whether its last owner handed it over itself: what it sent may still be answered there."""
        return self._last_owner.get(part, self.me) in self.alive - {self.me}

    async def _give(self, gifts: Mapping[str, Collection[int]]) -> None:
        parts = [part for some in gifts.values() for part in some]
        await self._estate.let_go(parts)
        self._context.signals.reached("parts_let_go", parts)
        heirs = {self.roster.members[name].holder: some for name, some in gifts.items()}
        await self._nodes.give(self._context.lease, heirs)
        self._nudge(gifts)
        self._context.signals.reached("parts_given", parts)
        log.info("parts_given", **{name: len(some) for name, some in gifts.items()})

    def _nudge(self, names: Iterable[str]) -> None:
        for name in names:
            self._estate.nudge(self.roster.members[name])

    # ------------------------------------------------------------ a lease that was lost

    async def _rejoin(self) -> None:
        """Another node has ended this one's lease: forget everything and begin again under a new one."""
        await self._stop_moving()
        self._context.counters.add("leases_lost")
        self._estate.forget(self._context.held.parts)
        while not self._leaving:
            try:
                grant = await self._nodes.join(replace(self._identity, fit=self._fit), again=True)
            except StoreError as error:
                log.warning("not_joined", error=str(error)[:200])
                await self._context.clock.sleep(self._look_s)
            except GatewayError as error:
                self._on_fatal(error)
                return
            else:
                self._context.lease = grant.lease
                self.wake.set()
                return

    async def _stop_moving(self) -> None:
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)
            self._moving = None

    # ------------------------------------------------------------ the clock of this machine

    async def _check_clock(self) -> None:
        """A node whose clock is wrong owns nothing, as long as there is one whose clock is right."""
        if self._wall_offset is None:
            return
        offset_ms, limit_ms = self._wall_offset(), self._context.tuning.clock_limit_ms
        if abs(offset_ms) <= limit_ms:
            self._clock_off, self._clock_right = 0, self._clock_right + 1
            self.problem = None
            if not self._fit and self._clock_right >= CONFIRM_CLOCK:
                await self._set_fit(offset_ms, fit=True)
            return
        self._clock_off, self._clock_right = self._clock_off + 1, 0
        how = f"{abs(offset_ms) / 1000:.1f} s {'ahead of' if offset_ms > 0 else 'behind'} the database's"
        if self._clock_off == 1:
            log.warning("clock_wrong", offset_ms=offset_ms)
        others = any(member.fit for member in self.others())
        if self._fit and others and self._clock_off >= CONFIRM_CLOCK:
            await self._set_fit(offset_ms, fit=False)
        limit = f"{limit_ms / 1000:g} s are allowed"
        self.problem = (
            f"this machine's clock is {how} ({limit}): this node schedules nothing until it is right"
            if not self._context.held
            else f"this machine's clock is {how} ({limit})"
        )

    async def _set_fit(self, offset_ms: int, *, fit: bool) -> None:
        await self._nodes.note_clock(self._context.lease, offset_ms, fit=fit)
        self._fit = fit
        log.warning("clock_judged", fit=fit, offset_ms=offset_ms)
