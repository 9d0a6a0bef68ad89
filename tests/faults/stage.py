"""One scenario from an empty database to its verdict."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.peers import PeerUnavailableError
from tests.faults.oracle import Verdict, judge
from tests.faults.world import Plan, World, now_ms
from tests.kit.mariadb import MariadbServer
from tests.kit.process import wait_until

WARM_S = 4
AFTER_S = 8


@dataclass(frozen=True)
class Timing:
    """`hold_s`: how long the fault lasts."""

    hold_s: float
    after_s: float = AFTER_S


@dataclass(frozen=True)
class Scenario:
    """`fault` does what goes wrong and sets it right again; the rest says what may come of it."""

    name: str
    shows: str
    fault: Callable[[World, Timing], None]
    plan: Plan = field(default_factory=Plan)
    world: type[World] = World
    hold_s: float = 15
    short_s: float = 6
    silence_s: float | None = 10  # longest pause of one job beyond its period that is still right; None: any
    may: frozenset[str] = frozenset()  # how due slots may end without having been executed
    may_stay: bool = False  # executed runs may lack their result at the end of the scenario
    ahead_ms: int = 0
    settle_s: float = 40
    only_long: bool = False  # takes minutes by its nature: not in the short form
    lacks: Callable[[], str | None] = lambda: None  # why this machine cannot, if it cannot
    check: Callable[[World, Verdict], list[str]] = lambda _world, _verdict: []


@dataclass
class Line:
    """A line of the table."""

    name: str
    verdict: Verdict | None
    wrong: list[str]
    notes: list[str]
    seconds: float
    skipped: str = ""

    @property
    def word(self) -> str:
        if self.skipped:
            return f"not run: {self.skipped}"
        return "ok" if not self.wrong else "BROKEN: " + "; ".join(text[:200] for text in self.wrong)

    def cells(self) -> list[str]:
        found = self.verdict
        if found is None:
            return [self.name, *[""] * 11, self.word]
        other = ", ".join(f"{count} {state}" for state, count in sorted(found.states.items())) or "–"
        return [
            self.name,
            f"{found.due:,}",
            str(found.duplicates),
            str(found.missing),
            str(found.early),
            f"{found.worst_job_s:.1f}",
            f"{found.silence_s:.1f}",
            str(found.late),
            f"{found.latest_s:.1f}",
            other,
            str(found.unended),
            str(found.unkept),
            self.word,
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "word": self.word,
            "seconds": round(self.seconds, 1),
            "notes": self.notes,
            "verdict": None if self.verdict is None else vars(self.verdict),
        }


HEADER = (
    "scenario",
    "due",
    "duplicates",
    "missing",
    "early",
    "silence of a job (s)",
    "of all (s)",
    "late slots (>1 s)",
    "latest (s)",
    "ended without a start",
    "no result yet",
    "results lost",
    "verdict",
)


def table(lines: Sequence[Line]) -> str:
    """For Markdown."""
    return "\n".join(
        "| " + " | ".join(cells) + " |"
        for cells in (HEADER, ["---"] * len(HEADER), *(one.cells() for one in lines))
    )


class Bench:
    """A directory and a MariaDB server that scenarios share, each on a database of its own. Close it."""

    def __init__(self, directory: Path, *, server: MariadbServer | None = None, keep: bool = False) -> None:
        self.directory = directory
        self.keep = keep
        self._own = server is None
        self._server = server
        self._number = 0

    @property
    def server(self) -> MariadbServer:
        if self._server is None:
            self._server = MariadbServer(self.directory / "mariadb")
        if not self._server.alive:
            self._server.start(60)
        return self._server

    @contextmanager
    def open(self, scenario: Scenario) -> Iterator[World]:
        """A world on a fresh database, not started; thrown away at the end."""
        self._number += 1
        directory = (
            self.directory / f"{self._number}-{'-'.join(re.findall(r'[a-z0-9]+', scenario.name.lower()))}"
        )
        directory.mkdir(parents=True)
        world = scenario.world(
            directory, self.server, f"faults_{self._number}_{now_ms() % 100000}", scenario.plan
        )
        try:
            yield world
        finally:
            world.close()
            if not self.keep:
                shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        if self._own and self._server is not None:
            self._server.close()


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def play(bench: Bench, scenario: Scenario, *, short: bool = False, hold_s: float | None = None) -> Line:
    """Run it. What broke on the way is part of the line, not raised; KeyboardInterrupt is."""
    lack = "only in the long form" if short and scenario.only_long else scenario.lacks()
    if lack:
        return Line(scenario.name, None, [], [], 0, skipped=lack)
    begun = time.monotonic()
    timing = Timing(hold_s or (scenario.short_s if short else scenario.hold_s), 5 if short else AFTER_S)
    notes: list[str] = []
    try:
        with bench.open(scenario) as world:
            try:
                found = _play(world, scenario, timing)
            except Exception as error:
                for node in world.nodes:
                    say(f"node {node.name}, the end of its log:\n{node.process.tail(8)}")
                error.add_note(f"notes: {world.notes}")
                raise
            notes = world.notes
            wrong = found.broken() + _expected(scenario, found) + scenario.check(world, found)
            if wrong and bench.keep:
                notes.append(f"kept in {world.directory}")
    except PeerUnavailableError as error:
        return Line(scenario.name, None, [], notes, 0, skipped=str(error))
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return Line(scenario.name, None, [said], notes, time.monotonic() - begun)
    return Line(scenario.name, found, wrong, notes, time.monotonic() - begun)


def _play(world: World, scenario: Scenario, timing: Timing) -> Verdict:
    world.start()
    world.start_executors()
    world.wait_spread()
    world.create_jobs()
    from_ms = math.ceil(now_ms() / 1000 + 2) * 1000
    _sleep_until(from_ms + WARM_S * 1000)
    world.wait_started(from_ms)
    fault_ms = now_ms()
    scenario.fault(world, timing)
    until_ms = (now_ms() // 1000 + int(timing.after_s)) * 1000
    _sleep_until(until_ms)
    settled = world.wait_settled(until_ms, timeout_s=scenario.settle_s)
    world.assert_undisturbed()
    world.note(
        f"settled {settled:.1f} s after the last slot; {world.questions()} questions about runs; "
        f"load of the machine {os.getloadavg()[0]:.1f}"
    )
    return judge(
        world.jobs,
        from_ms,
        until_ms,
        world.rows(),
        world.events(),
        fault_ms=fault_ms,
        ahead_ms=scenario.ahead_ms,
    )


def _expected(scenario: Scenario, found: Verdict) -> list[str]:
    wrong = [
        f"{count} {state}: {found.examples[state][0]}"
        for state, count in found.states.items()
        if state not in scenario.may
    ]
    if scenario.silence_s is not None and found.worst_job_s > scenario.silence_s:
        wrong.append(f"a job was silent for {found.worst_job_s:.1f} s")
    if found.unended and not scenario.may_stay:
        wrong.append(f"{found.unended} executed and without a result: {found.examples['unended'][0]}")
    return wrong


def _sleep_until(at_ms: float) -> None:
    time.sleep(max(0, at_ms - now_ms()) / 1000)


# ---------------------------------------------------------------- what scenarios share


def wait_taken_over(world: World, name: str, *, timeout_s: float) -> None:
    """Until no part belongs to that node; notes how long it took, or that it did not happen."""
    begun = time.monotonic()
    try:
        wait_until(
            lambda: not world.parts_by_node().get(name), timeout_s=timeout_s, every_s=0.05, what="a take-over"
        )
    except AssertionError:
        world.note(f"the parts of {name} were not taken over within {timeout_s:.0f} s")
    else:
        world.note(f"the parts of {name} were taken over after {time.monotonic() - begun:.1f} s")


def hold(world: World, name: str, seconds: float) -> None:
    """Let the fault last, watching whether the others take over."""
    end = time.monotonic() + seconds
    wait_taken_over(world, name, timeout_s=seconds)
    time.sleep(max(0, end - time.monotonic()))
