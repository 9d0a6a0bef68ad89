"""The oracle sees what it is there for."""

from __future__ import annotations

from tests.faults.executors import Event
from tests.faults.oracle import Due, Row, judge

JOB = Due(7, 1000, 0, "app")
FROM, UNTIL = 10_000, 14_000


def row(slot_ms: int, state: str = "succeeded", reason: str = "", *, count: int = 1, last_ms: int = 0) -> Row:
    return Row(slot_ms, 7, slot_ms, 0, 1, state, reason, slot_ms, 0, 0, last_ms, count, "")


def start(slot_ms: int, late_ms: int = 5, *, event: str = "start") -> Event:
    return Event(event, slot_ms, 7, slot_ms + late_ms, "h", None, 0, "x", 1, None, None)


ROWS = {slot: row(slot) for slot in range(FROM, UNTIL, 1000)}
STARTS = [start(slot) for slot in ROWS]


def test_all_is_well() -> None:
    found = judge([JOB], FROM, UNTIL, ROWS, STARTS)
    assert (found.due, found.executed, found.broken(), found.states) == (4, 4, [], {})
    assert (found.late, found.latest_s, found.silence_s) == (0, 0.005, 1.0)


def test_a_second_execution_is_a_duplicate() -> None:
    assert judge([JOB], FROM, UNTIL, ROWS, [*STARTS, start(11_000, 900)]).duplicates == 1


def test_a_slot_without_a_row_or_without_an_end_is_missing() -> None:
    without = {slot: one for slot, one in ROWS.items() if slot != 12_000}
    starts = [one for one in STARTS if one.run_id != 12_000]
    assert judge([JOB], FROM, UNTIL, without, starts).missing == 1
    for state, reason, missing in (
        ("queued", "", 1),
        ("succeeded", "", 1),  # nobody has executed it
        ("failed", "", 1),  # no reason
        ("failed", "refused", 0),
        ("skipped", "misfire", 0),
    ):
        found = judge([JOB], FROM, UNTIL, ROWS | {12_000: row(12_000, state, reason)}, starts)
        assert (found.missing, found.states) == (missing, {} if missing else {state: 1})


def test_slots_skipped_together_are_each_accounted_for() -> None:
    rows = {10_000: row(10_000), 11_000: row(11_000, "skipped", "misfire", count=3, last_ms=13_000)}
    found = judge([JOB], FROM, UNTIL, rows, STARTS[:1])
    assert (found.missing, found.states) == (0, {"skipped": 3})


def test_early_late_and_not_due() -> None:
    found = judge([JOB], FROM, UNTIL, ROWS, [start(10_000, -300), *STARTS[1:3], start(13_000, 2500)])
    assert (found.early, found.late, found.latest_s) == (1, 1, 2.5)
    assert judge([JOB], FROM, UNTIL, ROWS, [start(10_000, -300), *STARTS[1:]], ahead_ms=10_000).early == 0
    assert judge([JOB], FROM, UNTIL, ROWS | {12_345: row(12_345)}, [*STARTS, start(12_345)]).extra == 1
    assert judge([JOB], FROM, UNTIL, ROWS, [*STARTS, start(99_000)]).extra == 1, "no row"


def test_an_acknowledged_result_must_be_in_the_database() -> None:
    acked = start(11_000, 20, event="acked")
    assert judge([JOB], FROM, UNTIL, ROWS, [*STARTS, acked]).unkept == 0
    rows = ROWS | {11_000: row(11_000, "running")}
    found = judge([JOB], FROM, UNTIL, rows, [*STARTS, acked])
    assert (found.unkept, found.unended) == (1, 1)


def test_silence_counts_from_the_fault_to_the_end() -> None:
    found = judge([JOB], FROM, UNTIL, ROWS, STARTS[:1], fault_ms=10_500)
    assert (found.silence_s, found.worst_job_s) == (3.5, 2.5)
