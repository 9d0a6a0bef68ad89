"""Second delay: the next run of such a job is due so long after the end of the one before, however that ended.

There is one run at a time, and each sets the next: a chain. No schedule can tell its slots ahead, so the row of the
job's next fire keeps them: the next instant, or the run that is open and whose end decides about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue
from gateway.core.model import BROADCAST_PARENT, Job, Misfire, NewRun

KIND = "second_delay"
SCHEDULERX = "schedulerx"
MIN_DELAY_MS = 1000
MAX_DELAY_MS = 7 * 24 * 3600 * 1000
MAX_SCHEDULERX_MS = 60_000


@dataclass(frozen=True, slots=True)
class SecondDelay:
    """Fires at once, and then `delay_ms` after each end."""

    delay_ms: int
    misfire: Misfire = Misfire.SKIP

    def first_after(self, now_ms: int) -> int | None:
        return now_ms

    def next_after(self, slot_ms: int) -> int | None:  # noqa: ARG002 - the question is the same for all kinds
        return None


class ChainEnd(NamedTuple):
    """A run that was its job's chain, if the job still says so, has ended. `link` is what the job calls it."""

    job_id: int
    link: int
    ended_ms: int


def is_chained(job: Job) -> bool:
    schedule = job.schedule
    return not isinstance(schedule, tuple) and schedule.get("kind") == KIND


def delay_of(job: Job) -> int:
    """Milliseconds from an end to the next slot; 0 for a job that has no chain."""
    if isinstance(job.schedule, tuple) or not is_chained(job):
        return 0
    return parse_duration_ms(job.schedule.get("expression"), field="schedule.expression")


def link_of(run: NewRun) -> int:
    """What a job calls this run while it is its chain: the first attempt's id, negative for a broadcast's parent.

    So no end of a shard, which names its parent as its first row, is taken for the end of the parent.
    """
    return -run.root_id if run.shard == BROADCAST_PARENT else run.root_id


def chain_end(run: NewRun, job: Job | None, ended_ms: int) -> ChainEnd | None:
    """What the end of this run, after which no attempt follows, means for its job's chain. None if nothing."""
    if job is None or run.slot_key < 0 or not is_chained(job):
        return None
    return ChainEnd(run.job_id, link_of(run), ended_ms)


def parse_second_delay(expression: object, rule: object, misfire: Misfire, field: str) -> SecondDelay:
    """`field` is the path of the schedule. Raises `InvalidValue`."""
    if rule not in (None, SCHEDULERX):
        raise InvalidValue(f"{field}.rule", rule, f"{SCHEDULERX!r}, or nothing")
    delay_ms = parse_duration_ms(expression, field=f"{field}.expression")
    if rule == SCHEDULERX and (not MIN_DELAY_MS <= delay_ms <= MAX_SCHEDULERX_MS or delay_ms % 1000):
        raise InvalidValue(
            f"{field}.expression", expression, "1 to 60 whole seconds, by the rule 'schedulerx'"
        )
    if not MIN_DELAY_MS <= delay_ms <= MAX_DELAY_MS:
        raise InvalidValue(f"{field}.expression", expression, "1 s to 7 days")
    return SecondDelay(delay_ms, misfire)
