"""A whole scheduler on a clock moved by hand: real stages, real SQL, executors in memory; it can crash and start again.

One node unless the test starts more: then they share the database and reach each other through `fake_peers`.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from gateway.core.access import EVERY_APP
from gateway.core.context import Tuning
from gateway.core.model import AddressMode, App, Beat, ExecutorResult, Job, Run, Task, TriggerKind
from gateway.core.ports import RunOrder, StopReport
from gateway.core.states import OPEN
from gateway.core.submission import Submission
from gateway.flow.loops import Flow
from gateway.store import tables
from gateway.store.run_rows import COLUMNS, run_of
from tests.kit.fake_link import FakeExecutor
from tests.kit.inline_database import Fault, InlineDatabase, InlineServer, new_database_file
from tests.kit.life import Life, MemorySpool
from tests.kit.manual_clock import ManualClock

T = TypeVar("T")
A, B, C = (f"http://10.0.0.{n}:9999/" for n in (1, 2, 3))
CLIENT = "java"
CALLBACK_TIMEOUT_S = 3.0
FIRST = "node-1"


class World:
    """Where the gateway lives: a database, executors, a clock. `app` is there from the start.

    `nodes` are those that run, by name. `several`: they have peers and writers of their own for plans and results, as
    on MySQL; else there is one writer, as on SQLite.
    """

    def __init__(self, directory: Path, tuning: Tuning | None = None, *, several: bool = False) -> None:
        self.clock = ManualClock()
        self.server = InlineServer(new_database_file(directory))
        self._look = InlineDatabase(self.server, self.clock)
        self.tuning = tuning or Tuning()
        self.several = several
        self.spools: dict[str, MemorySpool] = {}
        self.executors: dict[str, FakeExecutor] = {}
        self.acknowledged: list[ExecutorResult] = []
        self.lives: list[Life] = []
        self.nodes: dict[str, Life] = {}
        self.desks: dict[str, Life] = {}
        self.app: App | None = None
        self.rng = random.Random(0)  # of all that the gateway leaves to chance
        # For the test to set: which node a call from outside reaches, what is told of sends, faults of databases.
        self.pick: Callable[[Sequence[Life]], Life] = lambda lives: lives[0]
        self.on_send: Callable[[Life, RunOrder], None] = lambda _life, _order: None
        self.on_database: Callable[[Life, InlineDatabase], None] = lambda _life, _database: None
        self.delay_s: Callable[[], float] = lambda: 0.001
        self.note: Callable[[str], None] = lambda _text: None

    @property
    def life(self) -> Life | None:
        """The node that has run for longest, if any does."""
        return next(iter(self.nodes.values()), None)

    @property
    def now(self) -> Life:
        assert self.life is not None
        return self.life

    @property
    def flow(self) -> Flow:
        return self.now.flow

    @property
    def spool(self) -> MemorySpool:
        return self.spools[FIRST]

    # ------------------------------------------------------------ nodes

    def launch(self, name: str = FIRST) -> tuple[Life, asyncio.Task[None]]:
        """Begin to start a node."""
        assert name not in self.nodes, "the lock of its data directory is held"
        life = Life(self, name)
        self.lives.append(life)
        self.nodes[name] = life
        return life, life.process.spawn(life.start(), name=f"start of {name}")

    async def start(self, prepare: Callable[[Life], None] | None = None, *, name: str = FIRST) -> Life:
        """Start a node; `prepare` may set faults before it does anything."""
        life, starting = self.launch(name)
        if prepare is not None:
            prepare(life)
        if self.app is None:
            app = App(0, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0)
            self.app = await self.do(life.apps.create(app), by=life)
        await self.clock.advance_until(starting.done)
        await starting
        return life

    async def do(self, work: Coroutine[Any, Any, T], at_most_s: float = 60, *, by: Life | None = None) -> T:
        """Await something that needs time to pass, done by a node if there is any."""
        by = by or self.life
        task = by.process.spawn(work) if by is not None else asyncio.ensure_future(work)
        await self.clock.advance_until(task.done, at_most_s=at_most_s)
        return await task

    async def crash(self, name: str | None = None) -> None:
        life = self.nodes.pop(name or self.now.name)
        await life.die()

    async def stop_node(self, name: str | None = None) -> None:
        """A stop in order, then the end of the process."""
        life = self.nodes[name or self.now.name]
        await self.do(life.stop(), by=life)
        await self.crash(life.name)

    async def close(self) -> None:
        for name in tuple(self.nodes):
            await self.crash(name)
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self.server.close()

    def has_spooled(self, name: str) -> bool:
        """Whether results are left in the data directory of this node."""
        return name in self.spools and bool(self.spools[name].files)

    # ------------------------------------------------------------ executors

    def serving(self) -> list[Life]:
        return [life for life in self.nodes.values() if life.serving]

    async def executor(self, address: str = A, dialect: str = "rest", **how: Any) -> FakeExecutor:
        """A live executor of the app, registered."""
        executor = FakeExecutor(self.clock, address, self.deliver, **how)
        self.executors[address] = executor
        await self.beat(address, dialect=dialect)
        return executor

    async def beat(self, address: str, life: Life | None = None, *, dialect: str = "rest") -> None:
        await self.beat_soon(address, life or self.pick(self.serving()), dialect)

    def beat_soon(self, address: str, life: Life, dialect: str = "rest") -> asyncio.Task[None]:
        assert self.app is not None
        beat = Beat(self.app.appname, address, dialect, CLIENT, self.clock.now_ms())
        return life.process.spawn(life.flow.register(beat), name="beat")

    async def deliver(self, result: ExecutorResult) -> bool:
        """A callback as an executor sends it: False if the gateway is away, refuses it, or takes too long.

        What has reached a node that stands still is taken when it goes on, though nobody waits for it any more.
        """
        serving = self.serving()
        if not serving:
            return False
        life = self.pick(serving)
        answer = life.process.spawn(life.flow.report([result], CLIENT, EVERY_APP), name="callback")
        await asyncio.wait(
            {answer, life.ended}, timeout=CALLBACK_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if not answer.done() or answer.cancelled() or answer.exception() or life.dead:
            return False
        if answer.result():
            self.acknowledged.append(result)
        return answer.result()

    @property
    def executions(self) -> dict[int, int]:
        """How many times each run was executed, over all executors."""
        counts: dict[int, int] = defaultdict(int)
        for executor in self.executors.values():
            for run_id, count in executor.executions.items():
                counts[run_id] += count
        return counts

    @property
    def sent(self) -> list[tuple[int, str, int]]:
        return [sent for life in self.lives for sent in life.link.sent]

    # ------------------------------------------------------------ jobs and runs

    async def job(self, **changes: Any) -> Job:
        """A stored job: every ten seconds unless told otherwise. The running gateway learns of it at once."""
        assert self.app is not None
        fields: dict[str, Any] = {
            "id": 0,
            "namespace_id": 1,
            "app_id": self.app.id,
            "part": 0,
            "version": 1,
            "name": "job",
            "enabled": True,
            "schedule": {"kind": "fixed_rate", "expression": "10s"},
            "task": Task("handler", "params"),
        }
        (made,) = await self.do(self.now.jobs.create([Job(**(fields | changes))]))
        await self.do(self.now.operations.jobs_changed([made.id]))
        return made

    async def change(self, job: Job, *, by: Life | None = None, **changes: Any) -> Job:
        """An edit as the API makes it: committed, then followed by the flow."""
        life = by or self.now
        old = await life.jobs.get(job.id)
        changed = await self.do(life.jobs.update(replace(old, **changes)), by=life)
        await self.do(life.operations.jobs_changed([job.id]), by=life)
        return changed

    async def trigger(self, job: Job, *, by: Life | None = None, **how: Any) -> int:
        kind = how.pop("kind", TriggerKind.API)
        life = by or self.now
        return await self.do(life.operations.trigger(job.id, Submission(**how), kind=kind), by=life)

    async def stop(self, run_id: int, *, by: Life | None = None) -> StopReport:
        life = by or self.now
        return await self.do(life.operations.stop(run_id), by=life)

    async def rows(self, **wanted: Any) -> list[Run]:
        """All runs with these values, in the order of ids, from a look of the test's own."""
        query = select(*COLUMNS).order_by(tables.run.c.id)
        for name, value in wanted.items():
            query = query.where(tables.run.c[name] == value)
        async with self._look.read() as conn:
            return [run_of(row) for row in (await conn.execute(query)).mappings()]

    async def row(self, run_id: int) -> Run:
        (found,) = await self.rows(id=run_id)
        return found

    async def table(self, table: Any) -> list[dict[str, Any]]:
        async with self._look.read() as conn:
            return [dict(row) for row in (await conn.execute(select(table))).mappings()]

    def faults(self, *faults: Fault | None) -> None:
        """What happens to the next transactions of the group writer, in order."""
        ahead = list(faults)
        self.now.faulty.next_fault = lambda: ahead.pop(0) if ahead else None

    async def until_final(self, run_id: int, at_most_s: float = 60) -> Run:
        for _ in range(round(at_most_s / 0.05)):
            run = await self.row(run_id)
            if run.state not in OPEN:
                return run
            await self.clock.advance(0.05)
        raise AssertionError(f"run {run_id} is still {run.state.word} after {at_most_s} s")
