"""Neighbours: what this node tells the others, so that they need not wait until they look.

In: rows for parts of other nodes, runs of theirs that ended here, jobs that were changed here. Out: request rows in
the database, which are what counts, and calls, which save time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from gateway.core.cluster import Member
from gateway.core.context import Context
from gateway.core.errors import StoreError, Unreachable
from gateway.core.model import Beat, ExecutorResult, NewRun
from gateway.core.ports import NodeStore, Peers, StopReport
from gateway.core.work import Work
from gateway.flow.ownership import Ownership

log = structlog.get_logger(__name__)

PASSING_S = 0.3  # after that the spool takes them, for whoever gave them waits for less than a second


class Neighbours:
    """Without `peers` (an embedded database) there are none."""

    def __init__(
        self,
        context: Context,
        nodes: NodeStore,
        peers: Peers | None,
        ownership: Callable[[], Ownership],
        spawn: Callable[[Awaitable[object]], None],
    ) -> None:
        self._context = context
        self._nodes = nodes
        self._peers = peers
        self._ownership = ownership
        self._spawn = spawn
        self._helper = ""

    async def stop(self, owner: Member, run_id: int) -> StopReport:
        """Raises `Unreachable`, and what stopping a run raises."""
        if self._peers is None:
            raise Unreachable(owner.name, "this node has no calls to others")
        return await self._peers.stop(owner, run_id)

    def nudge(self, member: Member) -> None:
        if self._peers is not None:
            self._peers.nudge(member)

    async def is_gone(self, member: Member) -> bool:
        return self._peers is not None and await self._peers.is_gone(member)

    def leave_to_owner(self, runs: Sequence[NewRun]) -> None:
        if runs:
            self._spawn(self._request(runs))

    async def _request(self, runs: Sequence[NewRun]) -> None:
        await self._context.writer.write(Work(requests=[(run.id, run.part) for run in runs]))
        for part in {run.part for run in runs}:
            self.nudge_owner(part)

    def pass_beat(self, beat: Beat) -> None:
        """Executors beat to one node: while it cannot write that down, the others must not think them dead."""
        if self._peers is not None:
            for member in self._ownership().others():
                self._peers.pass_beat(member, beat)

    @property
    def are_there(self) -> bool:
        return self._peers is not None and bool(self._ownership().others())

    async def pass_results(self, results: Sequence[ExecutorResult], client: str) -> bool:
        """True once another node has made them durable. The one that took the last is asked first.

        False where none has in time; who was not asked by then is the first to be asked for the next ones.
        """
        if self._peers is None:
            return False
        clock = self._context.clock
        begun = clock.monotonic()
        others = sorted(self._ownership().others(), key=lambda one: (one.name < self._helper, one.name))
        for member in others:
            if clock.monotonic() - begun >= PASSING_S:
                self._helper = member.name
                return False
            with contextlib.suppress(Unreachable):
                if await self._peers.pass_results(member, results, client):
                    self._helper = member.name
                    return True
        return False

    def nudge_all(self) -> None:
        for member in self._ownership().others():
            self.nudge(member)

    def nudge_owner(self, part: int) -> None:
        """Have the node that holds this part look soon at what was left for it."""
        owner = self._ownership().owner(part)
        if owner is not None:
            self.nudge(owner)
        elif part in self._context.held:
            self._ownership().wake.set()

    def ended_for_others(self, runs: Sequence[NewRun]) -> None:
        """Tell the owners which of their runs have ended here, and that a next attempt may wait for them."""
        if self._peers is None:
            return
        ids: dict[str, list[int]] = {}
        owners: dict[str, Member] = {}
        for run in runs:
            owner = self._ownership().owner(run.part)
            if owner is not None:
                owners[owner.name] = owner
                ids.setdefault(owner.name, []).append(run.id)
        for name, owner in owners.items():
            self._peers.tell_ended(owner, ids[name])

    def ended_elsewhere(self, run_ids: Iterable[int]) -> None:
        """Results of these runs were taken by another node."""
        flights = self._context.flights
        for run_id in run_ids:
            self._context.gate.free(run_id)
            flight = flights.get(run_id)
            if flight is None:
                continue
            if flight.answer_written:
                flights.pop(run_id)
            else:
                flight.ended_elsewhere = True
        self._ownership().wake.set()

    async def tell_change(self, job_ids: Collection[int]) -> None:
        """Returns when no other node can send what it had claimed under the old version.

        That is when it says so, or else when its claims have run out; it then learns of the change by the database.
        """
        peers = self._peers
        if peers is not None:
            await self._tell("job", lambda member: peers.jobs_changed(member, job_ids))

    async def tell_app(self, app_id: int) -> None:
        """As `tell_change`, of the limits of an app."""
        peers = self._peers
        if peers is not None:
            await self._tell("app", lambda member: peers.app_changed(member, app_id))

    async def tell_pauses(self) -> None:
        """As `tell_change`, of what is paused."""
        if self._peers is not None:
            await self._tell("pause", self._peers.pauses_changed)

    async def _tell(self, kind: str, call: Callable[[Member], Awaitable[None]]) -> None:
        clock, tuning = self._context.clock, self._context.tuning
        begun = clock.monotonic()
        ownership, is_sure = self._ownership(), True
        try:
            others = await ownership.others_now()
        except StoreError:
            others, is_sure = ownership.others(), False  # somebody may have joined since
        told = await asyncio.gather(*(call(member) for member in others), return_exceptions=True)
        failed = {
            one.name: str(answer)
            for one, answer in zip(others, told, strict=True)
            if isinstance(answer, BaseException)
        }
        if is_sure and not failed:
            return
        log.warning("change_not_told", nodes=failed, kind=kind)
        await self._nodes.touch(kind)
        claims_end = begun + (tuning.lease_ms - tuning.lease_margin_ms) / 1000
        await clock.sleep(max(claims_end - clock.monotonic(), 0))
