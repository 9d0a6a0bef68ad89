"""What every stage of one node shares."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gateway.core.clock import Clock
from gateway.core.cluster import Holding
from gateway.core.gate import Gate
from gateway.core.inflight import InFlight
from gateway.core.journal import Journal
from gateway.core.model import Counters
from gateway.core.pauses import Pauses
from gateway.core.ports import ExecutorLink, IdSource, JobReader, RunReader, Signals, Writer
from gateway.core.registry import Registry
from gateway.core.specs import Specs
from gateway.core.work import Lease


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

    def __post_init__(self) -> None:
        self.journal = Journal(self.counters)
        self.gate = Gate(self.registry.app)
