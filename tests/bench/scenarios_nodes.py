"""Scenarios about several nodes on one database: one is killed, one is stopped, one joins; and workers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from figures import Figure
from nodes import PARTS, kill_group, parts_held
from oracle import Jobs, Receipt, Verdict, as_detail, judge
from scenarios_calls import results, triggers
from scenarios_fires import Options, climb
from scenarios_life import SETTLE_S, STOP_S, endings, faults_of, longest_pause_s
from stage import Bench, Stage, sleep_until_ms

from tests.e2e.gateway_process import GatewayProcess

RATE = 200
AFTER_S = 5
LOOK_S = 0.02  # between two looks at who owns the parts
HAND_OVER_S = 20  # at most, until all parts are where they should be


@dataclass(frozen=True)
class Change:
    """What happened to the nodes, in wall-clock ms: when it began, and when the parts had their new owners."""

    began_ms: float
    moved_ms: float
    moved: frozenset[int]  # jobs that changed their owner
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return (self.moved_ms - self.began_ms) / 1000


def failover(bench: Bench, options: Options) -> Iterator[Figure]:
    """Two nodes at 200 fires/s: one is killed, or ends in order, or a third one joins."""
    if bench.server is None:
        options.say("SQLite takes one node: no failover")
        return
    yield from _changed(bench, options, "one of two nodes killed (-9)", _kill, target="failover")
    yield from _changed(bench, options, "one of two nodes stopped in order", _stop, target=None)
    yield from _changed(bench, options, "a third node joins two", _join, target=None)


def _changed(
    bench: Bench,
    options: Options,
    what: str,
    change: Callable[[Stage, float], Change],
    *,
    target: str | None,
) -> Iterator[Figure]:
    options.say(f"{what} at {RATE} fires/s")
    seconds = max(15, options.seconds)
    with bench.stage(nodes=2, workers=1) as stage:
        stage.open("batch")
        jobs = stage.begin(stage.create_jobs(RATE, spread=True, misfire_after_s=60))
        from_ms = jobs.start_ms + 3000
        until_ms = from_ms + seconds * 1000
        made = change(stage, from_ms + AFTER_S * 1000 + 400)
        sleep_until_ms(until_ms + SETTLE_S * 1000)
        got = stage.records()
        held = parts_held(stage.sql.query)
        stage.nodes.kill()
        rows = stage.rows()
    found = judge(jobs, from_ms, until_ms, got, rows)
    theirs = [receipt for receipt in got if receipt.job_id in made.moved]
    silent_s = longest_pause_s(theirs, made.began_ms - 1000)
    silent_all_s = longest_pause_s(got, made.began_ms - 1000)
    named = f"{what} at {RATE} fires/s"
    figure = Figure(
        f"{named}: silence of its jobs, slots missed, started twice",
        target,
        (silent_s,),
        f"{silent_s:.2f} s silent, {found.missed} missed, {found.twice} twice of {found.due:,}",
        spoiled=faults_of(found),
        notes=[
            f"{len(made.moved)} of {RATE} jobs changed their node",
            f"longest pause of all jobs {silent_all_s:.2f} s",
            *endings(found),
            *made.notes,
        ],
        detail=as_detail(found)
        | {"silent_s": silent_s, "silent_all_s": silent_all_s, "parts_at_the_end": dict(held)},
    )
    options.say(f"  {figure.reached} {figure.spoiled}")
    yield figure
    during = _judge_during(jobs, made, got, rows)
    yield Figure(
        f"{named}: until all parts have their new owner",
        None,
        (made.seconds,),
        f"{made.seconds:.2f} s",
        notes=[
            *made.notes,
            f"slots due meanwhile: p50 {during.ms('p50'):.1f} / p99 {during.ms('p99'):.1f} / latest {during.ms('max'):.0f} ms late"
            if during.received
            else "nothing was due meanwhile",
        ],
        detail=as_detail(during) | {"seconds": made.seconds},
    )


def _judge_during(jobs: Jobs, made: Change, got: list[Receipt], rows: dict) -> Verdict:
    """Of what was due from the change to a second after the last part had moved."""
    return judge(jobs, int(made.began_ms), int(made.moved_ms) + 1000, got, rows)


def _kill(stage: Stage, at_ms: float) -> Change:
    node, name = stage.nodes.all[1], stage.nodes.name(1)
    with Watch(stage, {stage.nodes.name(0)}, PARTS) as watch:
        moved = _jobs_of(stage, name)
        sleep_until_ms(at_ms)
        began_ms = time.time() * 1000
        kill_group(node)
    return Change(began_ms, watch.done_ms, moved)


def _stop(stage: Stage, at_ms: float) -> Change:
    node, name = stage.nodes.all[1], stage.nodes.name(1)
    with Watch(stage, {stage.nodes.name(0)}, PARTS) as watch:
        moved = _jobs_of(stage, name)
        sleep_until_ms(at_ms)
        began_ms = time.time() * 1000
        node.process.signal(signal.SIGTERM)
        code = node.process.wait(STOP_S)
    ended_s = time.time() - began_ms / 1000
    return Change(began_ms, watch.done_ms, moved, (f"it ended with {code} within {ended_s:.1f} s",))


def _join(stage: Stage, at_ms: float) -> Change:
    """It begins with the start of its process."""
    node: GatewayProcess = stage.nodes.add()
    before = _owners(stage)
    with Watch(stage, {stage.nodes.name(number) for number in range(3)}, PARTS // 3) as watch:
        sleep_until_ms(at_ms)
        started_ms = time.time() * 1000
        node.start()
        ready_s = time.time() - started_ms / 1000
    after = _owners(stage)
    moved = frozenset(job for job, owner in after.items() if before[job] != owner)
    note = f"the new node was ready {ready_s:.2f} s after its start"
    moving_s = (watch.done_ms - watch.first_ms) / 1000
    return Change(
        started_ms, watch.done_ms, moved, (note, f"{moving_s:.2f} s from the first part to the last")
    )


class Watch:
    """Looks who owns the parts, in a thread, until exactly these nodes own at least so many each.

    `first_ms` is when the first part had moved, `done_ms` the last. Leaving the block waits for it.
    """

    def __init__(self, stage: Stage, names: Iterable[str], each: int) -> None:
        self._stage = stage
        self._names = frozenset(names)
        self._each = each
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._leaving = threading.Event()
        self.first_ms = 0.0
        self.done_ms = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(HAND_OVER_S + 5)
        if not self.done_ms:
            held = dict(parts_held(self._stage.sql.query))
            raise AssertionError(f"the parts have not moved within {HAND_OVER_S} s: {held}")

    def _look(self) -> None:
        end: float | None = None
        with self._stage.sql.session() as query:
            at_first = parts_held(query)
            while end is None or time.monotonic() < end:
                if end is None and self._leaving.is_set():
                    end = time.monotonic() + HAND_OVER_S
                held = parts_held(query)
                if held != at_first and not self.first_ms:
                    self.first_ms = time.time() * 1000
                if held.keys() == self._names and min(held.values()) >= self._each:
                    self.done_ms = time.time() * 1000
                    return
                time.sleep(LOOK_S)


def _owners(stage: Stage) -> dict[int, str]:
    """The node of each job."""
    return dict(stage.sql.query("SELECT job.id, part.node FROM job JOIN part ON part.id = job.part"))


def _jobs_of(stage: Stage, name: str) -> frozenset[int]:
    return frozenset(job for job, owner in _owners(stage).items() if owner == name)


def workers(bench: Bench, options: Options) -> Iterator[Figure]:
    """What a second process on the same port changes: rates, results, triggers."""
    if bench.server is None:
        options.say("SQLite takes one worker: nothing to compare")
        return
    given = bench.workers
    try:
        for count in (1, 2):
            bench.workers = count
            suffix = "one worker" if count == 1 else f"{count} workers"
            options.say(f"-- {suffix}")
            for figure in _of_workers(bench, options):
                yield replace(figure, name=f"{figure.name}, {suffix}")
    finally:
        bench.workers = given


def _of_workers(bench: Bench, options: Options) -> Iterator[Figure]:
    kind = "steady fires/s, nothing missed, p99 < 1 s"
    rates, rates_results = options.rates, options.rates_results
    yield climb(bench, options, f"{kind}, without results, spread", "steady", rates, spread=True)
    yield climb(bench, options, f"{kind}, all on the second", None, rates, spread=False)
    yield climb(
        bench,
        options,
        f"{kind}, with results, 20 a call, spread",
        "steady_results",
        rates_results,
        spread=True,
        callbacks="batch",
    )
    yield from results(bench, options)
    yield from triggers(bench, options)
