"""Any node takes any call: triggers, results, edits and stops for the parts of another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.access import EVERY_APP
from gateway.core.errors import AlreadySubmitted, StoreError
from gateway.core.model import ExecutorResult, Route, Task
from gateway.core.states import RunState
from gateway.store.tables import request, task
from tests.kit.fake_link import FAILING, SILENT, Behaviour
from tests.kit.flow_world import World

EVERY_SECOND = {"kind": "fixed_rate", "expression": "1s"}


async def owned_job(world, name, **changes):
    """A job of a part that this node owns."""
    for _ in range(40):
        job = await world.job(**{"enabled": False, **changes})
        if job.part in world.nodes[name].context.held:
            return job
    raise AssertionError(f"{name} owns no part of forty jobs")


@pytest.fixture
async def pair(several):
    """The owner of a job, and another node that all calls from outside reach."""
    a, b = several.nodes["a"], several.nodes["b"]
    several.pick = lambda lives: b if b in lives else lives[0]
    return several, a, b


# ------------------------------------------------------------ triggers


async def test_a_trigger_through_another_node_starts_at_once(pair):
    world, a, b = pair
    executor = await world.executor()
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=b)
    await world.clock.advance(0.05)
    assert [sent[0] for sent in a.link.sent] == [run_id]
    assert executor.executions == {run_id: 1}
    await world.clock.advance(0.5)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert await world.table(request) == []


async def test_a_trigger_is_found_when_no_call_comes_through(pair):
    world, a, b = pair
    await world.executor()
    job = await owned_job(world, "a")
    a.cut = True
    run_id = await world.trigger(job, by=b)
    await world.clock.advance(0.7)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert len(a.link.sent) == 1


async def test_a_trigger_for_a_node_that_dies_is_taken_up_by_its_heir(pair):
    world, _, b = pair
    executor = await world.executor()
    job = await owned_job(world, "a")
    await world.crash("a")
    run_id = await world.trigger(job, by=b)
    run = await world.until_final(run_id)
    assert run.state is RunState.SUCCEEDED
    assert executor.executions == {run_id: 1}
    await world.clock.advance(1)
    assert await world.table(request) == []


async def test_a_task_id_names_one_run_on_all_nodes(pair):
    world, a, b = pair
    await world.executor()
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=b, task_id="close the day")
    for life in (a, b):
        with pytest.raises(AlreadySubmitted) as refusal:
            await world.trigger(job, by=life, task_id="close the day")
        assert refusal.value.run_id == run_id
    await world.clock.advance(1)
    assert [row["run_id"] for row in await world.table(task)] == [run_id]
    assert len(await world.rows()) == 1
    assert await world.table(request) == []  # those of the refused ones are gone as well


# ------------------------------------------------------------ results


async def test_a_result_that_another_node_takes_ends_the_run(pair):
    world, a, _ = pair
    await world.executor(usual=Behaviour(answer_after_s=0.004, runs_s=0.2))
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    await world.clock.advance(1)
    run = await world.row(run_id)
    assert run.state is RunState.SUCCEEDED
    assert (run.sent_ms - run.due_ms, run.answered_ms - run.sent_ms) != (0, 0)
    assert run.finished_ms - run.answered_ms >= 190
    assert len(a.context.flights) == 0


async def test_a_result_before_the_answer_leaves_the_times_to_the_sender(pair):
    world, a, _ = pair
    await world.executor(usual=Behaviour(answer_after_s=0.5, runs_s=0.01))
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    await world.clock.advance(0.3)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    await world.clock.advance(1)
    run = await world.row(run_id)
    assert run.state is RunState.SUCCEEDED
    assert 450 < run.answered_ms - run.sent_ms < 550
    assert len(a.context.flights) == 0


async def test_what_a_cut_off_node_has_spooled_is_written_by_another(pair):
    world, a, _ = pair
    await world.executor(usual=Behaviour(runs_s=3.0))
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    world.pick = lambda _lives: a
    await world.clock.advance(2)
    for database in a.databases:
        database.refuses = True
    a.cut = True
    await world.clock.advance(2)
    assert world.has_spooled("a")
    assert (await world.row(run_id)).state is RunState.RUNNING
    a.cut = False
    await world.clock.advance(2)
    assert not world.has_spooled("a")
    assert (await world.row(run_id)).state is RunState.SUCCEEDED


async def test_a_node_that_is_cut_off_from_many_spools_in_time(tmp_path):
    """However many there are to ask; another time it begins with one that it has not asked yet."""
    world = World(tmp_path, several=True)
    for name in "abcdef":
        await world.start(name=name)
    await world.clock.advance(3)
    life = world.nodes["f"]
    await world.executor(usual=SILENT)
    job = await world.job(enabled=False)
    run_id = await world.trigger(job)
    await world.clock.advance(2)
    run = await world.row(run_id)
    life.refuse_database()
    await world.clock.advance_until(lambda: not life.writer.healthy, at_most_s=20)
    for name in "abcd":
        world.nodes[name].cut = True
    asked: list[bool] = []
    for number in range(6):
        begun = world.clock.monotonic()
        result = ExecutorResult(run_id, 200, None, run.trigger_ms, world.clock.now_ms() + number, True)
        answer = life.process.spawn(life.flow.report([result], "java", EVERY_APP), name="callback")
        await world.clock.advance_until(answer.done, at_most_s=60)
        assert answer.result() is True
        assert world.clock.monotonic() - begun < 0.5
        asked.append((await world.row(run_id)).state is RunState.SUCCEEDED)
    assert (asked[0], asked[-1]) == (False, True)
    life.mend_database()
    await world.close()


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(answered=False, runs_s=0.2)])
async def test_what_the_owner_is_not_told_it_finds_out(pair, behaviour):
    """Nothing stays in its memory for ever, whether it was answered or still asks what became of the send."""
    world, a, b = pair
    await world.executor(usual=behaviour)
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    b.cut = True
    await world.clock.advance(80)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert len(a.context.flights) == 0
    assert len(a.flow.settler) == 0


async def test_a_doubt_ends_with_the_word_of_another_node(pair):
    world, a, _ = pair
    await world.executor(usual=Behaviour(answered=False, runs_s=5.0))
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    await world.clock.advance(3.5)
    assert (await world.row(run_id)).state is RunState.RUNNING  # asked, and found
    run = await world.row(run_id)
    assert 0 <= run.sent_ms - run.due_ms < 50
    await world.clock.advance(2)
    assert (await world.row(run_id)).state is RunState.SUCCEEDED
    assert len(a.context.flights) == 0


async def test_the_next_attempt_is_left_to_the_owner(pair):
    world, a, b = pair
    executor = await world.executor(usual=FAILING)
    job = await owned_job(world, "a", max_attempts=3)
    await world.trigger(job, by=a)
    await world.clock.advance(0.5)
    rows = await world.rows(job_id=job.id)
    assert [run.state for run in rows] == [RunState.RETRYING, RunState.RETRYING, RunState.FAILED]
    assert len(a.link.sent) == 3
    assert b.link.sent == []
    assert len(executor.executed) == 3
    await world.clock.advance(1)
    assert await world.table(request) == []


async def test_shards_whose_results_come_to_different_nodes_end_their_parent(pair):
    world, a, b = pair
    for address in ("http://10.0.0.1:9999/", "http://10.0.0.2:9999/"):
        await world.executor(address)
    turn = [a, b]
    world.pick = lambda _lives: (turn.reverse(), turn[0])[1]
    job = await owned_job(world, "a", route=Route.SHARDING_BROADCAST)
    parent_id = await world.trigger(job, by=b)
    await world.clock.advance(1)
    assert (await world.row(parent_id)).state is RunState.SUCCEEDED


# ------------------------------------------------------------ edits


async def test_an_edit_through_another_node_holds_with_its_answer(pair):
    """The owner has claimed under the old version, and has not sent yet."""
    world, a, b = pair
    executor = await world.executor()
    job = await owned_job(world, "a", enabled=True)
    due = (job.anchor_ms + 10_000 - world.clock.now_ms()) / 1000
    await world.clock.advance(due - 0.08)
    assert a.flow.dispatcher.held == 1
    begun = world.clock.monotonic()
    await world.change(job, by=b, task=Task("handler", "new"))
    assert world.clock.monotonic() - begun < 0.05
    await world.clock.advance(1)
    assert [request.params for request in executor.executed] == ["new"]


async def test_a_disabled_job_of_another_node_sends_nothing_from_the_answer_on(pair):
    world, _, b = pair
    executor = await world.executor()
    job = await owned_job(world, "a", enabled=True)
    due = (job.anchor_ms + 10_000 - world.clock.now_ms()) / 1000
    await world.clock.advance(due - 0.08)
    await world.change(job, by=b, enabled=False)
    await world.clock.advance(11)
    assert executor.executed == []


@pytest.mark.parametrize("why", ["peers cut", "stands still", "dead"])
async def test_an_edit_waits_for_the_claims_of_an_owner_it_cannot_reach(pair, why):
    world, a, b = pair
    executor = await world.executor()
    job = await owned_job(world, "a", enabled=True)
    due = (job.anchor_ms + 10_000 - world.clock.now_ms()) / 1000
    await world.clock.advance(due - 0.08)
    if why == "peers cut":
        a.cut = True
    elif why == "stands still":
        a.freeze()
    else:
        await world.crash("a")
    begun = world.clock.monotonic()
    await world.change(job, by=b, task=Task("handler", "new"))
    answered_ms = world.clock.now_ms()
    assert 1.4 < world.clock.monotonic() - begun < 1.7
    a.thaw()
    await world.clock.advance(15)
    old = [request for request in executor.executed if request.params != "new"]
    assert all(request.at_ms < answered_ms for request in old)
    assert len(executor.executed) == 2
    assert max(executor.executions.values()) == 1


async def test_an_edit_reaches_who_has_joined_since_the_last_look(pair):
    """Its name is known, as that of a node that was dead; it has parts by a third node, and has claimed."""
    world, _, b = pair
    executor = await world.executor()
    await world.start(name="c")
    await world.clock.advance(2)
    await world.stop_node("c")
    await world.clock.advance(2)
    b.db.up.clear()  # b does not look any more
    await world.clock.advance(0.6)
    c = await world.start(name="c")
    await world.clock.advance_until(lambda: len(c.context.held) > 0)
    job = await owned_job(world, "c", schedule=EVERY_SECOND, enabled=True)
    b.db.up.set()
    due = (job.anchor_ms + 1000 - world.clock.now_ms()) / 1000
    await world.clock.advance(due - 0.08)
    changed = await world.do(b.jobs.update(replace(job, task=Task("handler", "new"))), by=b)
    await world.do(b.operations.jobs_changed([job.id]), by=b)
    answered_ms = world.clock.now_ms()
    await world.clock.advance(3)
    assert changed.version == 2
    later = [one for one in executor.executed if one.job_id == job.id and one.at_ms >= answered_ms]
    assert later
    assert {request.params for request in later} == {"new"}


async def test_an_edit_while_the_others_cannot_be_looked_up_waits_for_all_claims(pair):
    """Who else is there is not known for sure then."""
    world, _, b = pair
    await world.executor()
    job = await owned_job(world, "a", enabled=True)
    changed = await world.do(b.jobs.update(replace(job, task=Task("handler", "new"))), by=b)
    reads = b.db.read

    def refused():
        b.db.read = reads
        raise StoreError("the database cannot be reached")

    b.db.read = refused
    begun = world.clock.monotonic()
    await world.do(b.flow.neighbours.tell_change([changed.id]), by=b)
    assert world.clock.monotonic() - begun > 1.4


# ------------------------------------------------------------ stops


async def test_a_stop_is_handed_to_the_owner(pair):
    world, a, b = pair
    executor = await world.executor(usual=SILENT)
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    await world.clock.advance(0.02)  # sent, and the row does not know it yet
    report = await world.stop(run_id, by=b)
    assert report.state is RunState.STOPPING
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.STOPPED
    assert executor.asked["kill"] == 1


async def test_a_run_that_waits_is_stopped_by_its_owner(pair):
    world, _, b = pair
    job = await owned_job(world, "a", enabled=True)
    await world.executor()
    due = (job.anchor_ms + 10_000 - world.clock.now_ms()) / 1000
    await world.clock.advance(due - 1)
    (run,) = [run for run in await world.rows(job_id=job.id) if run.state is RunState.PLANNED]
    assert (await world.stop(run.id, by=b)).state is RunState.STOPPED
    await world.clock.advance(5)
    assert (await world.row(run.id)).state is RunState.STOPPED


async def test_a_stop_is_done_here_when_the_owner_cannot_be_reached(pair):
    world, a, b = pair
    executor = await world.executor(usual=SILENT)
    job = await owned_job(world, "a")
    run_id = await world.trigger(job, by=a)
    await world.clock.advance(1)
    a.cut = True
    assert (await world.stop(run_id, by=b)).state is RunState.STOPPING
    assert executor.asked["kill"] == 1
    await world.clock.advance(1)
    assert (await world.row(run_id)).state is RunState.STOPPED
