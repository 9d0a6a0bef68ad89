"""Fire times before and after a change."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.model import Job, Task
from importer.manifests.fires import HORIZON_MS, MOST_SLOTS, Budget, change_of, slots_of

NOW_MS = 1_795_000_000_000
HOUR = 3_600_000


def a_job(seconds=3600, **more):
    schedule = {"kind": "fixed_rate", "expression": seconds}
    job = Job(1, 1, 1, 0, 1, "j", True, schedule, Task("h"), anchor_ms=NOW_MS + 1000)
    return replace(job, **more)


def test_each_side_has_what_the_other_has_not():
    budget = Budget()
    found = change_of(a_job(), a_job(1800), NOW_MS, budget)
    assert (found.before, found.after, found.cut) == (720, 1440, False)
    assert found.gone == ()
    assert found.new == tuple(NOW_MS + 1000 + HOUR // 2 + n * HOUR for n in range(3))
    assert change_of(a_job(), a_job(), NOW_MS, budget).is_none
    gone = change_of(a_job(), None, NOW_MS, budget)
    assert (gone.before, gone.after, gone.gone[0]) == (720, 0, NOW_MS + 1000)
    off = change_of(a_job(enabled=False), a_job(), NOW_MS, budget)
    assert (off.before, off.after) == (0, 720)


def test_many_slots_are_cut_where_both_sides_are_known():
    found = change_of(a_job(1), a_job(10), NOW_MS, Budget())
    assert found.cut
    assert found.until_ms == NOW_MS + 1000 + (MOST_SLOTS - 1) * 1000
    assert (found.before, found.after) == (MOST_SLOTS, MOST_SLOTS // 10)
    assert found.new == ()


def test_a_maximum_ends_it():
    found = slots_of(a_job(), NOW_MS, left=2)
    assert (len(found.at_ms), found.until_ms) == (2, NOW_MS + HORIZON_MS)


def test_work_is_bounded_and_what_is_left_out_is_counted():
    budget = Budget(1000)
    assert change_of(a_job(), a_job(1800), NOW_MS, budget) is not None
    assert change_of(a_job(), a_job(1800), NOW_MS, budget) is None
    assert budget.unlooked == 1


def test_nobody_knows_when_runs_end():
    chained = a_job(schedule={"kind": "second_delay", "expression": 5})
    assert change_of(a_job(), chained, NOW_MS, Budget()) is None
