"""Second delay as a value: its limits, and whose end is a chain's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.chain import ChainEnd, SecondDelay, chain_end, delay_of, is_chained
from gateway.core.model import Job, NewRun, Task, TriggerKind
from gateway.core.schedule import parse_schedule
from gateway.core.states import RunState

JOB = Job(7, 1, 1, 3, 1, "job", True, {"kind": "second_delay", "expression": "5s"}, Task("h"))
RUN = NewRun(
    40, 1, 7, 1, 3, 1_795_000_000_000, 1_795_000_000_000, 0, TriggerKind.SCHEDULE, RunState.PLANNED, 40
)


@pytest.mark.parametrize(
    ("expression", "rule", "delay_ms"),
    [
        (1, None, 1000),
        ("1500ms", None, 1500),
        ("7 days", None, 604_800_000),
        (1, "schedulerx", 1000),
        ("60s", "schedulerx", 60_000),
    ],
)
def test_what_may_be_asked_for(expression, rule, delay_ms):
    schedule = parse_schedule({"kind": "second_delay", "expression": expression, "rule": rule})
    assert schedule == SecondDelay(delay_ms)
    assert (schedule.first_after(5), schedule.next_after(5)) == (5, None)


def test_whose_end_is_a_chains():
    assert chain_end(RUN, JOB, 9) == ChainEnd(7, 40, 9)
    retry = replace(RUN, id=41, attempt=2, trigger_kind=TriggerKind.RETRY)
    assert chain_end(retry, JOB, 9) == ChainEnd(7, 40, 9)
    assert chain_end(replace(RUN, slot_key=-40), JOB, 9) is None  # by hand
    parent, shard = replace(RUN, shard=-1), replace(RUN, id=42)
    assert chain_end(parent, JOB, 9) != chain_end(shard, JOB, 9)
    assert chain_end(RUN, None, 9) is None
    other = replace(JOB, schedule=({"kind": "api"},))
    assert (is_chained(JOB), is_chained(other), delay_of(JOB), delay_of(other)) == (True, False, 5000, 0)
    assert chain_end(RUN, other, 9) is None
