"""Quartz's own CronExpression, which releases up to 2.0 fire by: a jar from Maven Central, run once for many questions."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.e2e.java_releases import PLUGIN, SOURCES, PeerUnavailableError, cache_dir, one_at_a_time, prepare

VERSION = "2.3.0"  # that of xxl-job-admin 2.0


class Question(NamedTuple):
    expression: str
    zone: str
    start_ms: int
    count: int


def _jar() -> Path:
    with one_at_a_time("quartz"):
        jar = cache_dir() / "quartz" / f"quartz-{VERSION}.jar"
        if not jar.is_file():
            place = jar.parent / "unfinished"
            shutil.rmtree(place, ignore_errors=True)
            prepare(
                [
                    *("mvn", "-q", "-B", f"{PLUGIN}:copy", f"-DoutputDirectory={place}"),
                    f"-Dartifact=org.quartz-scheduler:quartz:{VERSION}",
                ],
                what=f"fetching Quartz {VERSION} with Maven",
            )
            (place / jar.name).rename(jar)
        return jar


def fires(questions: Sequence[Question]) -> list[tuple[int, ...] | None]:
    """The next instants of each, None for an expression that Quartz refuses or fails at."""
    if shutil.which("java") is None:
        raise PeerUnavailableError("no java here: Quartz's CronExpression is asked when it fires")
    lines = "".join(f"{one.start_ms}\t{one.count}\t{one.zone}\t{one.expression}\n" for one in questions)
    program = str(SOURCES / "quartz" / "QuartzFires.java")
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", str(_jar()), program],
        input=lines,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=100,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(questions)
    return [None if one is None else tuple(one) for one in answers]
