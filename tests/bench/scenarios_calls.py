"""Scenarios about calls to the gateway: results, manual triggers, beats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from figures import Figure
from scenarios_fires import SUCCEEDED, Options
from stage import APP, Bench, Stage, sleep_until_ms

MAKING_RATE = 4000  # fires/s while open runs are made
LINES = {1: (128, 12_000), 20: (32, 60_000)}  # results a call → connections, results/s to have at hand
TRIGGER_LINES = 64
RUNNING = 4


def results(bench: Bench, options: Options) -> Iterator[Figure]:
    """Open runs are made by a schedule first, then their results are reported as fast as they are taken."""
    seconds = max(1.0, min(4.0, options.seconds / 5))
    wanted = {per_call: int(rate * seconds) for per_call, (_, rate) in LINES.items()}
    with bench.stage() as stage:
        stage.open()
        jobs = stage.create_jobs(MAKING_RATE, spread=True)
        making_s = -(-sum(wanted.values()) // MAKING_RATE)
        options.say(f"making {sum(wanted.values()):,} open runs, {making_s} s")
        jobs = stage.begin(jobs)
        sleep_until_ms(jobs.start_ms + making_s * 1000)
        stage.end(jobs)
        waiting = stage.query(f"SELECT id, trigger_ms FROM run WHERE state = {RUNNING} ORDER BY id")
        time.sleep(2)
        taken = 0
        for per_call, count in wanted.items():
            part = waiting[taken : taken + count]
            taken += count
            yield _report(stage, options, part, per_call)


def _report(stage: Stage, options: Options, part: Any, per_call: int) -> Figure:
    connections = LINES[per_call][0]
    ids = stage.directory / f"ids-{per_call}"
    ids.write_text("".join(f"{run_id} {trigger_ms}\n" for run_id, trigger_ms in part))
    stored_before, spooled_before = _stored(stage), stage.spooled()
    before = stage.usage()
    report = stage.load(
        "callbacks", "--ids", ids, "--per-call", per_call, "--connections", connections, "--seconds", 60
    )
    after = stage.usage()
    stored = _stored(stage) - stored_before
    spooled = stage.spooled() - spooled_before
    rate, latency = report["items_per_second"], report["latency_ms"]
    missing = report["items"] - stored
    figure = Figure(
        f"results stored/s (durable before the answer), {per_call} per call",
        f"results_{per_call}",
        (rate,),
        f"{rate:,.0f}",
        after.since(before, seconds=report["seconds"], load=report["cpu_seconds"]),
        spoiled=_wrong(report, missing - spooled, "answered and not stored"),
        notes=[
            f"{report['items']:,} results in {report['seconds']:.1f} s over {connections} connections",
            f"answered after p50 {latency['p50']} / p99 {latency['p99']} ms",
            *([f"{spooled:,} of them went through the spool"] if spooled else []),
        ],
        detail=report | {"stored": stored, "spooled": spooled},
    )
    options.say(f"  {figure.name}: {figure.reached} {figure.spoiled}")
    return figure


def _stored(stage: Stage) -> int:
    return int(stage.query(f"SELECT COUNT(*) FROM run WHERE state = {SUCCEEDED}")[0][0])


def _wrong(report: dict[str, Any], missing: int, what: str) -> str:
    errors = sum(report["errors"].values())
    found = [f"{missing:,} {what}" if missing > 0 else ""]
    found.append(f"{errors:,} errors ({next(iter(report['errors']))})" if errors else "")
    return ", ".join(filter(None, found))


def triggers(bench: Bench, options: Options) -> Iterator[Figure]:
    with bench.stage() as stage:
        stage.open()
        jobs = stage.create_jobs(100, kind="api", enabled=True)
        seconds = min(10, options.seconds)
        ids = stage.directory / "triggered"
        options.say(f"manual triggers, {seconds} s")
        before = stage.usage()
        report = stage.load(
            "triggers",
            *("--jobs", f"{jobs.first_id}-{jobs.last_id}", "--connections", TRIGGER_LINES),
            *("--seconds", seconds, "--ids-out", ids),
        )
        after = stage.usage()
        time.sleep(3)
        answered = set(map(int, ids.read_text().split()))
        got = [receipt.run_id for receipt in stage.records()]
        rows = stage.rows()
    wrong = [
        _wrong(report, report["items"] - len(answered), "answers without an id of their own"),
        f"{n:,} without a row" if (n := len(answered - rows.keys())) else "",
        f"{n:,} not started within 3 s" if (n := len(answered - set(got))) else "",
        f"{n:,} started twice" if (n := len(got) - len(set(got))) else "",
    ]
    rate, latency = report["items_per_second"], report["latency_ms"]
    yield Figure(
        "manual triggers/s, each with its run id",
        "triggers",
        (rate,),
        f"{rate:,.0f}",
        after.since(before, seconds=report["seconds"], load=report["cpu_seconds"]),
        spoiled=", ".join(filter(None, wrong)),
        notes=[
            f"over {TRIGGER_LINES} connections, answered after p50 {latency['p50']} / p99 {latency['p99']} ms",
            "all of them started at the executors as well",
        ],
        detail=report | {"started": len(got)},
    )


def beats(bench: Bench, options: Options) -> Iterator[Figure]:
    """A thousand executors whose beats come at the same moment, each over a connection of its own."""
    count = 1000
    options.say(f"{count:,} executors beat at once")
    with bench.stage() as stage:
        stage.gateway.start(60)
        stage.api.create_app(APP)
        reports, usages = [], [stage.usage()]
        for _ in range(3):
            reports.append(
                stage.load(
                    "beats", "--app", APP, "--addresses", count, "--count", count, "--connections", count
                )
            )
            usages.append(stage.usage())
            time.sleep(1)
        known = len(stage.api.online(APP))
    wrong = [_wrong(report, count - report["items"], "not answered") for report in reports]
    wrong.append(f"{known:,} of {count:,} known" if known != count else "")
    again = reports[1:]
    worst = max(again, key=lambda report: report["seconds"])
    number = reports.index(worst)
    yield Figure(
        f"registry: {count:,} executors beating within one second, all answered in",
        None,
        (worst["seconds"],),
        f"{worst['seconds']:.2f} s",
        usages[number + 1].since(usages[number], seconds=worst["seconds"], load=worst["cpu_seconds"]),
        spoiled=", ".join(filter(None, wrong)),
        notes=[
            f"p99 of a beat {worst['latency_ms']['p99']} ms",
            f"their first registration: {reports[0]['seconds']:.2f} s",
            "all at one moment, connections opened for it",
        ],
        detail={"first": reports[0], "again": again},
    )
