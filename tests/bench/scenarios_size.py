"""Scenarios about size: many jobs that rest, many jobs that fire, many runs that are over."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

from figures import Figure
from history import load_history
from oracle import Jobs
from scenarios_fires import (
    Counting,
    Options,
    Step,
    cost_lines,
    cpu_per_thousand,
    run_step,
    statements_and_commits,
    watch,
)
from scenarios_life import timed_start
from stage import Bench, Stage

RESTING = (1000, 100_000)
FIRING = (1000, 10_000, 100_000)
RATE = 1000
FEW_RUNS = 100  # of each job, so that lists have something to show
CALM_S = 5  # after a start, until nothing of it is left
ASKED = 20
STARTS = 3


def idle(bench: Bench, options: Options) -> Iterator[Figure]:
    """What jobs cost that are not due: processor, statements, memory of a freshly started owner."""
    memory: dict[int, float] = {}
    for count in RESTING:
        options.say(f"{count:,} jobs, none of them due")
        with bench.stage(nodes=1, workers=1) as stage:
            stage.start_gateway()
            stage.create_jobs(count, kind="cron", enabled=True)
            # Creating them leaves memory behind that an owner who only has them does not need.
            stage.gateway.stop()
            stage.gateway.start(60)
            time.sleep(CALM_S)
            before, counted = stage.usage(), Counting(stage)
            time.sleep(options.seconds)
            after, counts = stage.usage(), counted.since()
            found = stage.nodes.memory()
        cores = after.since(before)
        memory[count] = found["rss"]
        used = cores.gateway + (cores.database or 0)
        statements, commits, notes = statements_and_commits(counts)
        yield Figure(
            f"idle with {count:,} jobs, none of them due: CPU cores, product + database",
            None,
            (used,),
            f"{used:.3f}",
            cores,
            notes=[f"over {options.seconds} s, no executors"],
            detail={"memory": found, "counts": counts},
        )
        yield Figure(
            f"idle with {count:,} jobs: statements/s; commits/s",
            None,
            (statements / options.seconds, commits / options.seconds),
            f"{statements / options.seconds:.1f}; {commits / options.seconds:.1f}",
            notes=notes,
            detail=counts,
        )
    few, many = RESTING
    each = (memory[many] - memory[few]) * 1024 * 1024 / (many - few)
    yield Figure(
        "memory for each idle job in its owner (resident)",
        "idle_job",
        (each,),
        f"{each:.0f} B",
        notes=[", ".join(f"{found:.1f} MB with {count:,} jobs" for count, found in memory.items())],
        detail={str(count): found for count, found in memory.items()},
    )


def scaling(bench: Bench, options: Options) -> Iterator[Figure]:
    """The same rate from ever more jobs: what a fire costs must not depend on how many jobs there are."""
    costs: dict[int, tuple[float, float]] = {}
    for count in FIRING:
        every_s = count // RATE
        step = run_step(bench, options, RATE, spread=True, every_s=every_s)
        found, fires = step.verdict, step.verdict.received or 1
        statements, _, notes = statements_and_commits(step.counts)
        cpu = cpu_per_thousand(step, options.seconds)
        costs[count] = cpu, statements / fires
        yield Figure(
            f"{RATE:,} fires/s from {count:,} jobs (one each {every_s} s): CPU seconds per 1,000 fires",
            None,
            (cpu,),
            f"{cpu:.3f}",
            step.cores,
            spoiled=found.faults(),
            notes=[
                f"lateness p50 {found.ms('p50'):.1f} / p99 {found.ms('p99'):.1f} ms",
                f"{statements / fires:.3f} statements per fire",
                *notes,
            ],
            detail=step.detail(),
        )
    few, some, many = FIRING
    for first, last in ((few, some), (some, many)):
        cpu, statements = (costs[last][part] / max(costs[first][part], 1e-9) for part in (0, 1))
        yield Figure(
            f"growth of CPU per fire from {first:,} to {last:,} jobs",
            "flat",
            (cpu,),
            f"{cpu:.2f} times",
            notes=[f"statements per fire {statements:.2f} times"],
        )


def history(bench: Bench, options: Options) -> Iterator[Figure]:
    """1,000 fires/s on the second, the start and two lists, on a database with few and with many runs that are over."""
    if bench.server is None:
        options.say("finished rows are made by MariaDB's sequences: no history with SQLite")
        return
    found: dict[int, dict[str, float]] = {}
    for rows in (FEW_RUNS * RATE, options.history_rows):
        options.say(f"{rows:,} finished runs")
        with bench.stage(nodes=1) as stage:
            stage.start_gateway()
            jobs = stage.create_jobs(RATE)
            loaded = load_history(bench, stage.sql, jobs, rows, options.say)
            asked = _ask(stage, jobs)
            stage.start_fleet("none")
            step = watch(stage, stage.begin(jobs), RATE, options.seconds, stored=False)
        options.say(f"  {step.text()}; cores {step.cores}")
        statements, commits, _ = statements_and_commits(step.counts)
        fires = step.verdict.received or 1
        found[rows] = {
            "CPU per fire": cpu_per_thousand(step, options.seconds),
            "statements per fire": statements / fires,
            "commits per fire": commits / fires,
            "lateness p50": step.verdict.ms("p50"),
            **asked,
        }
        yield from _history_lines(step, rows, asked, loaded, options)
    few, many = found.values()
    ratios = {name: many[name] / max(few[name], 1e-9) for name in few}
    name, worst = max(ratios.items(), key=lambda item: item[1])
    yield Figure(
        f"{options.history_rows:,} finished runs against {FEW_RUNS * RATE:,}: what grew most",
        "unchanged",
        (worst,),
        f"{name} {worst:.2f} times",
        notes=[f"{name} {ratio:.2f}" for name, ratio in ratios.items()],
        detail={"few": few, "many": many},
    )


def _history_lines(
    step: Step, rows: int, asked: dict[str, float], loaded: dict[str, Any], options: Options
) -> Iterator[Figure]:
    what = f"{rows:,} finished runs in the database"
    found = step.verdict
    yield Figure(
        f"lateness at {RATE:,} fires/s on the second, p50 / p99, {what}",
        None,
        (found.ms("p50"), found.ms("p99")),
        f"{found.ms('p50'):.1f} / {found.ms('p99'):.1f} ms",
        step.cores,
        spoiled=found.faults(),
        notes=[f"made in {loaded['seconds']:.0f} s, {loaded['gigabytes']:.2f} GB"],
        detail=step.detail() | {"loaded": loaded},
    )
    yield from cost_lines(step, what, options.seconds)
    yield Figure(
        f"start to 200 of /readyz; GET /runs?limit=50; GET /runs?job_id=… ({what})",
        None,
        tuple(asked.values()),
        f"{asked['start']:.2f} s; {asked['list']:.1f} ms; {asked['list of a job']:.1f} ms",
        notes=[f"medians of {STARTS} starts and {ASKED} answers"],
        detail=asked,
    )


def _ask(stage: Stage, jobs: Jobs) -> dict[str, float]:
    """Seconds of a start, and ms of two lists."""
    starts = []
    for _ in range(STARTS):
        stage.gateway.stop()
        starts.append(timed_start(stage)[1])
    middle = (jobs.first_id + jobs.last_id) // 2
    return {
        "start": statistics.median(starts),
        "list": _answer_ms(stage, "/api/v1/runs?limit=50"),
        "list of a job": _answer_ms(stage, f"/api/v1/runs?job_id={middle}"),
    }


def _answer_ms(stage: Stage, path: str) -> float:
    taken = []
    for _ in range(ASKED):
        started = time.perf_counter()
        stage.api.call("GET", path)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)
