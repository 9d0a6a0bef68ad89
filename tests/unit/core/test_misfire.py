"""What becomes of missed slots, against a model that looks at one slot after the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.misfire import MisfireLimits
from gateway.core.model import Job, Misfire, Task
from gateway.core.policy import plan_slots

NOW = 1_795_000_000_000
RATE = {"kind": "fixed_rate", "expression": 1}


def a_job(misfire: Misfire, after_s: int, window_s: int, most: int) -> Job:
    limits = MisfireLimits(window_s, most)
    return Job(
        1, 1, 1, 0, 1, "job", True, RATE, Task("h"), misfire, misfire_after_s=after_s, misfire_limits=limits
    )


def expected_runs(slots: list[int], job: Job) -> list[int]:
    """All slots of one outage at once: a slot runs if it is on time, or among those that the policy spares."""
    runs: list[int] = []
    late_after = 0
    for slot in reversed(slots):
        age_s = (NOW - slot) / 1000
        if age_s <= job.misfire_after_s:
            runs.append(slot)
            continue
        if (job.misfire is Misfire.FIRE_ONCE and late_after == 0) or (
            job.misfire is Misfire.FIRE_ALL
            and late_after < job.misfire_limits.most
            and age_s <= job.misfire_limits.window_s
        ):
            runs.append(slot)
        late_after += 1
    return sorted(runs)


@given(
    st.sets(st.integers(-300, 20), max_size=60),
    st.sampled_from(Misfire),
    st.integers(0, 90),
    st.integers(1, 200),
    st.integers(1, 12),
    st.integers(1, 20),
)
def test_as_the_model_says_however_they_are_portioned(offsets, misfire, after_s, window_s, most, portion):
    job = a_job(misfire, after_s, window_s, most)
    slots = sorted(NOW + 1000 * offset for offset in offsets)
    runs: list[int] = []
    skipped: list[int] = []
    for start in range(0, len(slots), portion):
        rest = slots[start + portion :]
        missed = sum(NOW - slot > after_s * 1000 for slot in rest)
        plan = plan_slots(slots[start : start + portion], NOW, job, further=min(missed, most))
        assert list(plan.skipped) == sorted(plan.skipped)
        runs += plan.runs
        skipped += plan.skipped
    assert runs == expected_runs(slots, job)
    assert sorted(runs + skipped) == slots  # none vanishes, none twice
