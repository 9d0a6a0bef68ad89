"""Explanations of what a whole scheduler has done, or will do."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import delete

from gateway.core.acting import acting_for
from gateway.core.calendar_days import Calendar, CalendarMode, CalendarUse, Days
from gateway.core.clock import iso_utc
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.exclusions import Once
from gateway.core.misfire import MisfireLimits
from gateway.core.model import Misfire, Route, TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.pauses import Scope
from gateway.core.placement import Placement
from gateway.core.reruns import Rerun
from gateway.core.retry import Retry
from gateway.core.states import RunState
from gateway.core.timing import Timing, Window
from gateway.flow.explain import FlowExplainer
from gateway.flow.queue import FlowQueues
from gateway.flow.reruns import FlowReruns
from gateway.store import tables
from gateway.store.calendars import CalendarStore
from gateway.store.events import EventStore
from gateway.store.hindsight import HindsightStore
from gateway.store.queue import QueueStore
from tests.kit.fake_link import FAILING, Behaviour
from tests.kit.flow_world import A, B
from tests.unit.flow.test_limits import limit
from tests.unit.flow.test_pausing import pause, resume
from tests.unit.flow.test_routes import say

EVERY_HOUR = {"kind": "cron", "expression": "0 0 * * * ?", "timezone": "UTC"}


async def explained(world, job, at=None):
    life = world.now
    explainer = FlowExplainer(
        jobs=life.jobs,
        apps=life.apps,
        runs=life.runs,
        reader=life.runs,
        hindsight=HindsightStore(life.db),
        pauses=life.pauses,
        events=EventStore(life.db, world.clock),
        queues=FlowQueues(life.flow, life.runs, QueueStore(life.db)),
        operations=life.operations,
        clock=world.clock,
        retention_days=30,
    )
    _, found = await world.do(explainer.explain(job.id, None if at is None else str(at)))
    return found


async def by(name, work):
    with acting_for(name):
        return await work


def text_of(found) -> str:
    return "\n".join(f"{fact.kind}: {fact.text}" for fact in found.facts)


def kinds(found) -> list[str]:
    return [fact.kind for fact in found.facts]


async def test_a_run_that_went_well(world):
    await world.executor(usual=Behaviour(runs_s=2))
    job = await world.job()
    await world.clock.advance(25)
    slot = job.anchor_ms + 10_000
    found = await explained(world, job, slot + 300)
    (run,) = await world.rows(slot_key=slot)
    assert (found.verdict, found.slot_ms, found.run_id) == ("ran", slot, run.id)
    assert found.answer == (
        f"Run {run.id} started on time ({run.sent_ms - slot} ms after it was due) at {A} and succeeded after 2.0 s."
    )
    assert kinds(found) == ["version", "schedule", "run_version", "route", "state", "steps"]
    assert f"Version 1 was in force, made by system at {iso_utc(job.created_ms)[:19]}" in text_of(found)
    steps = found.facts[-1]
    assert (steps.times["due"], steps.times["sent"]) == (slot, run.sent_ms)
    assert "claimed" in steps.text


async def test_between_two_slots_and_while_one_runs(world):
    await world.executor(usual=Behaviour(runs_s=4))
    job = await world.job()
    await world.clock.advance(12)
    slot = job.anchor_ms + 10_000
    assert (await explained(world, job)).verdict == "running"
    during = await explained(world, job, slot + 1500)
    assert "is running, since" in during.answer
    await world.clock.advance(5)
    found = await explained(world, job)
    assert (found.verdict, found.slot_ms) == ("no_slot", None)
    assert "the slot before is" in found.answer
    assert "and succeeded after 4.0 s" in text_of(found)


async def test_waiting_for_a_place_and_what_became_of_it(world):
    await world.executor(usual=Behaviour(runs_s=30))
    await limit(world, max_running=1)
    first = await world.job(name="first")
    job = await world.job(
        name="second", priority=1, schedule={"kind": "one_time", "expression": first.anchor_ms + 10_000}
    )
    await world.clock.advance(12.5)
    slot = first.anchor_ms + 10_000
    found = await explained(world, job, slot)
    assert found.verdict == "waiting"
    assert "1 of 1 runs of app 'shop' are under way" in found.answer
    assert "number 1 of 1 that wait in the app, expected to start at" in found.answer
    assert "app_limit: 1 of 1 runs of app 'shop' are under way now." in text_of(found)
    await world.stop((await world.rows(slot_key=slot, job_id=first.id))[0].id)
    await world.change(first, enabled=False)
    await world.clock.advance(60)
    found = await explained(world, job, slot)
    assert found.verdict == "ran"
    assert "late (it waited for a place: 1 of 1 runs of app 'shop' are under way)" in found.answer
    assert "waited" in kinds(found)


async def test_a_short_wait_is_explained_as_well(world):
    """It was over before the row could say so: the claim does."""
    await world.executor(usual=Behaviour(runs_s=1.6))
    await limit(world, max_running=1)
    first = await world.job(name="first")
    due_ms = first.anchor_ms + 10_400
    job = await world.job(name="second", schedule={"kind": "one_time", "expression": due_ms})
    await world.clock.advance(12)
    found = await explained(world, job, due_ms)
    assert "late (it waited for a place: 1 of 1 runs of app 'shop' were under way)" in found.answer


async def test_what_waits_for_the_end_of_a_pause(world):
    executor = await world.executor()
    executor.plan.append(FAILING)
    job = await world.job(schedule={"kind": "api"}, max_attempts=2)
    due_ms = world.clock.now_ms()
    await world.trigger(job)
    await pause(world, Scope.APP, job.app_id)
    await world.clock.advance(5)
    found = await explained(world, job, due_ms)
    assert found.verdict == "waiting"
    assert found.answer.endswith(": the app is paused by ann: stock-taking.")
    queue = await world.do(
        FlowQueues(world.flow, world.now.runs, QueueStore(world.now.db)).view(world.app, 5)
    )
    assert [(one.reason, one.predicted_ms) for one in queue.first] == [
        ("the app is paused by ann: stock-taking", None)
    ]
    await resume(world, Scope.APP, job.app_id)
    await world.clock.advance(2)
    retry = (await world.rows(job_id=job.id))[-1]
    assert (retry.state, retry.reason) == (
        RunState.SUCCEEDED,
        "waits: the app is paused by ann: stock-taking",
    )


async def test_a_chain_that_waited_for_the_end_of_a_pause(world):
    await world.executor()
    job = await world.job(schedule={"kind": "second_delay", "expression": "10s"})
    await world.clock.advance(5)
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(12)
    await resume(world, Scope.JOB, job.id)
    await world.clock.advance(2)
    late = (await world.rows(job_id=job.id))[1]
    found = await explained(world, job, late.due_ms)
    assert "late (it waited for the end of a pause: the job is paused by ann: stock-taking)" in found.answer


async def test_a_maximum_that_is_reached_before(world):
    await world.executor()
    job = await world.job(timing=Timing(Window(max_fires=3)))
    assert (await explained(world, job, job.anchor_ms + 30_000)).verdict == "will_run"
    found = await explained(world, job, job.anchor_ms + 40_000)
    assert (found.verdict, found.answer) == (
        "maximum",
        "It will not run: its maximum of 3 fires is reached before.",
    )


async def test_a_slot_that_overlap_skipped(world):
    await world.executor(usual=Behaviour(runs_s=15))
    job = await world.job(concurrency=Concurrency(Overlap.SKIP, 1))
    await world.clock.advance(22)
    found = await explained(world, job, job.anchor_ms + 20_000)
    assert found.verdict == "skipped"
    assert found.answer.startswith("It did not run: overlap skip: 1 of 1 runs of this job are under way (")
    ahead = await explained(world, job, job.anchor_ms + 40_000)
    assert "1 of 1 runs of this job are under way now; overlap skip." in text_of(ahead)


async def test_a_pause_in_the_past_and_in_the_future(world):
    await world.executor()
    job = await world.job()
    await pause(world, Scope.JOB, job.id)
    await world.clock.advance(12)
    found = await explained(world, job, job.anchor_ms + 10_000)
    assert (found.verdict, found.answer) == (
        "skipped",
        "It did not run: the job is paused by ann: stock-taking.",
    )
    ahead = await explained(world, job, job.anchor_ms + 100_000)
    assert ahead.verdict == "paused"
    assert (
        ahead.answer
        == "It will be skipped unless the pause ends before: the job is paused by ann: stock-taking."
    )
    (fact,) = [fact for fact in ahead.facts if fact.kind == "pause"]
    assert fact.fields["author"] == "ann"


async def test_what_is_ahead(world):
    await world.executor()
    await limit(world, max_running=5)
    job = await world.job(schedule=EVERY_HOUR, max_attempts=3, ttl_s=60)
    now = world.clock.now_ms()
    slot = now - now % 3_600_000 + 7_200_000
    found = await explained(world, job, slot)
    assert found.verdict == "will_run"
    assert found.answer.startswith(f"It will run at {iso_utc(slot)[:19]}")
    assert "It may have to wait for a place." in found.answer
    assert kinds(found) == ["version", "schedule", "ttl", "app_limit", "route", "attempts", "may_change"]
    assert "0 of 5 runs of app 'shop' are under way now." in text_of(found)
    disabled = await world.change(job, enabled=False)
    assert (await explained(world, disabled, slot)).verdict == "disabled"


async def test_a_disabled_job_and_who_did_it(world):
    await world.executor()
    job = await world.job()
    await world.do(by("bob", world.now.jobs.set_enabled(job.id, enabled=False)))
    await world.clock.advance(40)
    found = await explained(world, job, job.anchor_ms + 30_000)
    assert (found.verdict, found.answer) == ("disabled", "It did not run: the job was disabled by bob.")


async def test_attempts(world):
    await world.executor(usual=FAILING)
    job = await world.job(max_attempts=3, retry=Retry(intervals_ms=(5000,)))
    await world.clock.advance(12)
    slot = job.anchor_ms + 10_000
    found = await explained(world, job, slot)
    assert (found.verdict, found.answer.partition(" is planned")[0]) == ("planned", "Attempt 2 of it")
    await world.clock.advance(30)
    found = await explained(world, job, slot)
    assert found.verdict == "failed"
    assert "failed (code 500" in found.answer
    assert "at attempt 3 of 3" in found.answer
    assert "3 of at most 3 attempts: 1: failed (code 500" in text_of(found)


@pytest.mark.parametrize("misfire", [Misfire.SKIP, Misfire.FIRE_ALL])
async def test_an_outage(world, misfire):
    await world.executor()
    job = await world.job(misfire=misfire, misfire_limits=MisfireLimits(most=1), misfire_after_s=5)
    await world.clock.advance(2)
    await world.crash()
    await world.clock.advance(60)
    await world.start()
    await world.beat(A)
    await world.clock.advance(5)
    found = await explained(world, job, job.anchor_ms + 30_000)
    assert found.verdict == "skipped"
    assert "misfire: found" in found.answer
    assert "Its row stands for" in text_of(found)
    if misfire is Misfire.FIRE_ALL:
        rows = await world.rows(job_id=job.id, trigger_kind=int(TriggerKind.MISFIRE))
        made_up = await explained(world, job, rows[-1].slot_key)
        assert "it makes up for what was missed, misfire fire_all" in made_up.answer
        assert "cause: It makes up for slots that were missed." in text_of(made_up)


async def test_second_delay(world):
    await world.executor(usual=Behaviour(runs_s=3))
    job = await world.job(schedule={"kind": "second_delay", "expression": 20})
    await world.clock.advance(10)
    (run,) = await world.rows(job_id=job.id)
    found = await explained(world, job, run.due_ms)
    assert found.verdict == "ran"
    assert "each run is due 20.0 s after the end of the one before" in text_of(found)
    ahead = await explained(world, job, world.clock.now_ms() + 3_600_000)
    assert ahead.verdict == "no_slot"
    assert "Its next run is due at" in text_of(ahead)


async def test_a_second_delay_within_bounds(world):
    await world.executor()
    now_ms = world.clock.now_ms()
    timing = Timing(Window(max_fires=2), (Once(now_ms + 4_000, now_ms + 60_000, "backup"),), jitter_ms=500)
    job = await world.job(schedule={"kind": "second_delay", "expression": 5}, timing=timing)
    await world.clock.advance(10)
    found = await explained(world, job, now_ms + 10_000)
    assert found.verdict == "no_slot"
    assert "second_delay may go on at any time, but" in found.answer
    assert found.answer.endswith("is excluded: backup.")
    due_ms = timing.due_ms(job.id, now_ms + 60_000)
    assert f"Its next run is due at {iso_utc(due_ms)[:19]}" in text_of(found)
    await world.clock.advance(60)
    found = await explained(world, job, due_ms)
    assert (found.verdict, "Its part of the jitter" in text_of(found)) == ("ran", True)
    assert "Its maximum of 2 fires is reached." in text_of(await explained(world, job))


async def test_a_run_that_somebody_triggered(world):
    await world.executor()
    job = await world.job(schedule={"kind": "api"})
    run_id = await world.trigger(job, kind=TriggerKind.MANUAL)
    at = world.clock.now_ms()
    await world.until_final(run_id)
    found = await explained(world, job, at)
    assert (found.verdict, found.run_id, found.slot_ms) == ("ran", run_id, None)
    assert "cause: It was started by hand" in text_of(found)
    await world.clock.advance(30)
    found = await explained(world, job)
    assert "it runs when it is triggered" in found.answer
    assert f"Run {run_id} started on time" in text_of(found)


async def test_run_again_and_marked_by_hand(world):
    await world.executor(usual=FAILING)
    job = await world.job(schedule={"kind": "api"})
    run_id = await world.trigger(job)
    at = world.clock.now_ms()
    await world.until_final(run_id)
    desk = FlowReruns(world.flow, world.now.operations, world.now.runs)
    again = await world.do(by("dora", desk.rerun(run_id, Rerun())))
    await world.clock.advance(2)
    found = await explained(world, job, at)
    assert f"rerun: It was run again, as run {again}." in text_of(found)
    await world.do(by("dora", desk.mark_succeeded(again, "repaired")))
    found = await explained(world, job, (await world.row(again)).due_ms)
    assert found.run_id == again
    assert f"cause: It was started by hand by dora, to run run {run_id} again." in text_of(found)
    assert "was marked as succeeded by dora: repaired (it was failed" in found.answer


async def test_a_broadcast(world):
    await world.executor()
    job = await world.job(route=Route.SHARDING_BROADCAST)
    await world.clock.advance(12)
    found = await explained(world, job, job.anchor_ms + 10_000)
    assert found.verdict == "ran"
    assert "1 shards: 1 succeeded, 0 failed, 0 stopped, 0 pending." in text_of(found)


async def test_a_row_that_is_missing_is_told_plainly(world):
    await world.executor()
    job = await world.job()
    await world.clock.advance(42)
    slot = job.anchor_ms + 20_000
    async with world._look.write() as conn:
        await conn.execute(delete(tables.run).where(tables.run.c.slot_key == slot))
    found = await explained(world, job, slot)
    assert found.verdict == "missing"
    assert (
        "There is no run for this slot, though version 1, in force then, has it: it is missing."
        in found.answer
    )


async def test_what_is_not_kept_and_what_never_was(world):
    await world.executor()
    job = await world.job()
    await world.clock.advance(3)
    before = await explained(world, job, job.created_ms - 10_000)
    assert (before.verdict, before.answer.partition(" at ")[0]) == ("no_job", "The job did not exist")
    with pytest.raises(NotFound):
        await explained(world, type("Job", (), {"id": 99})())
    with pytest.raises(InvalidValue) as refused:
        await explained(world, job, "soon")
    assert refused.value.field == "at"


async def test_a_deleted_job(world):
    await world.executor()
    job = await world.job()
    await world.clock.advance(12)
    await world.do(by("carol", world.now.jobs.delete(job.id, keep_history=True)))
    found = await explained(world, job, job.anchor_ms + 10_000)
    assert found.verdict == "ran"
    assert "deleted: The job was deleted by carol at" in text_of(found)
    ahead = await explained(world, job, job.anchor_ms + 100_000)
    assert ahead.verdict == "deleted"
    assert ahead.answer.startswith("It will not run: the job was deleted by carol")
    await world.clock.advance(120)
    found = await explained(world, job, job.anchor_ms + 100_000)
    assert (found.verdict, found.answer.partition(":")[0]) == ("deleted", "It did not run")


async def test_a_calendar_that_was_changed_since(world):
    await world.executor()
    calendars = CalendarStore(world.now.db, world.clock, world.now.ids)
    days = Days([date(2026, 11, 18)])
    await world.do(calendars.create(Calendar("open", days)))
    job = await world.job(
        schedule={"kind": "cron", "expression": "0/10 * * * * ?", "timezone": "UTC"},
        timing=Timing(calendars=(CalendarUse("open", CalendarMode.EXCLUDE),)),
    )
    await world.clock.advance(15)
    slot = world.clock.now_ms() // 10_000 * 10_000
    found = await explained(world, job, slot)
    assert found.verdict == "no_slot"
    assert "calendar 'open' lists the day" in found.answer
    old = await calendars.get("open")
    await world.do(calendars.replace(replace(old, days=Days([]))))
    await world.do(world.now.operations.jobs_changed([job.id]))
    found = await explained(world, job, slot)
    assert found.verdict == "no_slot"
    assert "calendar 'open' lists the day" in found.answer
    assert "Calendar 'open' was changed at" in text_of(found)
    assert "its days of then count" in text_of(found)
    await world.clock.advance(15)
    found = await explained(world, job, slot + 10_000)
    assert (found.verdict, "its days of then" in text_of(found)) == ("ran", False)
    async with world._look.write() as conn:  # as after an upgrade: what was replaced before it is not known
        await conn.execute(delete(tables.calendar_edition))
    found = await explained(world, job, slot)
    assert found.verdict == "not_kept"
    assert "calendar 'open' was changed at" in found.answer


async def test_executors_that_the_job_may_not_use(world):
    for address in (A, B):
        await world.executor(address)
    job = await world.job(schedule=EVERY_HOUR, placement=Placement("canary"))
    await say(world, A, labels=("canary",))
    ahead = world.clock.now_ms() + 3_600_000
    found = await explained(world, job, ahead - ahead % 3_600_000)
    assert (
        "route: Route ROUND over 1 executors of app 'shop' with the label 'canary' that are there now."
        in text_of(found)
    )
    await say(world, A, draining=True)
    found = await explained(world, job, ahead - ahead % 3_600_000)
    assert "It would fail as things are: no executor of app 'shop' may be used: 1 draining" in found.answer
    assert (
        "route: Route ROUND, but no executor of app 'shop' may be used: 1 draining, 1 without the label 'canary'."
        in text_of(found)
    )
