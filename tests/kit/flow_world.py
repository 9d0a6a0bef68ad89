"""A whole scheduler on a clock moved by hand: real stages, real SQL, executors in memory; it can crash and start again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

import gateway
from gateway.core.cluster import Identity
from gateway.core.context import Context, Tuning
from gateway.core.errors import StoreError
from gateway.core.model import AddressMode, App, Beat, Counters, ExecutorResult, Job, Run, Task, TriggerKind
from gateway.core.ports import StopReport
from gateway.core.registry import Registry
from gateway.core.specs import Specs
from gateway.core.states import OPEN
from gateway.flow.loops import Flow
from gateway.flow.operations import FlowOperations
from gateway.store import tables
from gateway.store.apps import AppStore
from gateway.store.foreign import ForeignStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.nodes import Nodes
from gateway.store.run_rows import COLUMNS, run_of
from gateway.store.runs import RunStore
from gateway.store.writer import GroupWriter
from tests.kit.crash import CrashSignals
from tests.kit.fake_link import FakeExecutor, FakeLink
from tests.kit.inline_database import Fault, InlineDatabase, new_database_file
from tests.kit.manual_clock import ManualClock

T = TypeVar("T")
A, B, C = (f"http://10.0.0.{n}:9999/" for n in (1, 2, 3))
CLIENT = "java"
_PACKAGE = str(Path(gateway.__file__).parent)


class MemorySpool:
    """Implements `core.ports.Spool`; survives a crash as a disk does."""

    def __init__(self) -> None:
        self.files: dict[str, list[tuple[ExecutorResult, str]]] = {}
        self.broken = False
        self.stalled = False
        self._number = 0

    async def append(self, results: Sequence[ExecutorResult], client: str) -> None:
        if self.stalled:
            await asyncio.Event().wait()
        if self.broken:
            raise StoreError("the disk is full")
        self._number += 1
        self.files[f"{self._number:08d}"] = [(result, client) for result in results]

    async def oldest(self) -> tuple[str, list[tuple[ExecutorResult, str]]] | None:
        return next(iter(sorted(self.files.items())), None)

    async def forget(self, name: str) -> None:
        del self.files[name]


class Life:
    """One process of the gateway, from its start to its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        clock = world.clock
        self.db = InlineDatabase(world.path, clock)
        self.faulty = InlineDatabase(world.path, clock, beside=self.db)  # what the group writer uses
        self.link = FakeLink(clock, world.executors)
        self.signals = CrashSignals(self._freeze)
        self.fatal: list[Exception] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.dead = asyncio.Event()
        self.listening = False
        counters = Counters()
        self.ids = run_ids(self.db, clock)
        self.jobs = JobStore(self.db, clock, job_ids(self.db, clock), self.ids)
        self.runs = RunStore(self.db, clock)
        self.apps = AppStore(self.db, clock, app_ids(self.db, clock))
        self.writer = GroupWriter(self.faulty, clock, counters)
        self.nodes = Nodes(self.db, clock, 2000)
        self.counters = counters

    async def start(self) -> None:
        world = self.world
        self.identity = Identity("node-1", "instance-1")
        grant = await world.do(self.nodes.join(self.identity))
        self.context = Context(
            clock=world.clock,
            writer=self.writer,
            jobs=self.jobs,
            runs=self.runs,
            link=self.link,
            run_ids=self.ids,
            specs=Specs(self.jobs),
            registry=Registry(),
            lease=grant.lease,
            tuning=world.tuning,
            signals=self.signals,
            counters=self.counters,
        )
        self.flow = Flow(
            self.context,
            apps=self.apps,
            executors=self.apps,
            foreign=ForeignStore(self.db, world.clock),
            spool=world.spool,
            nodes=self.nodes,
            identity=self.identity,
            on_fatal=self.fatal.append,
        )
        self.operations = FlowOperations(self.flow, self.runs, self.apps, _Keeper())
        self.writing = asyncio.create_task(self.writer.run(), name="writer")
        await world.do(self.flow.start(grant.seen_ms))
        self.listening = True

    def _freeze(self) -> None:
        self.dead.set()
        self.link.off()
        self.db.off()
        self.faulty.off()

    async def die(self) -> None:
        """As kill -9: nothing of this life does anything from now on."""
        self._freeze()
        named = [task for task in asyncio.all_tasks() if _belongs(task)]
        for task in named:
            task.cancel()
        await asyncio.gather(*named, return_exceptions=True)
        self.db.close()


