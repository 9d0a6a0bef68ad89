"""One small life of one to three nodes under random faults, the same each time for one seed.

Each seed draws which kinds of faults it has, so that some meet often and others not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from pathlib import Path

from gateway.core.context import Tuning
from gateway.core.errors import GatewayError
from gateway.core.ports import RunOrder
from tests.kit.fake_link import (
    FAILING,
    GOOD,
    LOST_ANSWER,
    LOST_REQUEST,
    NOT_SENT,
    REFUSED,
    Behaviour,
    FakeExecutor,
)
from tests.kit.flow_world import A, B, C, World
from tests.kit.inline_database import InlineDatabase
from tests.kit.life import Life
from tests.simulation.people import People

FAULTY_S = 14
AFTERWARDS_S = 5
QUIET_S = 120
STEP_S = 0.1
TUNING = Tuning(sweep_every_s=5.0, sweep_confirm_ms=10_000, settle_give_up_ms=15_000)
POINTS = (
    *("after_claim", "after_send", "after_answer", "before_result_commit"),
    *("renewing", "parts_let_go", "parts_given", "parts_taken"),
)
KINDS = (
    *("crash", "crash_at", "freeze", "freeze_at", "stop", "cut_database", "cut_peers", "database_down"),
    *(
        "writes",
        "reads",
        "slow",
        "executors",
        "results",
        "edits",
        "triggers",
        "stops",
        "drain",
        "limits",
        "chains",
        "pauses",
    ),
)
# Nothing of these makes a run late: nodes come and go in order, people do what they do.
CALM = {"stop", "drain", "cut_peers", "edits", "triggers", "results", "limits", "chains"}
# How likely each is in a step, where the seed has it at all.
CHANCES = {
    "crash": 0.004,
    "crash_at": 0.025,
    "freeze": 0.006,
    "freeze_at": 0.025,
    "stop": 0.006,
    "cut_database": 0.008,
    "cut_peers": 0.008,
    "database_down": 0.01,
    "drain": 0.008,
    "edits": 0.06,
    "triggers": 0.05,
    "stops": 0.03,
    "limits": 0.015,
    "pauses": 0.06,
}
WRITE_FAULTS = (
    *("deadlock", "lock_timeout", "refused_at_begin"),
    *("gone_before_commit", "gone_after_commit", "gone_while_committing"),
)


@dataclass(frozen=True)
class Sent:
    """Bytes that left, as seen from outside. `owner` is who held the run's part in the database at that moment."""

    number: int
    at_ms: int
    node: str
    run_id: int
    job_id: int
    version: int
    slot_ms: int
    owner: str


