"""An event loop whose time stands still until the test moves it, and in which whole processes can stand still.

Time goes from one instant at which something is due to the next, once the loop has nothing left to do at this one. All
of asyncio's own timers follow it. A `Process` is a set of tasks that stop and die together, as those of a program do.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import inspect
import itertools
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.kit.crash import Crash

T = TypeVar("T")

SPINS = 100_000
PRUNE = 64
_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Process:
    """What runs in it, and in tasks that it starts, belongs to it. While it is `frozen` nothing of it runs.

    Its timers go on meanwhile: what they would have woken comes all at once when it is thawed.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.frozen = False
        self.withheld: deque[asyncio.Handle] = deque()
        self.context = contextvars.Context()
        self.context.run(_process.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._limit = PRUNE

    def spawn(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Begin something in this process."""
        return asyncio.get_running_loop().create_task(work, name=name, context=self.context.copy())

    def call_soon(self, call: Callable[..., object], *args: object) -> None:
        asyncio.get_running_loop().call_soon(call, *args, context=self.context.copy())

    def note(self, task: asyncio.Task[Any]) -> None:
        if len(self._tasks) >= self._limit:
            self._tasks = [one for one in self._tasks if not one.done()]
            self._limit = max(PRUNE, 2 * len(self._tasks))
        self._tasks.append(task)

    def freeze(self) -> None:
        if not self.frozen:
            self.frozen = True
            _loop().stand_still(self)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            _loop().go_on(self)

    async def kill(self) -> None:
        """End all its tasks; nothing of it ever runs again."""
        self.thaw()
        while tasks := [one for one in self._tasks if not one.done()]:
            for task in tasks:
                _close_what_it_would_await(task)
                task.cancel()
            await asyncio.wait(tasks)
        self.freeze()

    @staticmethod
    def current() -> Process | None:
        return _process.get()


class _Selector(selectors.DefaultSelector):
    """Asks the system only when there is nothing else to do."""

    def select(self, timeout: float | None = None) -> Any:
        return [] if timeout == 0 else super().select(timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`advance_to` moves time; between two instants everything that can run does."""

    def __init__(self) -> None:
        self.now_us = 0
        self._alarms: list[tuple[int, int, Callable[[], object] | asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._goal_us = 0
        self._is_reached: Callable[[], bool] | None = None
        self._arrived: asyncio.Future[bool] | None = None
        self._spins = 0
        self._frozen: set[Process] = set()
        self._sift = False
        super().__init__(_Selector())
        self.set_exception_handler(_unless_a_crash)

    # ------------------------------------------------------------ what asyncio asks

    def time(self) -> float:
        return self.now_us / 1_000_000

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._alarms, (round(when * 1_000_000), next(self._numbers), timer))
        return timer

    def call_soon(
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if self._frozen:
            process = _process.get() if context is None else context.get(_process)
            if process in self._frozen:
                handle = asyncio.Handle(callback, args, self, context)
                process.withheld.append(handle)
                return handle
        return super().call_soon(callback, *args, context=context)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task = super().create_task(coro, name=name, context=context)
        process = _process.get() if context is None else context.get(_process)
        if process is not None:
            process.note(task)
        return task

    def _run_once(self) -> None:
        if self._sift:
            self._sift_out()
        if self._ready:
            self._spins += 1
            if self._spins > SPINS:
                raise AssertionError("the program spins: it never comes to rest while time stands still")
        elif self._arrived is not None:
            self._go_on_to_the_next_instant()
        super()._run_once()

    # ------------------------------------------------------------ time

    def alarm(self, after_us: int, call: Callable[[], object]) -> None:
        """Call that from nobody's process."""
        heapq.heappush(self._alarms, (self.now_us + after_us, next(self._numbers), call))

    async def advance_to(self, goal_us: int, is_reached: Callable[[], bool] | None = None) -> bool:
        """Let time pass until then, or until something has happened: True if it has."""
        assert self._arrived is None, "time is moved by one task at a time"
        self._arrived = self.create_future()
        self._goal_us, self._is_reached = goal_us, is_reached
        self._spins = 0
        try:
            return await self._arrived
        finally:
            self._arrived = None

    def _go_on_to_the_next_instant(self) -> None:
        assert self._arrived is not None
        self._spins = 0
        while not self._ready:
            if self._arrived.done():
                return
            if self._is_reached is not None and self._is_reached():
                self._arrived.set_result(True)
                return
            if not self._alarms or self._alarms[0][0] > self._goal_us:
                self.now_us = max(self.now_us, self._goal_us)
                self._arrived.set_result(False)
                return
            self.now_us = max(self.now_us, self._alarms[0][0])
            while self._alarms and self._alarms[0][0] <= self.now_us:
                self._ring(heapq.heappop(self._alarms)[2])

    def _ring(self, alarm: Callable[[], object] | asyncio.TimerHandle) -> None:
        if not isinstance(alarm, asyncio.TimerHandle):
            alarm()
        elif not alarm.cancelled():
            process = alarm._context.get(_process) if self._frozen else None
            (process.withheld if process in self._frozen else self._ready).append(alarm)

    # ------------------------------------------------------------ processes that stand still

    def stand_still(self, process: Process) -> None:
        self._frozen.add(process)
        self._sift = True  # what is to run now may be running, so it is taken out of the queue a moment later

    def go_on(self, process: Process) -> None:
        self._frozen.discard(process)
        self._ready.extend(process.withheld)
        process.withheld.clear()

    def _sift_out(self) -> None:
        self._sift = False
        ready, kept = self._ready, []
        for handle in ready:
            process = handle._context.get(_process)
            if process in self._frozen:
                process.withheld.append(handle)
            else:
                kept.append(handle)
        ready.clear()
        ready.extend(kept)


def _close_what_it_would_await(task: asyncio.Task[Any]) -> None:
    """Of a task that never began: else Python warns of coroutines that nobody awaited."""
    coro = task.get_coro()
    if inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
        for value in inspect.getcoroutinelocals(coro).values():
            if inspect.iscoroutine(value):
                value.close()


def _unless_a_crash(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tasks that die as the test wished are no news."""
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