def _belongs(task: asyncio.Task[Any]) -> bool:
    """Tasks of the gateway; the test's own and the executors' go on."""
    code = task.get_coro().cr_code  # type: ignore[union-attr]
    return code.co_filename.startswith(_PACKAGE)


class _Keeper:
    problem = None


class World:
    """Where the gateway lives: a database, executors, a clock. `app` is there from the start."""

    def __init__(self, directory: Path, tuning: Tuning | None = None) -> None:
        self.clock = ManualClock()
        self.path = new_database_file(directory)
        self._look = InlineDatabase(self.path, self.clock)
        self.tuning = tuning or Tuning()
        self.spool = MemorySpool()
        self.executors: dict[str, FakeExecutor] = {}
        self.acknowledged: list[ExecutorResult] = []
        self.lives: list[Life] = []
        self.life: Life | None = None
        self.app: App | None = None

    @property
    def now(self) -> Life:
        assert self.life is not None
        return self.life

    @property
    def flow(self) -> Flow:
        return self.now.flow

    async def start(self, prepare: Callable[[Life], None] | None = None) -> Life:
        """Start the gateway; `prepare` may set faults before it does anything."""
        life = Life(self)
        self.lives.append(life)
        self.life = life
        if prepare is not None:
            prepare(life)
        if self.app is None:
            app = App(0, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0)
            self.app = await self.do(life.apps.create(app))
        await life.start()
        return life

    async def do(self, work: Coroutine[Any, Any, T], at_most_s: float = 60) -> T:
        """Await something that needs time to pass."""
        task = asyncio.ensure_future(work)
        await self.clock.advance_until(task.done, at_most_s=at_most_s, step_s=0.001)
        return await task

    async def crash(self) -> None:
        life, self.life = self.now, None
        await life.die()

    async def close(self) -> None:
        if self.life is not None:
            await self.crash()
        self._look.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # ------------------------------------------------------------ executors

    async def executor(self, address: str = A, **how: Any) -> FakeExecutor:
        """A live executor of the app, registered."""
        executor = FakeExecutor(self.clock, address, self.deliver, **how)
        self.executors[address] = executor
        await self.beat(address)
        return executor

    async def beat(self, address: str) -> None:
        assert self.app is not None
        await self.flow.register(Beat(self.app.appname, address, "rest", CLIENT, self.clock.now_ms()))

    async def deliver(self, result: ExecutorResult) -> bool:
        """A callback as an executor sends it: False if the gateway is away, refuses it, or takes too long."""
        if self.life is None or self.life.dead.is_set() or not self.life.listening:
            return False
        life = self.life
        answer = asyncio.ensure_future(life.flow.report([result], CLIENT))
        gone = asyncio.ensure_future(self.clock.wait(life.dead, 3.0))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        done = answer.done() and not answer.cancelled() and not life.dead.is_set()
        gone.cancel()
        if not done:
            answer.cancel()
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

    async def change(self, job: Job, **changes: Any) -> Job:
        """An edit as the API makes it: committed, then followed by the flow."""
        old = await self.now.jobs.get(job.id)
        changed = await self.do(self.now.jobs.update(replace(old, **changes)))
        await self.do(self.now.operations.jobs_changed([job.id]))
        return changed

    async def trigger(self, job: Job, **how: Any) -> int:
        fields: dict[str, Any] = {"params": None, "addresses": None, "task_id": None, "kind": TriggerKind.API}
        return await self.do(self.now.operations.trigger(job.id, **(fields | how)))

    async def stop(self, run_id: int) -> StopReport:
        return await self.do(self.now.operations.stop(run_id))

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
