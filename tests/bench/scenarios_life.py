"""Scenarios about the life of the process: killed and started again, start-up, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from figures import Figure
from nodes import until_answer
from oracle import Receipt, Verdict, as_detail, judge
from scenarios_fires import SUCCEEDED, WARM_S, Options
from stage import APP, Bench, Stage, sleep_until_ms

from tests.e2e.gateway_process import run_command

RATE = 200
AFTER_S = 5
SETTLE_S = 8  # after the last slot: questions about doubtful sends are asked again and again
STARTS = 5
STOP_S = 30


def crash(bench: Bench, options: Options) -> Iterator[Figure]:
    """SIGKILL in the middle of 200 fires/s, started again at once; `misfire_after_s` 60, results in batches."""
    yield _interrupted(bench, options, "kill -9 and restart", "crash", lambda stage: stage.nodes.kill())


def restart(bench: Bench, options: Options) -> Iterator[Figure]:
    """The same with SIGTERM: started again when it has ended in order."""
    yield _interrupted(
        bench, options, "clean stop and restart", "crash", lambda stage: stage.gateway.stop(STOP_S)
    )


def _interrupted(
    bench: Bench, options: Options, what: str, target: str, stop: Callable[[Stage], object]
) -> Figure:
    options.say(f"{what} at {RATE} fires/s")
    seconds = max(15, options.seconds)
    with bench.stage(nodes=1) as stage:
        stage.open("batch")
        jobs = stage.begin(stage.create_jobs(RATE, spread=True, misfire_after_s=60))
        from_ms = jobs.start_ms + 3000
        until_ms = from_ms + seconds * 1000
        sleep_until_ms(from_ms + AFTER_S * 1000 + 400)
        stopped_ms = time.time() * 1000
        stop(stage)
        ended_s = time.time() - stopped_ms / 1000
        stage.gateway.process.start()
        ready_s = until_answer(stage.gateway, "/readyz", time.monotonic())
        sleep_until_ms(until_ms + SETTLE_S * 1000)
        got = stage.records()
        stage.nodes.kill()
        rows = stage.rows()
    found = judge(jobs, from_ms, until_ms, got, rows)
    silent_s = longest_pause_s(got, stopped_ms - 1000)
    figure = Figure(
        f"{what} at {RATE} fires/s: silence, slots missed, started twice",
        target,
        (found.missed + found.slots_without_row, found.twice),
        f"{silent_s:.1f} s silent, {found.missed} missed, {found.twice} twice of {found.due:,}",
        spoiled=faults_of(found),
        notes=[
            f"ended {ended_s:.2f} s after the signal, ready {ready_s:.2f} s after the new start",
            *endings(found),
        ],
        detail=as_detail(found) | {"silent_s": silent_s, "ready_s": ready_s, "ended_s": ended_s},
    )
    options.say(f"  {figure.reached} {figure.spoiled}")
    return figure


def faults_of(found: Verdict) -> str:
    """As `Verdict.faults`, where slots without a row count as well."""
    without = found.slots_without_row
    return ", ".join(filter(None, [found.faults(), f"{without:,} slots without a row" if without else ""]))


def endings(found: Verdict) -> list[str]:
    """Notes: how late the latest was, and what became of the runs."""
    other = {state: count for state, count in found.states.items() if state != SUCCEEDED}
    return [
        f"latest slot {found.last_after_ms / 1000:.2f} s late" if found.received else "nothing received",
        f"not succeeded in the end, by state: {other}" if other else "every result stored",
    ]


def longest_pause_s(got: Iterable[Receipt], from_ms: float) -> float:
    """Between two arrivals after that moment; infinite if there are no two."""
    times = sorted(receipt.arrived_ns / 1e9 for receipt in got if receipt.arrived_ns / 1e6 >= from_ms)
    return max((later - earlier for earlier, later in pairwise(times)), default=float("inf"))


def start(bench: Bench, options: Options) -> Iterator[Figure]:
    """Time to the first answer, on an empty and on an existing database, and memory."""
    options.say("start-up and memory")
    with bench.stage(nodes=1) as stage:
        migrated_s = _migrate(stage)
        first = timed_start(stage)
        stage.api.create_app(APP)
        stage.create_jobs(1000, kind="cron", enabled=True)
        again: list[tuple[float, float]] = []
        for _ in range(STARTS):
            stage.gateway.stop()
            again.append(timed_start(stage))
        time.sleep(min(15, options.seconds))
        idle = stage.nodes.memory()
        stage.start_fleet("batch")
        jobs = stage.begin(stage.create_jobs(1000, spread=True))
        sleep_until_ms(jobs.start_ms + (WARM_S + options.seconds) * 1000)
        busy = stage.nodes.memory()
        fires = stage.fleet_stats()["received"]
    answered, ready = (statistics.median(times) for times in zip(*again, strict=True))
    yield Figure(
        "time from process start to the first HTTP answer, existing database, 1,000 jobs",
        "first_answer",
        (answered,),
        f"{answered:.2f} s",
        notes=[
            f"/readyz says 200 after {ready:.2f} s",
            f"median of {STARTS} starts, largest {max(one for one, _ in again):.2f} s",
        ],
        detail={"starts": again},
    )
    yield Figure(
        "the same, first start on an empty database",
        None,
        (first[0],),
        f"{first[0]:.2f} s",
        notes=[
            f"/readyz says 200 after {first[1]:.2f} s",
            "the schema is made by serve"
            if migrated_s is None
            else f"after `migrate`, which took {migrated_s:.2f} s",
        ],
        detail={"first": first, "migrate_s": migrated_s},
    )
    yield _memory("memory idle (resident), 1,000 jobs not due", idle, "after the start, nothing done yet")
    yield _memory(
        "memory at 1,000 fires/s (resident)", busy, f"with results, after {fires:,} fires, 2,000 jobs"
    )


def _memory(name: str, found: dict[str, float], note: str) -> Figure:
    return Figure(
        name,
        "memory",
        (found["rss"],),
        f"{found['rss']:.0f} MB",
        notes=[f"at its highest {found['peak']:.0f} MB", note],
        detail=dict[str, Any](found),
    )


def _migrate(stage: Stage) -> float | None:
    if stage.url is None:
        return None
    started = time.monotonic()
    done = run_command("migrate", "--database-url", stage.url)
    if done.code:
        raise RuntimeError(f"migrate: {done.errors}")
    return time.monotonic() - started


def timed_start(stage: Stage) -> tuple[float, float]:
    """Seconds from the start of the process to the first answer, and to 200 of /readyz."""
    started = time.monotonic()
    stage.gateway.process.start()
    answered = until_answer(stage.gateway, "/healthz", started)
    return answered, until_answer(stage.gateway, "/readyz", started)
