"""The fault suite in short: a few scenarios, faults of seconds. `suite.py` has all of them, and their length."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import skip_for_lack
from tests.faults import scenarios
from tests.faults.stage import Bench, play
from tests.faults.world import Plan

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.timeout(180)]

PLAN = Plan(executors=("java-3.3.2", "own", "own"))
NAMES = (
    "kill -9 of a node",
    "SIGSTOP of a node, then SIGCONT",
    "node cut off from the database",
    "rolling restart",
)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_twice_nothing_missing(bench: Bench, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = play(bench, replace(scenarios.named(name), plan=PLAN), short=True)
    if line.skipped:
        skip_for_lack(line.skipped)
    found = line.verdict
    assert found is not None, line.wrong
    with capsys.disabled():
        print(
            f"\n{name}: {found.due} due, {found.duplicates} duplicates, {found.missing} missing, a job silent for "
            f"{found.worst_job_s:.1f} s, {found.late} late, the latest by {found.latest_s:.1f} s"
        )
    assert not line.wrong, (line.notes, found.examples)
