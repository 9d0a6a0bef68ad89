"""The control listeners of all nodes in memory, with a network between them that can be cut."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gateway.core.cluster import Member
from gateway.core.errors import Conflict, Unreachable
from gateway.core.model import Beat, ExecutorResult
from gateway.core.ports import StopReport
from tests.kit.manual_clock import ManualClock
from tests.kit.virtual_loop import Process

T = TypeVar("T")

TIMEOUT_S = 1.0
STOP_TIMEOUT_S = 10.0
GONE_TIMEOUT_S = 0.2
PASS_TIMEOUT_S = 0.3


class Desk(Protocol):
    """A node as the others reach it."""

    process: Process
    listening: bool
    cut: bool

    def look(self) -> None: ...

    def ended_elsewhere(self, run_ids: list[int]) -> None: ...

    async def jobs_changed(self, job_ids: list[int]) -> None: ...

    async def app_changed(self, app_id: int) -> None: ...

    async def pauses_changed(self) -> None: ...

    async def stop_run(self, run_id: int) -> StopReport: ...

    def hear(self, beat: Beat) -> None: ...

    async def report_passed_on(self, results: Sequence[ExecutorResult], client: str) -> bool: ...


class FakePeers:
    """Implements `core.ports.Peers`. `desks` are all nodes that ever listened, by address; `delay_s` is one way.

    What has reached a node that stands still is done when it goes on, though nobody waits for it any more.
    """

    def __init__(
        self, clock: ManualClock, mine: Desk, desks: Mapping[str, Desk], delay_s: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._mine = mine
        self._desks = desks
        self._delay_s = delay_s

    def nudge(self, member: Member) -> None:
        self._tell(member, lambda desk: desk.look())

    def tell_ended(self, member: Member, run_ids: Sequence[int]) -> None:
        ids = list(run_ids)
        self._tell(member, lambda desk: desk.ended_elsewhere(ids))

    def _tell(self, member: Member, say: Callable[[Desk], None]) -> None:
        def arrive() -> None:
            desk = self._reached(member)
            if desk is not None:
                desk.process.call_soon(say, desk)

        self._clock.call_later(self._delay_s(), arrive)

    def pass_beat(self, member: Member, beat: Beat) -> None:
        self._tell(member, lambda desk: desk.hear(beat))

    async def pass_results(self, member: Member, results: Sequence[ExecutorResult], client: str) -> bool:
        return await self._call(member, lambda desk: desk.report_passed_on(results, client), PASS_TIMEOUT_S)

    async def is_gone(self, member: Member) -> bool:
        """Refused at once by a machine where nobody listens; a network that is cut says nothing."""
        desk = self._desks.get(member.address)
        if desk is None or self._is_cut(desk):
            await self._clock.sleep(GONE_TIMEOUT_S)
            return False
        await self._clock.sleep(self._delay_s())
        return not desk.listening

    async def jobs_changed(self, member: Member, job_ids: Collection[int]) -> None:
        ids = sorted(job_ids)
        await self._call(member, lambda desk: desk.jobs_changed(ids), TIMEOUT_S)

    async def app_changed(self, member: Member, app_id: int) -> None:
        await self._call(member, lambda desk: desk.app_changed(app_id), TIMEOUT_S)

    async def pauses_changed(self, member: Member) -> None:
        await self._call(member, lambda desk: desk.pauses_changed(), TIMEOUT_S)

    async def stop(self, member: Member, run_id: int) -> StopReport:
        return await self._call(member, lambda desk: desk.stop_run(run_id), STOP_TIMEOUT_S)

    async def _call(
        self, member: Member, ask: Callable[[Desk], Coroutine[Any, Any, T]], timeout_s: float
    ) -> T:
        await self._clock.sleep(self._delay_s())
        desk = self._desks.get(member.address)
        if desk is not None and not desk.listening and not self._is_cut(desk):
            raise Unreachable(member.name, "connection refused")
        answer: asyncio.Task[T] | None = None
        if desk is not None and self._reached(member) is desk:
            answer = desk.process.spawn(ask(desk), name="asked by a peer")
            answer.add_done_callback(_seen, context=contextvars.Context())
            await asyncio.wait({answer}, timeout=timeout_s)
        else:
            await self._clock.sleep(timeout_s)
        await self._clock.sleep(self._delay_s())
        if answer is None or not answer.done() or answer.cancelled() or desk is None or self._is_cut(desk):
            raise Unreachable(member.name, "no answer in time")
        error = answer.exception()
        if error is not None and not isinstance(error, Conflict):
            raise Unreachable(member.name, f"it answered: {error!r}")
        return answer.result()

    def _reached(self, member: Member) -> Desk | None:
        desk = self._desks.get(member.address)
        return desk if desk is not None and desk.listening and not self._is_cut(desk) else None

    def _is_cut(self, desk: Desk) -> bool:
        return desk.cut or self._mine.cut


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody may be left who asks for the result."""
    if not task.cancelled():
        task.exception()