class Simulation:
    def __init__(self, seed: int, directory: Path) -> None:
        self.rng = rng = random.Random(seed)
        random.seed(seed)  # for libraries that wait a random time
        self.names = "abc"[: rng.choice((1, 2, 2, 3, 3))]
        self.is_calm = rng.random() < 0.12
        self.kinds = {kind for kind in KINDS if rng.random() < 0.5 and (not self.is_calm or kind in CALM)}
        self.world = world = World(directory, TUNING, several=len(self.names) > 1)
        self.people = People(world, rng)
        self.faulty = False
        self.sent: list[Sent] = []
        self.story: list[str] = []
        self.points: dict[str, int] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._draining: set[asyncio.Task[None]] = set()
        world.rng = rng
        world.pick = rng.choice
        world.on_send = self._note_send
        world.on_database = self._prepare
        world.delay_s = lambda: rng.choice((0.0005, 0.001, 0.002))
        world.note = self.note
        self.note(f"nodes {self.names}, faults {sorted(self.kinds)}")

    def note(self, text: str) -> None:
        self.story.append(f"{self.world.clock.monotonic():8.3f} {text}")

    # ------------------------------------------------------------ what happens

    async def play(self) -> None:
        world, rng = self.world, self.rng
        await world.start(name=self.names[0])
        for address in (A, B, C)[: rng.randint(1, 3)]:
            await world.executor(address, usual=self._behaviour)
        for number in range(rng.randint(1, 5)):
            await self.people.add_job(number, limited="limits" in self.kinds, chained="chains" in self.kinds)
        if "limits" in self.kinds:
            life = world.now
            await world.do(self.people.limit(life, rng.choice((1, 2, 3, 5))), by=life)
        self.faulty = True
        for step in range(round(FAULTY_S / STEP_S)):
            await world.clock.advance(STEP_S)
            await self._bury()
            self._disturb_nodes()
            self._disturb_executor(rng.choice(list(world.executors.values())))
            self._disturb_people()
            if step % 100 == 0:
                self._beat()
        await self._mend()
        await self._quiet()

    def _has(self, kind: str) -> bool:
        return kind in self.kinds and self.rng.random() < CHANCES[kind]

    def _disturb_nodes(self) -> None:
        world, rng = self.world, self.rng
        for name in self.names:
            life = world.nodes.get(name)
            if life is None:
                if rng.random() < 0.06:
                    self._launch(name)
                continue
            if name in self._starting or life.process.frozen:
                continue
            if self._has("crash"):
                self.note(f"{name} crashes")
                life.fall()
            elif self._has("crash_at"):
                life.signals.crash_at = rng.choice(POINTS)
            elif self._has("freeze"):
                self._freeze(life)
            elif self._has("freeze_at"):
                life.signals.at[rng.choice(POINTS)] = lambda life=life: self._freeze(life)
            elif self._has("stop") and self._may_stop(name):
                self.note(f"{name} stops")
                self._stopping[name] = life.process.spawn(life.stop(), name="stop")
            elif self._has("drain"):
                self._drain(life, rng.choice(self.names), draining=rng.random() < 0.6)
            elif self._has("cut_database"):
                self._cut_database(life)
            elif self._has("cut_peers"):
                self._cut_peers(life)
        if self._has("database_down"):
            seconds, refuses = rng.choice((0.5, 1.5, 2.5, 4.0)), rng.random() < 0.5
            self.note(f"the database {'refuses everybody' if refuses else 'is away'} for {seconds} s")
            for life in world.nodes.values():
                life.refuse_database() if refuses else life.cut_database()
                world.clock.call_later(seconds, life.mend_database)

    def _may_stop(self, name: str) -> bool:
        """Once; and where no run may be late, not the last."""
        others = [life for life in self.world.serving() if life.name not in (name, *self._stopping)]
        return name not in self._stopping and (bool(others) or not self.is_calm)

    def _drain(self, life: Life, name: str, *, draining: bool) -> None:
        async def drain() -> None:
            with contextlib.suppress(GatewayError):
                await life.nodes.drain(name, draining=draining)
                self.note(f"{name} {'is drained' if draining else 'is drained no more'}")

        self._draining.add(life.process.spawn(drain(), name="people"))

    def _launch(self, name: str) -> None:
        self.note(f"{name} starts")
        _, self._starting[name] = self.world.launch(name)

    def _freeze(self, life: Life) -> None:
        seconds = self.rng.choice((0.3, 0.9, 1.3, 1.7, 2.1, 2.6, 4.0, 7.0))
        if life.process.frozen or life.dead:
            return
        self.note(f"{life.name} stands still for {seconds} s")
        life.freeze()
        self.world.clock.call_later(seconds, lambda: self._thaw(life))

    def _thaw(self, life: Life) -> None:
        if life.process.frozen and not life.dead:
            self.note(f"{life.name} goes on")
            life.thaw()

    def _cut_database(self, life: Life) -> None:
        seconds = self.rng.choice((0.4, 1.0, 2.2, 3.0, 5.0))
        refused = self.rng.random() < 0.3
        self.note(f"{life.name} loses the database for {seconds} s{', refused' if refused else ''}")
        life.refuse_database() if refused else life.cut_database()
        self.world.clock.call_later(seconds, life.mend_database)

    def _cut_peers(self, life: Life) -> None:
        seconds = self.rng.choice((0.5, 2.0, 4.0))
        self.note(f"{life.name} loses its peers for {seconds} s")
        life.cut = True
        self.world.clock.call_later(seconds, lambda: setattr(life, "cut", False))

    async def _bury(self) -> None:
        """The ends of processes: of those that crashed, could not start, cannot go on, or have stopped."""
        for name, life in tuple(self.world.nodes.items()):
            starting, stopping = self._starting.get(name), self._stopping.get(name)
            why = None
            if life.dead:
                why = "died" if not life.signals.crashed else f"died {life.signals.crash_at}"
            elif starting is not None and starting.done():
                del self._starting[name]
                if (error := starting.exception()) is not None:
                    why = f"could not start: {error!r}"
            elif stopping is not None and stopping.done():
                why = "has stopped"
            elif life.fatal:
                why = f"cannot go on: {life.fatal[0]!r}"
            if why is not None:
                self.note(f"{name} {why}")
                for point in life.signals.seen:
                    self.points[point] = self.points.get(point, 0) + 1
                self._starting.pop(name, None)
                self._stopping.pop(name, None)
                await self.world.crash(name)

    def _beat(self) -> None:
        serving = self.world.serving()
        for address, executor in self.world.executors.items():
            if serving and executor.up and not executor.frozen:
                self.world.beat_soon(address, self.rng.choice(serving))

    def _disturb_people(self) -> None:
        serving = self.world.serving()
        if serving and self._has("edits"):
            self.people.edit_something(self.rng.choice(serving))
        if serving and self._has("triggers"):
            self.people.trigger_something(self.rng.choice(serving))
        if serving and self._has("limits"):
            self.people.limit_something(self.rng.choice(serving))
        if serving and self._has("pauses"):
            self.people.pause_something(self.rng.choice(serving))
        if serving and self._has("stops"):
            self.people.stop_something(self.rng.choice(serving))

    # ------------------------------------------------------------ faults

    def _prepare(self, _life: Life, database: InlineDatabase) -> None:
        database.next_fault = self._fault
        database.pause_s = self._pause
        database.read_pause_s = self._read_pause

    def _fault(self) -> str | None:
        if not self.faulty or "writes" not in self.kinds or self.rng.random() > 0.03:
            return None
        return self.rng.choice(WRITE_FAULTS)

    def _pause(self) -> float:
        if not self.faulty or "slow" not in self.kinds:
            return 0.0003
        return self.rng.choice((0, 0, 0, 0, 0.001, 0.001, 0.004, 0.004, 0.03, 0.2, 1.0))

    def _read_pause(self) -> float:
        if not self.faulty or "reads" not in self.kinds:
            return 0.0002
        return self.rng.choice((0, 0, 0, 0, 0.001, 0.001, 0.004, 0.03, 0.2, 0.9))

    def _behaviour(self, _order: object) -> Behaviour:
        rng = self.rng
        if not self.faulty or "results" not in self.kinds:
            return GOOD
        if rng.random() < 0.7:
            return Behaviour(
                runs_s=rng.choice((0.001, 0.01, 0.1, 0.5, 1.5)), repeats=rng.choice((1, 1, 1, 2))
            )
        return rng.choice(
            (
                GOOD,
                FAILING,
                NOT_SENT,
                REFUSED,
                LOST_ANSWER,
                LOST_REQUEST,
                Behaviour(answer_after_s=0.3, runs_s=0.001),  # its result comes before its answer
                Behaviour(answer_after_s=1.2, runs_s=0.2),
                Behaviour(waits_s=0.4),
                Behaviour(answered=False, runs_s=4.0),
                Behaviour(code=502, message="it took too long"),
            )
        )

    def _disturb_executor(self, executor: FakeExecutor) -> None:
        if "executors" not in self.kinds:
            return
        chance = self.rng.random()
        if chance < 0.005:
            executor.restart()
        elif chance < 0.008:
            executor.stop()
        elif chance < 0.011:
            executor.frozen = executor.up
        elif chance < 0.05:
            executor.thaw()
            if not executor.up:
                executor.restart()

    # ------------------------------------------------------------ what is seen from outside

    def _note_send(self, life: Life, order: RunOrder) -> None:
        self.sent.append(
            Sent(
                number=self.people.next_number(),
                at_ms=self.world.clock.now_ms(),
                node=life.name,
                run_id=order.run_id,
                job_id=order.job.id,
                version=order.job.version,
                slot_ms=order.due_ms,
                owner=self.world.server.owner(order.job.part),
            )
        )

    # ------------------------------------------------------------ peace

    async def _mend(self) -> None:
        """Everything works from now on; who is away may come back, and one node does."""
        world, rng = self.world, self.rng
        self.note("peace")
        self.faulty = False
        for executor in world.executors.values():
            executor.thaw()
            executor.up = True
        for life in world.nodes.values():
            life.signals.crash_at = None
            life.signals.at.clear()
            life.mend_database()
            life.cut = False
            self._thaw(life)
        await world.clock.advance(0.001)
        await self._bury()
        while any(name in self._stopping or name in self._starting for name in world.nodes):
            await world.clock.advance(0.1)
            await self._bury()
        missing = [name for name in self.names if name not in world.nodes]
        for name in missing:
            # Results in the spool of a node that never comes back are acknowledged and in no row.
            if not world.nodes or world.has_spooled(name) or rng.random() < 0.5:
                self._launch(name)
                while name in self._starting:
                    await world.clock.advance(0.1)
                    await self._bury()
        assert world.nodes, "a node could not start in peace"
        await world.clock.advance_until(lambda: all(task.done() for task in self._draining))
        for name in world.nodes:
            self._drain(world.now, name, draining=False)
        self._beat()
        await world.clock.advance(AFTERWARDS_S)

    async def _quiet(self) -> None:
        """No more slots; then until all that was open has ended."""
        world = self.world
        await world.clock.advance_until(lambda: not self.people.busy)
        while self.people.pausing:
            await world.clock.advance(0.1)
        for scope, scope_id in {(one.scope, one.scope_id) for one in self.people.pauses}:
            life = self.rng.choice(world.serving())
            await world.do(self.people.resume(life, scope, scope_id), by=life)
        self.note("no more slots")
        for job_id in self.people.jobs:
            if not self.people.is_over(job_id):
                life = self.rng.choice(world.serving())
                await world.do(self.people.edit(life, job_id, "disable"), by=life)
        for second in range(QUIET_S):
            if second % 10 == 0:
                self._beat()
            await world.clock.advance(1)
            if second >= AFTERWARDS_S and self._is_over():
                break
        await world.clock.advance(1)

    def _is_over(self) -> bool:
        """Nothing is open, and nobody has anything in memory that might be."""
        return not self.world.server.open_runs() and not any(
            len(life.context.flights) for life in self.world.nodes.values()
        )
