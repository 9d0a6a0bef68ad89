"""What every stage of one node shares."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.clock import Clock
from gateway.core.cluster import Holding
from gateway.core.events import Level, Source
from gateway.core.gate import Gate
from gateway.core.inflight import InFlight
from gateway.core.journal import Journal
from gateway.core.model import Counters
from gateway.core.pauses import Pauses
from gateway.core.ports import ExecutorLink, IdSource, JobReader, RunReader, Signals, Writer
from gateway.core.registry import Registry
from gateway.core.specs import Specs
from gateway.core.work import Lease

IDS_RUN_OUT = 0.8
WARN_EVERY_S = 3600.0


class NoSignals:
    """Production: nobody waits at the named points."""

    def reached(self, point: str, ids: object) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Time constants of the flow, in milliseconds unless named otherwise."""

    plan_every_ms: int = 1000
    plan_near_ms: int = 3000
    plan_far_ms: int = 5000
    claim_lead_ms: int = 180
    tick_ms: int = 40
    lease_ms: int = 2000
    lease_margin_ms: int = 500
    renew_every_ms: int = 500
    clock_limit_ms: int = 2000
    hand_over_wait_s: float = 0.5
    answer_wait_s: float = 4.0
    sweep_every_s: float = 30.0
    sweep_confirm_ms: int = 60_000
    settle_ask_s: float = 1.0
    settle_gap_ms: int = 2000
    settle_give_up_ms: int = 60_000
    spool_after_s: float = 0.5
    report_limit_s: float = 0.8
    stop_grace_s: float = 5.0


@dataclass(slots=True, eq=False)
class Context:
    clock: Clock
    writer: Writer
    jobs: JobReader
    runs: RunReader
    link: ExecutorLink
    run_ids: IdSource
    specs: Specs
    registry: Registry
    lease: Lease
    tuning: Tuning = field(default_factory=Tuning)
    signals: Signals = field(default_factory=NoSignals)
    flights: InFlight = field(default_factory=InFlight)
    counters: Counters = field(default_factory=Counters)
    pauses: Pauses = field(default_factory=Pauses)
    held: Holding = field(default_factory=Holding)
    chance: random.Random = field(default_factory=random.Random)
    journal: Journal = field(init=False)
    gate: Gate = field(init=False)
    int_ids: IdSource | None = None
    _warned_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.journal = Journal(self.counters)
        self.gate = Gate(self.registry.app)

    # ------------------------------------------------------------ ids of runs

    def ids_of(self, app_id: int) -> IdSource:
        """Where runs of this app get their ids: executors up to 2.1.0 keep them in 32 bits."""
        if self.int_ids is not None and app_id in self.registry.int_apps:
            return self.int_ids
        return self.run_ids

    async def draw_ids(self, app_ids: Sequence[int]) -> Sequence[int]:
        """An id for a run of each of these apps."""
        sources = [self.ids_of(app_id) for app_id in app_ids]
        short = sources.count(self.int_ids) if self.int_ids is not None else 0
        if self.int_ids is None or not short:
            return await self.run_ids.draw(len(app_ids))
        ids = {True: iter(await self.int_ids.draw(short))}
        ids[False] = iter(await self.run_ids.draw(len(app_ids) - short))
        return [next(ids[source is self.int_ids]) for source in sources]

    async def refill_ids(self) -> None:
        await self.run_ids.refill()
        if self.int_ids is None or not self.registry.int_apps:
            return
        await self.int_ids.refill()
        used, now = self.int_ids.used(), self.clock.monotonic()
        if used >= IDS_RUN_OUT and now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            text = (
                f"{used:.0%} of the log ids of 32 bits have been given out, which executors up to 2.1.0 need"
            )
            now_ms = self.clock.now_ms()
            self.journal.note(now_ms, Level.WARN, Source.SYSTEM, "log ids", "ids_run_out", text)
