"""An old admin as a model: what it logs and stores for jobs that are due at multiples, and what went wrong with it.

Its slots are plain arithmetic: nothing of the scheduler's own schedule code is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.cron import parse_cron
from gateway.core.schedule import Cron
from gateway.core.zones import resolve_zone
from importer.shadow.values import Kind, Look, Row, SeenJob, Sign, Version
from importer.shadow.watch import START_MS, Watch

T0 = 1_790_000_400_000  # a full hour
SETTLE_MS = 120_000
EVERY_MS = 30_000
LAG_MS = 15_000
PRE_READ_MS = 5000

EXPRESSIONS = {
    10: "*/10 * * * * ?",
    20: "0/20 * * * * ?",
    60: "0 * * * * ?",
    300: "0 0/5 * * * ?",
    3600: "0 0 * * * ?",
}


def version(period_s: int, *, fires_once: bool = False, text: str = "") -> Version:
    expression = text or EXPRESSIONS[period_s]
    slots = Cron(parse_cron(expression), resolve_zone("UTC"))
    return Version((expression, fires_once), expression, slots, fires_once=fires_once)


def rated(rate_s: int, *, fires_once: bool = False) -> Version:
    return Version(("rate", rate_s), f"every {rate_s} s", rate_ms=rate_s * 1000, fires_once=fires_once)


@dataclass
class ModelJob:
    """`next_after` is the oracle of its slots, in ms."""

    id: int
    version: Version
    next_after: Callable[[int], int]
    updated_ms: int = T0 - 86_400_000
    running: bool = True
    # What it has logged: instant, kind, shard.
    logged: list[tuple[int, Kind, int]] = field(default_factory=list)
    # Whether a slot is passed over by the scheduler itself (a misfire), at an instant.
    taken_up: Callable[[int], bool] = lambda _: True
    sign: Callable[[int], Sign] | None = None

    def seen(self, at_ms: int) -> Sign:
        if self.sign is not None:
            return self.sign(at_ms)
        if not self.running:
            return Sign(running=False, updated_ms=self.updated_ms)
        next_ms = self.next_after(at_ms + PRE_READ_MS)
        last_ms = next_ms
        while last_ms >= next_ms or last_ms > at_ms + PRE_READ_MS:
            last_ms -= self.next_after(next_ms) - next_ms
        return Sign(running=True, last_ms=last_ms, next_ms=next_ms, updated_ms=self.updated_ms)


def multiples(period_s: int) -> Callable[[int], int]:
    period_ms = period_s * 1000
    return lambda at_ms: at_ms // period_ms * period_ms + period_ms


def slots_between(next_after: Callable[[int], int], start_ms: int, end_ms: int) -> list[int]:
    found, at_ms = [], next_after(start_ms - 1)
    while at_ms < end_ms:
        found.append(at_ms)
        at_ms = next_after(at_ms)
    return found


def seen(job: ModelJob, at_ms: int) -> SeenJob:
    return SeenJob(job.id, f"job {job.id}", "app", job.version, job.seen(at_ms))


def watched(
    jobs: Sequence[ModelJob],
    for_ms: int,
    *,
    every_ms: int = EVERY_MS,
    between: Callable[[int], None] = lambda _: None,
    changed: Callable[[int], Iterable[ModelJob]] = lambda _: (),
    strangers: Sequence[ModelJob] = (),
) -> Watch:
    """All slots of that long a time after the first ones that count are judged. `between` moves the world to an instant.

    `strangers` log as well, and are not watched.
    """
    watch = Watch(T0 + START_MS, SETTLE_MS)
    end_ms = T0 + START_MS + for_ms + SETTLE_MS + LAG_MS
    at_ms, given, first = T0, -1, True
    while True:
        between(at_ms)
        upto_ms = at_ms - LAG_MS
        logged = sorted(
            (when, job.id, kind, shard) for job in (*jobs, *strangers) for when, kind, shard in job.logged
        )
        rows = [
            Row(number, job_id, when, kind, shard)
            for number, (when, job_id, kind, shard) in enumerate(logged)
            if given < when <= upto_ms
        ]
        given = max(given, upto_ms)
        news = list(jobs) if first else list(changed(at_ms))
        signs = {job.id: job.seen(at_ms) for job in jobs}
        watch.observe(Look(at_ms, signs, [seen(job, at_ms) for job in news], rows, upto_ms))
        if at_ms >= end_ms:
            return watch
        at_ms, first = min(at_ms + every_ms, end_ms), False


def ends_at(for_ms: int) -> int:
    """Slots before this are judged by `watched`."""
    return T0 + START_MS + for_ms
