"""Scenarios about the life of the process: killed and started again, start-up, memory."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from figures import Figure
from machine import memory_of
from oracle import Receipt, as_detail, judge
from scenarios_fires import SUCCEEDED, WARM_S, Options
from stage import APP, Bench, Stage, sleep_until_ms

from tests.e2e.gateway_process import run_command

CRASH_RATE = 200
CRASH_AFTER_S = 5
SETTLE_S = 8  # after the last slot: questions about doubtful sends are asked again and again
STARTS = 5


def crash(bench: Bench, options: Options) -> Iterator[Figure]:
    """SIGKILL in the middle of 200 fires/s, started again at once; `misfire_after_s` 60, results in batches."""
    options.say(f"kill -9 and restart at {CRASH_RATE} fires/s")
    seconds = max(15, options.seconds)
    with bench.stage() as stage:
        stage.open("batch")
        jobs = stage.begin(stage.create_jobs(CRASH_RATE, spread=True, misfire_after_s=60))
        from_ms = jobs.start_ms + 3000
        until_ms = from_ms + seconds * 1000
        sleep_until_ms(from_ms + CRASH_AFTER_S * 1000 + 400)
        killed_ms = time.time() * 1000
        stage.gateway.kill()
        stage.gateway.process.start()
        first_s = _until_answer(stage, "/readyz", time.monotonic())
        sleep_until_ms(until_ms + SETTLE_S * 1000)
        got = stage.records()
        stage.gateway.kill()
        rows = stage.rows()
    found = judge(jobs, from_ms, until_ms, got, rows)
    wrong = [
        found.faults(),
        f"{found.slots_without_row:,} slots without a row" if found.slots_without_row else "",
    ]
    silent_s = _longest_gap_s(got, killed_ms - 1000)
    other = {state: count for state, count in found.states.items() if state != SUCCEEDED}
    figure = Figure(
        f"kill -9 and restart at {CRASH_RATE} fires/s: silence, slots missed, started twice",
        "crash",
        (found.missed + found.slots_without_row, found.twice),
        f"{silent_s:.1f} s silent, {found.missed} missed, {found.twice} twice of {found.due:,}",
        spoiled=", ".join(filter(None, wrong)),
        notes=[
            f"ready {first_s:.2f} s after the new start",
            f"latest slot {found.last_after_ms / 1000:.2f} s late" if found.received else "nothing received",
            f"not succeeded in the end, by state: {other}" if other else "every result stored",
        ],
        detail=as_detail(found) | {"silent_s": silent_s, "ready_s": first_s},
    )
    options.say(f"  {figure.reached} {figure.spoiled}")
    yield figure


def _longest_gap_s(got: list[Receipt], from_ms: float) -> float:
    times = sorted(receipt.received_ns / 1e9 for receipt in got if receipt.received_ns / 1e6 >= from_ms)
    return max((later - earlier for earlier, later in pairwise(times)), default=float("inf"))


def start(bench: Bench, options: Options) -> Iterator[Figure]:
    """Time to the first answer, on an empty and on an existing database, and memory."""
    options.say("start-up and memory")
    with bench.stage() as stage:
        migrated_s = _migrate(stage)
        first = _timed_start(stage)
        stage.api.create_app(APP)
        stage.create_jobs(1000, kind="cron", enabled=True)
        again: list[tuple[float, float]] = []
        for _ in range(STARTS):
            stage.gateway.stop()
            again.append(_timed_start(stage))
        time.sleep(min(15, options.seconds))
        idle = memory_of(stage.gateway.process.pid)
        stage.start_fleet("batch")
        jobs = stage.begin(stage.create_jobs(1000, spread=True))
        sleep_until_ms(jobs.start_ms + (WARM_S + options.seconds) * 1000)
        busy = memory_of(stage.gateway.process.pid)
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


def _timed_start(stage: Stage) -> tuple[float, float]:
    """Seconds from the start of the process to the first answer, and to 200 of /readyz."""
    started = time.monotonic()
    stage.gateway.process.start()
    answered = _until_answer(stage, "/healthz", started)
    return answered, _until_answer(stage, "/readyz", started)


def _until_answer(stage: Stage, path: str, started: float) -> float:
    """Asked every 5 ms; seconds since `started`."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", stage.gateway.port, timeout=10)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return time.monotonic() - started
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if not stage.gateway.alive or time.monotonic() - started > 60:
            raise AssertionError(f"no 200 from {path}\n{stage.gateway.process.tail()}")
        time.sleep(0.005)
