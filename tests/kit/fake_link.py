"""Executors in memory, behind the flow's own port. What they count is the oracle: it is none of our code.

They behave as XXL-JOB's executors do: one queue a job, a log file from the moment a run starts, a repeated log id
refused while it is queued but executed again once it runs, a kill that takes the queue of the job with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from gateway.core.errors import Unreachable
from gateway.core.model import ExecutorResult, LogPage
from gateway.core.ports import Answer, OnOutcome, Outcome, RunOrder
from tests.kit.crash import Crash
from tests.kit.manual_clock import ManualClock

TIMEOUT_S = 3.0
RETRY_S = 5.0
NETWORK_S = 0.001


@dataclass(frozen=True)
class Behaviour:
    """What an executor does with one `/run`.

    `received` and `answered` are independent: an answer can be lost, and so can a request, or it arrives late.
    `waits_s`: how long it is before a connection is free.
    `code` None: no result ever comes. `repeats`: how many times the result is delivered.
    """

    received: bool = True
    answered: bool = True
    refuses: str = ""
    not_sent: bool = False
    waits_s: float = 0.0
    arrives_after_s: float = 0.0
    answer_after_s: float = NETWORK_S
    runs_s: float = 0.01
    code: int | None = 200
    message: str | None = None
    repeats: int = 1


GOOD = Behaviour()
NOT_SENT = Behaviour(not_sent=True)
REFUSED = Behaviour(refuses="no handler of that name")
LOST_ANSWER = Behaviour(answered=False)
LOST_REQUEST = Behaviour(received=False, answered=False)
SILENT = Behaviour(code=None)
FAILING = Behaviour(code=500, message="it failed")


@dataclass
class Request:
    run_id: int
    job_id: int
    log_time_ms: int
    shard: int
    shard_total: int
    params: str
    version: int
    at_ms: int
    behaviour: Behaviour


@dataclass(eq=False)
class FakeExecutor:
    """One process. `plan` holds what it does with the next requests, then `usual` applies."""

    clock: ManualClock
    address: str
    deliver: Callable[[ExecutorResult], Awaitable[bool]]
    usual: Behaviour | Callable[[RunOrder], Behaviour] = GOOD
    plan: deque[Behaviour] = field(default_factory=deque)
    up: bool = True
    frozen: bool = False
    executed: list[Request] = field(default_factory=list)
    received: list[Request] = field(default_factory=list)
    logs: set[int] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    running: dict[int, Request] = field(default_factory=dict)
    queues: dict[int, deque[Request]] = field(default_factory=dict)
    unread: list[Request] = field(default_factory=list)
    unread_kills: list[int] = field(default_factory=list)
    strict_time: bool = True
    # What it reports of a run that it has killed; None for code that goes on, whatever it is told.
    kill_code: int | None = 500
    _life: int = 0

    def next_behaviour(self, order: RunOrder) -> Behaviour:
        if self.plan:
            return self.plan.popleft()
        return self.usual(order) if callable(self.usual) else self.usual

    @property
    def executions(self) -> Counter[int]:
        """How many times each run was executed."""
        return Counter(request.run_id for request in self.executed)

    # ------------------------------------------------------------ the process

    def receive(self, request: Request) -> str | None:
        """Take a run; the reason if it is refused."""
        self.received.append(request)
        if request.behaviour.refuses:
            return request.behaviour.refuses
        queue = self.queues.setdefault(request.job_id, deque())
        if any(waiting.run_id == request.run_id for waiting in queue):
            return f"repeate trigger job, logId:{request.run_id}"
        queue.append(request)
        self._start_next(request.job_id)
        return None

    def _start_next(self, job_id: int) -> None:
        queue = self.queues.get(job_id)
        if job_id in self.running or not queue:
            return
        request = queue.popleft()
        self.running[job_id] = request
        self.logs.add(request.run_id)
        self.executed.append(request)
        life = self._life
        if request.behaviour.code is not None:
            self.clock.call_later(request.behaviour.runs_s, lambda: self._end(request, life))

    def _end(self, request: Request, life: int) -> None:
        if life != self._life or self.running.get(request.job_id) is not request:
            return
        del self.running[request.job_id]
        self._report(request, request.behaviour.code or 0, request.behaviour.message)
        self._start_next(request.job_id)

    def _report(self, request: Request, code: int, message: str | None) -> None:
        result = ExecutorResult(
            request.run_id, code, message, request.log_time_ms, self.clock.now_ms(), self.strict_time
        )
        for _ in range(max(request.behaviour.repeats, 1)):
            _in_background(self._deliver(result))

    async def _deliver(self, result: ExecutorResult) -> None:
        while not await self.deliver(result):
            await self.clock.sleep(RETRY_S)

    def finish(self, job_id: int, code: int = 200, message: str | None = None) -> None:
        """Let the silent run of a job end now."""
        request = self.running.pop(job_id)
        self._report(request, code, message)
        self._start_next(job_id)

    def is_idle(self, job_id: int) -> bool:
        return job_id not in self.running and not self.queues.get(job_id)

    def kill(self, job_id: int) -> None:
        if self.kill_code is None:
            return
        queued = self.queues.pop(job_id, deque())
        running = self.running.pop(job_id, None)
        if running is not None:
            self._report(running, self.kill_code, "job toStop, stopReason: killed [job running, killed]")
        for request in queued:
            self._report(request, self.kill_code, "killed [job not executed, in the job queue, killed.]")

    def restart(self) -> None:
        """A new process at the same address: what ran or waited is gone, the log files are there."""
        self._life += 1
        self.running.clear()
        self.queues.clear()
        self.unread.clear()
        self.unread_kills.clear()
        self.up, self.frozen = True, False

    def stop(self) -> None:
        self.restart()
        self.up = False

    def thaw(self) -> None:
        self.frozen = False
        kills, self.unread_kills = self.unread_kills, []
        for job_id in kills:
            self.kill(job_id)
        unread, self.unread = self.unread, []
        for request in unread:
            self.receive(request)


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    """In nobody's process: it may have begun in the call of one that will stand still or die."""
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    _background.add(task)
    task.add_done_callback(_background.discard)


