"""Scenarios about starting what is due: steady rates, lateness, bursts, what a fire costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from figures import Cores, Figure
from oracle import Jobs, Verdict, as_detail, judge
from stage import Bench, Stage, sleep_until_ms

WARM_S = 8  # the first look plans several seconds at once, and nothing is in the caches yet
DRAIN_S = 3  # how long after the window its last slots may still arrive
LATE_MS = 1000
SUCCEEDED = 10
OWN_COUNTERS = ("statements", "commits")
RESULTS = (("none", "without results"), ("batch", "with results, 20 a call"))


@dataclass(frozen=True)
class Options:
    seconds: int
    rates: tuple[int, ...]
    rates_results: tuple[int, ...]
    every_s: int
    cost_rates: tuple[int, ...]
    history_rows: int
    say: Callable[[str], None]


@dataclass
class Step:
    """One steady rate over one window."""

    rate: int
    verdict: Verdict
    cores: Cores
    counts: dict[str, float] = field(default_factory=dict)
    not_stored: int = 0  # results that were not in the database at the end

    @property
    def held(self) -> bool:
        return self.verdict.clean and self.verdict.ms("p99") < LATE_MS and not self.not_stored

    def text(self) -> str:
        found = self.verdict
        faults = [found.faults(), f"{self.not_stored:,} results not stored" if self.not_stored else ""]
        what = ", ".join(filter(None, faults)) or "nothing missed"
        return f"{self.rate:,}/s: {what}, p50 {found.ms('p50'):.1f} / p99 {found.ms('p99'):.1f} ms"

    def detail(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "held": self.held,
            "not_stored": self.not_stored,
            "cores": vars(self.cores),
            "counts": self.counts,
            **as_detail(self.verdict),
        }


def run_step(
    bench: Bench,
    options: Options,
    rate: int,
    *,
    spread: bool,
    callbacks: str = "none",
    every_s: int | None = None,
) -> Step:
    every_s = (every_s or options.every_s) if spread else 1
    how = "spread" if spread else "on the second"
    options.say(f"{rate:,}/s from {rate * every_s:,} jobs, {how}, results {callbacks}")
    with bench.stage() as stage:
        stage.open(callbacks)
        jobs = stage.begin(stage.create_jobs(rate * every_s, every_s=every_s, spread=spread))
        step = watch(stage, jobs, rate, options.seconds, stored=callbacks != "none")
    options.say(f"  {step.text()}; cores {step.cores}")
    return step


def watch(stage: Stage, jobs: Jobs, rate: int, seconds: int, *, stored: bool) -> Step:
    """Judge a window of a running schedule. The gateway is dead afterwards."""
    from_ms = jobs.start_ms + WARM_S * 1000
    until_ms = from_ms + seconds * 1000
    sleep_until_ms(from_ms)
    before, counted = stage.usage(), Counting(stage)
    sleep_until_ms(until_ms)
    after, counts = stage.usage(), counted.since()
    sleep_until_ms(until_ms + DRAIN_S * 1000)
    got = stage.records()
    stage.nodes.kill()
    verdict = judge(jobs, from_ms, until_ms, got, stage.rows())
    return Step(
        rate,
        verdict,
        after.since(before),
        counts,
        verdict.due - verdict.states.get(SUCCEEDED, 0) if stored else 0,
    )


class Counting:
    """Counters of both sides from its making on. What a side does not count is missing."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._own = stage.nodes.counters(OWN_COUNTERS)
        self._database = stage.sql.counts()

    def since(self) -> dict[str, float]:
        database = self._stage.sql.between(self._database, self._stage.sql.counts())
        own = self._stage.nodes.counters(OWN_COUNTERS)
        both = {name: value - self._own[name] for name, value in own.items() if name in self._own}
        if database:
            ends = database["Com_begin"] + database["Com_commit"] + database["Com_rollback"]
            both["database_statements"] = database["Questions"] - ends
            both["database_commits"] = database["Com_commit"]
            both["database_fsyncs"] = database["Innodb_data_fsyncs"]
        return both


def statements_and_commits(counts: dict[str, float]) -> tuple[float, float, list[str]]:
    """As the database counted them, else as the gateway's writer did; and notes on that."""
    if "database_statements" in counts:
        return (
            counts["database_statements"],
            counts["database_commits"],
            ["as the database counted them, reads included"],
        )
    return counts["statements"], counts["commits"], ["the gateway's writer only: SQLite counts nothing"]


def climb(
    bench: Bench, options: Options, name: str, target: str | None, rates: Sequence[int], **how: Any
) -> Figure:
    """Rate after rate until one is not held: the highest that was."""
    steps: list[Step] = []
    for rate in rates:
        steps.append(run_step(bench, options, rate, **how))
        if not steps[-1].held:
            break
    held = [step for step in steps if step.held]
    notes = [] if steps[-1].held else [f"not held: {steps[-1].text()}"]
    if steps[-1].held:
        notes.append("the highest rate that was tried")
    best = held[-1] if held else None
    return Figure(
        name,
        target,
        (best.rate if best else 0,),
        _rate_text(best) if best else "none held",
        (best or steps[-1]).cores,
        notes=notes,
        detail={"steps": [step.detail() for step in steps]},
    )


def _rate_text(step: Step) -> str:
    return f"{step.rate:,} (p50 {step.verdict.ms('p50'):.1f} / p99 {step.verdict.ms('p99'):.1f} ms)"


