"""Which trigger of Quartz is whose, and what it says."""

from __future__ import annotations

import pytest

from importer.source.cells import Cells
from importer.source.quartz import read_triggers
from importer.source.values import QuartzState, SourceJob

JOBS = [SourceJob(7, "1", name="a"), SourceJob(8, "2", name="a"), SourceJob(9, "1", name="b")]


def trigger(name, group="DEFAULT", state="WAITING", sched="s", next_ms=-1, previous_ms=-1):
    return {
        "sched_name": sched,
        "trigger_name": name,
        "trigger_group": group,
        "trigger_state": state,
        "next_fire_time": next_ms,
        "prev_fire_time": previous_ms,
    }


def cron(name, group="DEFAULT", sched="s", expression="0 0 1 * * ?", zone="PRC"):
    return {
        "sched_name": sched,
        "trigger_name": name,
        "trigger_group": group,
        "cron_expression": expression,
        "time_zone_id": zone,
    }


def seen(sched, at):
    return {"sched_name": sched, "last_checkin_time": at}


def states(triggers, crons=(), schedulers=(), *, by_name=False):
    return read_triggers(triggers, crons, schedulers, JOBS, Cells(), by_name=by_name)


@pytest.mark.parametrize(
    ("state", "is_firing"),
    [
        ("WAITING", True),
        ("ACQUIRED", True),
        ("EXECUTING", True),
        ("BLOCKED", True),
        ("PAUSED", False),
        ("PAUSED_BLOCKED", False),
        ("ERROR", False),
        ("COMPLETE", False),
    ],
)
def test_states(state, is_firing):
    assert states([trigger("7", state=state)]).states[7].is_firing is is_firing


def test_what_a_trigger_says():
    found = states([trigger("7", "1", next_ms=900, previous_ms=800)], [cron("7", "1", zone="Asia/Tokyo")])
    assert found.states == {7: QuartzState("WAITING", "0 0 1 * * ?", "Asia/Tokyo", 900, 800, "s")}
    assert found.timezones == ("Asia/Tokyo",)


def test_no_trigger_is_no_state():
    assert states([trigger("7")]).states.keys() == {7}


def test_never_is_none():
    assert states([trigger("7")]).states[7] == QuartzState("WAITING", None, None, None, None, "s")


def test_names_count_within_their_group():
    found = states([trigger("a", "2", "PAUSED"), trigger("b", "2")], by_name=True)
    assert {job_id: state.state for job_id, state in found.states.items()} == {8: "PAUSED"}


def test_the_scheduler_that_was_seen_last_counts():
    triggers = [
        trigger("7", sched="old"),
        trigger("8", sched="old"),
        trigger("7", state="PAUSED", sched="new"),
    ]
    crons = [cron("7", sched="old", zone="UTC"), cron("7", sched="new", zone="PRC")]
    found = states(triggers, crons, [seen("old", 5), seen("new", 9), seen("old", 7)])
    assert {job_id: (state.state, state.scheduler) for job_id, state in found.states.items()} == {
        7: ("PAUSED", "new")
    }
    assert (found.timezones, found.last_checkin_ms) == (("PRC",), 9)
    (note,) = found.notes
    assert note.startswith("2 triggers of Quartz's scheduler old are of an older release")


def test_of_schedulers_that_were_never_seen_the_one_with_the_most():
    found = states([trigger("7", sched="x"), trigger("8", sched="y"), trigger("9", sched="y")])
    assert found.states.keys() == {8, 9}
    assert found.last_checkin_ms == 0


def test_a_scheduler_without_triggers_fires_nothing():
    """It has begun anew: what the older one left behind does not fire."""
    found = states([trigger("7", sched="old")], schedulers=[seen("old", 1), seen("new", 2)])
    assert found.states == {}


def test_of_several_triggers_the_one_that_fires():
    found = states([trigger("7", "1", "PAUSED"), trigger("7", "DEFAULT", next_ms=5)])
    assert found.states[7] == QuartzState("WAITING", None, None, 5, None, "s")
    assert found.notes == ("job 7 has 2 triggers in Quartz (of the groups 1, DEFAULT)",)
