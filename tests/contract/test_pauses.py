"""Pauses are kept alike on every database, and every change of them is counted for the other nodes."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.clock import SystemClock
from gateway.core.errors import NotFound
from gateway.core.model import FIRST_LONG_ID, AddressMode, App, Counters, Job, NewRun, Task, TriggerKind
from gateway.core.pauses import Pause, Scope
from gateway.core.states import WAITING, RunState
from gateway.core.work import Move, Work
from gateway.store.apps import AppStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.pauses import PauseStore
from gateway.store.tables import pause, revision
from gateway.store.writer import GroupWriter


async def test_pauses_come_back_until_they_are_over(db, clock, rows):
    pauses, now_ms = PauseStore(db, clock), clock.now_ms()
    job = Pause(Scope.JOB, 7, "Inventur 盘点", "ann", now_ms, now_ms + 1000)
    app = Pause(Scope.APP, 7, "", "bob", now_ms + 1)
    for one in (job, app):
        await pauses.put(one, called="x")
    assert await pauses.all_pauses() == [job, app]
    again = Pause(Scope.APP, 7, "longer", "bob", now_ms + 2)
    await pauses.put(again, called="billing", name="Billing")
    assert await pauses.all_pauses() == [job, again]
    clock.ms += 1000
    assert await pauses.all_pauses() == [again]
    with pytest.raises(NotFound):
        await pauses.end(Scope.JOB, 7, called="7")
    await pauses.end(Scope.APP, 7, called="billing")
    assert await pauses.all_pauses() == []
    assert [row["n"] for row in await rows(revision) if row["name"] == "pause"] == [4]
    assert await pauses.revision() == 4


async def test_a_pause_goes_with_what_it_covers(db, clock, rows):
    apps, pauses = AppStore(db, clock, app_ids(db, clock)), PauseStore(db, clock)
    jobs = JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))
    app = await apps.create(App(0, 1, "billing", "", AddressMode.AUTO, (), 0, 0))
    wanted = Job(0, 1, app.id, 0, 0, "job", enabled=True, schedule={"kind": "api"}, task=Task("handler"))
    job, other = await jobs.create([wanted, wanted])
    for scope, scope_id in ((Scope.JOB, job.id), (Scope.JOB, 99), (Scope.APP, app.id)):
        await pauses.put(Pause(scope, scope_id, "", "ann", clock.now_ms()), called="x")
    before = await pauses.revision()
    await jobs.delete(job.id)
    assert await pauses.revision() == before + 1
    await jobs.delete(other.id)
    assert await pauses.revision() == before + 1  # it had none
    await apps.delete(app.id)
    left = [(row["scope"], row["scope_id"]) for row in await rows(pause)]
    assert left == [("job", 99)]


async def test_claims_judged_by_pauses_that_have_changed_are_lost(db, clock):
    app = await AppStore(db, clock, app_ids(db, clock)).create(
        App(0, 1, "billing", "", AddressMode.AUTO, (), 0, 0)
    )
    wanted = Job(0, 1, app.id, 0, 0, "job", enabled=True, schedule={"kind": "api"}, task=Task("handler"))
    (job,) = await JobStore(db, clock, job_ids(db, clock), run_ids(db, clock)).create([wanted])
    pauses, numbers = PauseStore(db, clock), range(FIRST_LONG_ID, FIRST_LONG_ID + 2)
    assert await pauses.revision() == 0
    claim, end = (
        Move(
            n,
            state,
            WAITING,
            {},
            job_id=job.id if is_claim else 0,
            job_version=job.version if is_claim else 0,
        )
        for n, state, is_claim in zip(
            numbers, (RunState.DISPATCHING, RunState.STOPPED), (True, False), strict=True
        )
    )
    writer = GroupWriter(db, SystemClock(), Counters())
    writing = asyncio.create_task(writer.run())
    queued, by_hand = RunState.QUEUED, TriggerKind.MANUAL
    await writer.write(
        Work(inserts=[NewRun(n, 1, job.id, app.id, job.part, -n, 1, 1, by_hand, queued, n) for n in numbers])
    )
    await pauses.put(Pause(Scope.JOB, 7, "", "ann", clock.now_ms()), called="7")
    written = await writer.write(Work(moves=[claim, end], pauses=0))
    assert (written.pauses_changed, written.lost_moves) == (True, {claim.run_id})
    written = await writer.write(Work(moves=[claim], pauses=1))
    assert (written.pauses_changed, written.lost_moves) == (False, set())
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