class FakeLink:
    """Implements `core.ports.ExecutorLink`. A link that was switched `off` belongs to a gateway that is gone."""

    def __init__(
        self,
        clock: ManualClock,
        executors: dict[str, FakeExecutor],
        on_send: Callable[[RunOrder], None] = lambda _order: None,
    ) -> None:
        """`on_send` is told of each order whose bytes leave, at that moment."""
        self._clock = clock
        self._executors = executors
        self._on_send = on_send
        self._off = False
        self.real_log = True
        self.waiting: set[RunOrder] = set()
        self.sent: list[tuple[int, str, int]] = []
        self.early: list[int] = []

    def off(self) -> None:
        self._off = True

    def prepare(self, order: RunOrder) -> None:
        order.request = b"prepared"

    def run(self, order: RunOrder, on_outcome: OnOutcome) -> None:
        if self._off:
            return
        if self._clock.monotonic() >= order.send_before:
            self._answer(NETWORK_S, order, on_outcome, Outcome.NOT_SENT, "the deadline has passed")
            return
        executor = self._executors.get(order.address)
        behaviour = executor.next_behaviour(order) if executor is not None else NOT_SENT
        if behaviour.waits_s:
            self.waiting.add(order)
            self._later(behaviour.waits_s, lambda: self._leave(order, on_outcome))
            return
        if executor is None or not executor.up or behaviour.not_sent:
            self._answer(NETWORK_S, order, on_outcome, Outcome.NOT_SENT, "connection refused")
            return
        now_ms = self._clock.now_ms()
        if now_ms < order.due_ms:
            self.early.append(order.run_id)
        self.sent.append((order.run_id, order.address, now_ms))
        self._on_send(order)
        params = order.job.task.parameter if order.params is None else order.params
        request = Request(
            order.run_id, order.job.id, order.trigger_ms, order.shard, order.shard_total, params,
            order.job.version, now_ms, behaviour,
        )  # fmt: skip
        if executor.frozen:
            executor.unread.append(request)
            self._answer(TIMEOUT_S, order, on_outcome, Outcome.DOUBTFUL, "no answer in time")
            return
        refused = None
        if behaviour.arrives_after_s:
            self._clock.call_later(behaviour.arrives_after_s, lambda: executor.receive(request))
        elif behaviour.received:
            refused = executor.receive(request)
        if not behaviour.answered:
            self._answer(TIMEOUT_S, order, on_outcome, Outcome.DOUBTFUL, "no answer in time")
        elif refused:
            self._answer(behaviour.answer_after_s, order, on_outcome, Outcome.REFUSED, refused)
        else:
            self._answer(behaviour.answer_after_s, order, on_outcome, Outcome.ACCEPTED, "")

    def _leave(self, order: RunOrder, on_outcome: OnOutcome) -> None:
        if order in self.waiting:
            self.waiting.remove(order)
            self.run(order, on_outcome)
        else:
            on_outcome(order, Outcome.NOT_SENT, "it was recalled")

    def recall(self, order: RunOrder) -> bool:
        waits = order in self.waiting
        self.waiting.discard(order)
        return waits

    def _answer(
        self, after_s: float, order: RunOrder, on_outcome: OnOutcome, outcome: Outcome, text: str
    ) -> None:
        def answer() -> None:
            if not self._off:
                with contextlib.suppress(Crash):
                    on_outcome(order, outcome, text)

        self._later(after_s, answer)

    @staticmethod
    def _later(seconds: float, call: Callable[[], None]) -> None:
        """In the process that calls: nothing comes of it while that stands still."""
        asyncio.get_running_loop().call_later(seconds, call)

    # ------------------------------------------------------------ questions

    async def _ask(self, address: str, what: str) -> FakeExecutor:
        executor = self._executors.get(address)
        if executor is not None:
            executor.asked[what] += 1
        if executor is None or not executor.up:
            await self._clock.sleep(NETWORK_S)
            raise Unreachable(address, "connection refused")
        if executor.frozen:
            await self._clock.sleep(TIMEOUT_S)
            raise Unreachable(address, "no answer in time", may_have_heard=True)
        await self._clock.sleep(NETWORK_S)
        return executor

    async def beat(self, address: str, dialect: str, appname: str) -> Answer:
        await self._ask(address, "beat")
        return Answer(ok=True, code=200, message="")

    async def idle(self, address: str, dialect: str, appname: str, job_id: int) -> Answer:
        executor = await self._ask(address, "idle")
        idle = executor.is_idle(job_id)
        return Answer(ok=idle, code=200 if idle else 500, message="" if idle else "job thread is running")

    async def kill(self, address: str, dialect: str, appname: str, job_id: int) -> Answer:
        there = self._executors.get(address)
        if there is not None and there.up and there.frozen:
            there.unread_kills.append(job_id)
        executor = await self._ask(address, "kill")
        executor.kill(job_id)
        return Answer(ok=True, code=200, message="")

    async def log(
        self, address: str, dialect: str, appname: str, run_id: int, log_time_ms: int, from_line: int
    ) -> LogPage | None:
        executor = await self._ask(address, "log")
        return LogPage(from_line, 1, "a line\n", is_end=False) if run_id in executor.logs else None

    def log_is_real(self, dialect: str, client: str) -> bool:
        return self.real_log