def steady(bench: Bench, options: Options) -> Iterator[Figure]:
    kind = "steady fires/s, nothing missed, p99 < 1 s"
    rates = options.rates
    yield climb(bench, options, f"{kind}, (a) without results, spread", "steady", rates, spread=True)
    yield climb(bench, options, f"{kind}, (a) without results, all on the second", None, rates, spread=False)
    batch = {"callbacks": "batch"}
    yield climb(
        bench,
        options,
        f"{kind}, (b) with results, 20 a call, spread",
        "steady_results",
        options.rates_results,
        spread=True,
        **batch,
    )
    yield climb(
        bench,
        options,
        f"{kind}, (b) with results, 20 a call, all on the second",
        None,
        options.rates_results,
        spread=False,
        **batch,
    )


def lateness(bench: Bench, options: Options) -> Iterator[Figure]:
    for spread, how in ((True, "spread"), (False, "all on the second")):
        step = run_step(bench, options, 1000, spread=spread)
        found = step.verdict
        by_log, read = found.lateness_of_log_date, found.lateness_read
        yield Figure(
            f"lateness at 1,000 fires/s, p50 / p99, {how}",
            "lateness",
            (found.ms("p50"), found.ms("p99")),
            f"{found.ms('p50'):.1f} / {found.ms('p99'):.1f} ms",
            step.cores,
            spoiled=found.faults(),
            notes=[
                f"largest {found.ms('max'):.0f} ms",
                f"read by the fleet's one process after {read['p50'] or 0:.1f} / {read['p99'] or 0:.1f} ms",
                f"from logDateTime {by_log['p50'] or 0:.1f} / {by_log['p99'] or 0:.1f} ms",
            ],
            detail=step.detail(),
        )


def bursts(bench: Bench, options: Options) -> Iterator[Figure]:
    for count, gap_s in ((5000, 12), (20000, 20)):
        yield _burst(bench, options, count, gap_s)


def _burst(bench: Bench, options: Options, count: int, gap_s: int) -> Figure:
    options.say(f"{count:,} jobs due at one instant, twice")
    with bench.stage() as stage:
        stage.open()
        jobs = stage.begin(stage.create_jobs(count, every_s=gap_s))
        windows = [(jobs.start_ms + n * gap_s * 1000, jobs.start_ms + n * gap_s * 1000 + 1) for n in (0, 1)]
        sleep_until_ms(windows[0][0] - 2000)
        before = stage.usage()
        sleep_until_ms(windows[1][0] + (gap_s - 4) * 1000)
        after = stage.usage()
        got = stage.records()
        stage.nodes.kill()
        rows = stage.rows()
    found = [judge(jobs, from_ms, until_ms, got, rows) for from_ms, until_ms in windows]
    last_s = [verdict.last_after_ms / 1000 for verdict in found]
    figure = Figure(
        f"{count:,} jobs due in one second (one instant), last received after",
        f"burst_{count}",
        (max(last_s),),
        " and ".join(f"{seconds:.2f} s" for seconds in last_s),
        after.since(before),
        spoiled=", ".join(filter(None, (verdict.faults() for verdict in found))),
        notes=[
            *(f"p50 {verdict.ms('p50'):.0f} / p99 {verdict.ms('p99'):.0f} ms" for verdict in found),
            f"cores over {gap_s * 2 - 2} s with both bursts",
        ],
        detail={"bursts": [as_detail(verdict) for verdict in found]},
    )
    options.say(f"  {figure.reached} {figure.spoiled}")
    return figure


def cost(bench: Bench, options: Options) -> Iterator[Figure]:
    for callbacks, how in RESULTS:
        step = run_step(bench, options, 1000, spread=False, callbacks=callbacks)
        what = f"1,000/s on the second, {how}"
        yield from cost_lines(step, what, options.seconds, targeted=callbacks == "none")
    for rate in options.cost_rates:
        for callbacks, how in RESULTS:
            step = run_step(bench, options, rate, spread=True, callbacks=callbacks)
            yield from cost_lines(step, f"{rate:,}/s spread, {how}", options.seconds)


def cpu_per_thousand(step: Step, seconds: int) -> float:
    """CPU seconds of gateway and database for 1,000 fires, with what both use when idle."""
    used = (step.cores.gateway + (step.cores.database or 0)) * seconds
    return 1000 * used / (step.verdict.received or 1)


def cost_lines(step: Step, what: str, seconds: int, *, targeted: bool = False) -> Iterator[Figure]:
    fires, counts = step.verdict.received or 1, step.counts
    statements, commits, notes = statements_and_commits(counts)
    if "database_statements" in counts:
        if "statements" in counts:
            own = f"{counts['statements'] / fires:.4f}; {1000 * counts['commits'] / fires:.1f}"
            notes.append(f"what the gateway's writers count: {own}")
        notes.append(f"{1000 * counts['database_fsyncs'] / fires:.1f} fsyncs of the database per 1,000 fires")
    per_fire, per_thousand = statements / fires, 1000 * commits / fires
    yield Figure(
        f"database statements per fire; commits per 1,000 fires ({what})",
        "statements" if targeted else None,
        (per_fire, per_thousand),
        f"{per_fire:.3f}; {per_thousand:.1f}",
        step.cores,
        spoiled=step.verdict.faults(),
        notes=notes,
        detail=step.detail(),
    )
    cpu = cpu_per_thousand(step, seconds)
    yield Figure(
        f"CPU seconds per 1,000 fires, product + database ({what})",
        "cpu" if targeted else None,
        (cpu,),
        f"{cpu:.3f}",
        step.cores,
        spoiled=step.verdict.faults(),
        notes=["with what both use when idle"],
        detail={"cpu_seconds_per_1000": cpu, "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S")},
    )
