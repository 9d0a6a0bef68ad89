"""Scenarios about calls to the gateway: results, manual triggers, batches of them, beats."""

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
BATCH = 10_000
BATCH_LINES = 2
RUNNING = 4
EXECUTORS = 1000
REGISTRY_LINES = 64


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
        waiting = stage.sql.query(f"SELECT id, trigger_ms FROM run WHERE state = {RUNNING} ORDER BY id")
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
    stored_before, spooled_before = _stored(stage), _spooled(stage)
    before = stage.usage()
    report = stage.load(
        "callbacks", "--ids", ids, "--per-call", per_call, "--connections", connections, "--seconds", 60
    )
    after = stage.usage()
    stored = _stored(stage) - stored_before
    spooled = _spooled(stage) - spooled_before
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
    return int(stage.sql.query(f"SELECT COUNT(*) FROM run WHERE state = {SUCCEEDED}")[0][0])


def _spooled(stage: Stage) -> int:
    return int(sum(stage.nodes.counters(("results_spooled",)).values()))


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


def batches(bench: Bench, options: Options) -> Iterator[Figure]:
    """Ten thousand submissions a call, for an hour from now, so that no start is measured with them."""
    for named in (False, True):
        with bench.stage() as stage:
            stage.open()
            jobs = stage.create_jobs(BATCH_LINES, kind="api", enabled=True)
            seconds = min(10, options.seconds)
            ids = stage.directory / "submitted"
            what = "with a task id each" if named else "without names"
            options.say(f"batches of {BATCH:,}, {what}, {seconds} s")
            before = stage.usage()
            report = stage.load(
                "batches",
                *("--jobs", f"{jobs.first_id}-{jobs.last_id}", "--connections", BATCH_LINES),
                *("--per-call", BATCH, "--seconds", seconds, "--ids-out", ids),
                *(("--named",) if named else ()),
            )
            after = stage.usage()
            answered = set(map(int, ids.read_text().split()))
            rows = stage.rows()
            names = int(stage.sql.query("SELECT COUNT(*) FROM task")[0][0])
        wrong = [
            _wrong(report, report["items"] - len(answered), "answers without an id of their own"),
            f"{n:,} without a row" if (n := len(answered - rows.keys())) else "",
            f"{n:,} names for {report['items']:,}" if named and (n := names) != report["items"] else "",
        ]
        rate, latency = report["items_per_second"], report["latency_ms"]
        yield Figure(
            f"submissions/s in batches of {BATCH:,}, {what}",
            "batches",
            (rate,),
            f"{rate:,.0f}",
            after.since(before, seconds=report["seconds"], load=report["cpu_seconds"]),
            spoiled=", ".join(filter(None, wrong)),
            notes=[
                f"{report['items']:,} over {BATCH_LINES} connections",
                f"a call of {BATCH:,} answered after p50 {latency['p50']} / p99 {latency['p99']} ms",
            ],
            detail=report,
        )


def registry(bench: Bench, options: Options) -> Iterator[Figure]:
    """A thousand executors on one node and, where nodes can share a database, on two."""
    for nodes in (1, 2) if bench.server is not None else (1,):
        yield from _registry(bench, options, nodes)


def _registry(bench: Bench, options: Options, nodes: int) -> Iterator[Figure]:
    count, seconds = EXECUTORS, min(10, options.seconds)
    over = "one node" if nodes == 1 else f"{nodes} nodes"
    options.say(f"{count:,} executors on {over}")
    app = ("--app", APP, "--addresses", count)
    once = (*app, "--count", count)
    with bench.stage(nodes=nodes) as stage:
        stage.start_gateway()
        usages = [stage.usage()]
        loads: list[dict[str, Any]] = []
        for load in (
            (*once, "--connections", REGISTRY_LINES),
            (*app, "--connections", REGISTRY_LINES, "--seconds", seconds),
            (*once, "--connections", count),
            (*once, "--connections", count),
        ):
            loads.append(stage.load("beats", *load))
            usages.append(stage.usage())
            time.sleep(1)
        stage.wait_online(count)
    cores = [
        usages[number + 1].since(usages[number], seconds=load["seconds"], load=load["cpu_seconds"])
        for number, load in enumerate(loads)
    ]
    first, steady, *moments = loads
    for name, load, core in (("registrations", first, cores[0]), ("beats", steady, cores[1])):
        missing = count - load["items"] if load is first else 0
        yield Figure(
            f"{name}/s, {count:,} executors, {over}",
            None,
            (load["items_per_second"],),
            f"{load['items_per_second']:,.0f}",
            core,
            spoiled=_wrong(load, missing, "not answered"),
            notes=[
                f"over {REGISTRY_LINES} connections, answered after p99 {load['latency_ms']['p99']} ms",
                f"all {count:,} known to {over}",
            ],
            detail=load,
        )
    worst = max(moments, key=lambda load: load["seconds"])
    yield Figure(
        f"{count:,} executors beating at one moment, all answered in, {over}",
        None,
        (worst["seconds"],),
        f"{worst['seconds']:.2f} s",
        cores[loads.index(worst)],
        spoiled=_wrong(worst, count - worst["items"], "not answered"),
        notes=[
            f"p99 of a beat {worst['latency_ms']['p99']} ms",
            "each over a connection of its own, opened for it",
        ],
        detail={"moments": moments},
    )
