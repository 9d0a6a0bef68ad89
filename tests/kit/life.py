"""One process of the gateway on a clock moved by hand, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.core.access import AccessTokens
from gateway.core.cluster import Grant, Identity
from gateway.core.context import Context
from gateway.core.errors import StoreError
from gateway.core.model import Beat, Counters, ExecutorResult
from gateway.core.ports import RunOrder, StopReport
from gateway.core.registry import Registry
from gateway.core.specs import Specs
from gateway.flow.access import Doorkeeper
from gateway.flow.loops import Flow
from gateway.flow.operations import FlowOperations
from gateway.store.access import AccessStore
from gateway.store.apps import AppStore
from gateway.store.backfills import BackfillStore
from gateway.store.events import EventStore
from gateway.store.foreign import ForeignStore
from gateway.store.history import HistoryStore
from gateway.store.ids import app_ids, job_ids, run_ids, short_run_ids
from gateway.store.jobs import JobStore
from gateway.store.keys import KeyStore
from gateway.store.lanes import Lanes
from gateway.store.nodes import Nodes
from gateway.store.pauses import PauseStore
from gateway.store.runs import RunStore
from gateway.store.writer import GroupWriter
from tests.kit.crash import CrashSignals
from tests.kit.fake_link import FakeLink
from tests.kit.fake_peers import FakePeers
from tests.kit.inline_database import IDLE_S, InlineDatabase
from tests.kit.virtual_loop import Process

if TYPE_CHECKING:
    from tests.kit.flow_world import World

STOP_S = 15.0


class MemorySpool:
    """Implements `core.ports.Spool`; survives a crash as a disk does, and gives free names again as it does."""

    def __init__(self) -> None:
        self.files: dict[str, list[tuple[ExecutorResult, str]]] = {}
        self.broken = False
        self.stalled = False

    async def append(self, results: Sequence[ExecutorResult], client: str) -> None:
        if self.stalled:
            await asyncio.Event().wait()
        if self.broken:
            raise StoreError("the disk is full")
        number = max(map(int, self.files), default=0) + 1
        self.files[f"{number:08d}"] = [(result, client) for result in results]

    async def oldest(self) -> tuple[str, list[tuple[ExecutorResult, str]]] | None:
        return next(iter(sorted(self.files.items())), None)

    async def forget(self, name: str) -> None:
        del self.files[name]


class Life:
    """A node's name stands for its data directory: each life of a name finds the spool of the last one.

    `serving` is true while executors and people reach it, `listening` while the other nodes do. `cut` is for the test
    to set: no other node reaches it, nor does it reach them.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.clock = clock = world.clock
        self.process = Process(name)
        self.address = f"http://{name}/{len(world.lives) + 1}"
        self.databases: list[InlineDatabase] = []
        self.db = self._database()
        self.faulty = self._database()  # what the group writer uses
        self.link = FakeLink(clock, world.executors, self._sending)
        self.signals = CrashSignals(self.fall)
        self.fatal: list[Exception] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.serving = False
        self.listening = False
        self.cut = False
        self.wall_offset_ms = 0
        self.counters = Counters()
        self.ids = run_ids(self.db, clock)
        self.jobs = JobStore(self.db, clock, job_ids(self.db, clock), self.ids)
        self.runs = RunStore(self.db, clock)
        self.apps = AppStore(self.db, clock, app_ids(self.db, clock))
        self.pauses = PauseStore(self.db, clock)
        self.backfills = BackfillStore(self.db, clock)
        self.nodes = Nodes(self.db, clock, world.tuning.lease_ms)
        self.writer = GroupWriter(self.faulty, clock, self.counters, chance=world.rng)
        self.writers = [self.writer]
        self.spool = world.spools.setdefault(name, MemorySpool())

    @property
    def dead(self) -> bool:
        return self.ended.done()

    def _database(self) -> InlineDatabase:
        database = InlineDatabase(self.world.server, self.clock)
        self.databases.append(database)
        self.world.on_database(self, database)
        return database

    def _writer(self, *, renews: bool = True) -> GroupWriter:
        """One more, on a connection of its own."""
        writer = GroupWriter(
            self._database(), self.clock, self.counters, renews=renews, chance=self.world.rng
        )
        self.writers.append(writer)
        return writer

    # ------------------------------------------------------------ life

    def build(self, grant: Grant, identity: Identity) -> None:
        """The rooms wired together, as `app/node.py` does it."""
        world = self.world
        several = world.several
        self.context = Context(
            clock=self.clock,
            writer=self.writer,
            jobs=self.jobs,
            runs=self.runs,
            link=self.link,
            run_ids=self.ids,
            int_ids=short_run_ids(self.db, self.clock),
            specs=Specs(self.jobs),
            registry=Registry(),
            lease=grant.lease,
            tuning=world.tuning,
            signals=self.signals,
            counters=self.counters,
            chance=world.rng,
        )
        plan_writer = self._writer(renews=False) if several else self.writer
        result_writer = Lanes([self._writer()]) if several else self.writer
        self.access = AccessTokens((), self.context.registry, self.clock.now_ms)
        self.flow = Flow(
            self.context,
            apps=self.apps,
            pauses=self.pauses,
            backfills=self.backfills,
            executors=self.apps,
            foreign=ForeignStore(self.db, self.clock),
            events=EventStore(self.db, self.clock),
            history=HistoryStore(self.db, self.clock),
            spool=self.spool,
            nodes=self.nodes,
            calls=KeyStore(self.db, self.clock),
            identity=identity,
            on_fatal=self.fatal.append,
            peers=FakePeers(self.clock, self, world.desks, world.delay_s) if several else None,
            wall_offset=(lambda: self.wall_offset_ms) if several else None,
            plan_writer=plan_writer,
            result_writer=result_writer,
            doorkeeper=Doorkeeper(self.context, self.access, AccessStore(self.db, self.clock)),
        )
        self.operations = FlowOperations(self.flow, self.runs, _Keeper())
        world.desks[self.address] = self

    async def start(self) -> None:
        """To be run in the process of this life."""
        directory, process = self.name.ljust(16, "-"), f"{len(self.world.lives):016}"
        identity = Identity(self.name, directory + process, self.address)
        grant = await self.nodes.join(identity)
        self.build(grant, identity)
        for writer in self.writers:
            self.process.spawn(writer.run(), name="writer")
        self.listening = True
        await self.flow.start(grant.seen_ms)
        self.serving = True

    async def stop(self) -> None:
        """The way out in order, to be run in the process of this life; what hangs is left behind."""
        try:
            async with asyncio.timeout(STOP_S):
                await self.flow.stop_sending()
                await self.flow.await_results()
        except Exception as error:
            self.world.note(f"{self.name} did not stop in order: {error!r}")
        self.serving = False
        try:
            async with asyncio.timeout(STOP_S):
                await self.flow.stop()
                for writer in self.writers:
                    await writer.drain()
        except Exception as error:
            self.world.note(f"{self.name} did not stop in order: {error!r}")
        self.listening = False

    def fall(self) -> None:
        """The end of the process, whatever it was doing."""
        if not self.ended.done():
            self.ended.set_result(None)
        self.serving = self.listening = False
        self.link.off()
        for database in self.databases:
            database.off()
        self.process.freeze()

    async def die(self) -> None:
        """As kill -9: nothing of this life does anything from now on."""
        self.fall()
        await self.process.kill()

    def freeze(self) -> None:
        """As SIGSTOP: it stands still, and time goes on."""
        self.process.freeze()
        self.clock.call_later(IDLE_S, self._end_idle)

    def _end_idle(self) -> None:
        if self.process.frozen:
            self.world.server.end_idle(self.process)

    def thaw(self) -> None:
        if not self.dead:
            self.process.thaw()
            self.world.server.next_turn()

    # ------------------------------------------------------------ its ways to the world

    def cut_database(self) -> None:
        """Nothing that it says reaches the database, nor what that says reaches it."""
        for database in self.databases:
            database.up.clear()
        self.clock.call_later(IDLE_S, self._end_cut)

    def _end_cut(self) -> None:
        if not self.db.up.is_set():
            self.world.server.end_idle(self.process)

    def refuse_database(self) -> None:
        """The server answers, and takes no connection."""
        for database in self.databases:
            database.refuses = True

    def mend_database(self) -> None:
        for database in self.databases:
            database.refuses = False
            database.up.set()

    def _sending(self, order: RunOrder) -> None:
        self.world.on_send(self, order)

    # ------------------------------------------------------------ the control listener: `fake_peers.Desk`

    def look(self) -> None:
        self.flow.ownership.wake.set()

    def ended_elsewhere(self, run_ids: list[int]) -> None:
        self.flow.neighbours.ended_elsewhere(run_ids)

    async def jobs_changed(self, job_ids: list[int]) -> None:
        await self.flow.jobs_changed(job_ids)

    async def app_changed(self, app_id: int) -> None:
        await self.flow.app_changed(app_id)

    async def pauses_changed(self) -> None:
        await self.flow.pausing.changed()

    async def stop_run(self, run_id: int) -> StopReport:
        return await self.operations.stop_here_by_id(run_id)

    def hear(self, beat: Beat) -> None:
        self.flow.presence.hear(beat)

    async def report_passed_on(self, results: Sequence[ExecutorResult], client: str) -> bool:
        return await self.flow.reporter.report_passed_on(results, client)

    def hear_beat(self, beat: Beat) -> None:
        self.flow.presence.hear(beat)

    async def take_results(self, results: list[ExecutorResult], client: str) -> bool:
        return await self.flow.reporter.report_passed_on(results, client)


class _Keeper:
    problem: Any = None
