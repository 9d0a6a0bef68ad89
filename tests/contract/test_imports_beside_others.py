"""Imports while others are at work on the same database, and imports that are killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.core.clock import SystemClock
from gateway.core.errors import Conflict
from gateway.core.model import AddressMode, App
from gateway.store.app_parts import part_for
from gateway.store.apps import AppStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.passwords import Passwords
from gateway.store.tables import import_source, job, job_next_fire, job_version, run
from importer.apply import apply_plan, read_target
from importer.history import BATCH, import_logs
from importer.plan.values import Action, PlannedApp
from tests.contract.test_import_logs import FakeSource, a_log
from tests.contract.test_imports import a_job, a_plan, planned

ROOT = Path(__file__).resolve().parents[2]
BUSY = App(0, 1, "busy", "", AddressMode.AUTO, (), 0, 0)
SOURCES, JOBS, ROUNDS = 3, 20, 8


async def test_imports_and_edits_at_the_same_time(db, rows):
    """Nobody is refused for want of luck, and every job is where its app's jobs belong."""
    clock = SystemClock()
    passwords = Passwords(memory_kib=64)
    apps = AppStore(db, clock, app_ids(db, clock))
    jobs = JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))
    busy = await apps.create(BUSY)

    async def edits():
        for n in range(ROUNDS):
            (made,) = await patiently(lambda: jobs.create([a_job(0, app_id=busy.id)]))
            await jobs.set_enabled(made.id, enabled=True)
            if n % 2:
                await jobs.delete(made.id)

    async def limits():
        for n in range(ROUNDS):
            await patiently(lambda n=n: apps.update(replace(busy, max_running=3 if n % 2 else None)))

    async def patiently(work):
        while True:
            try:
                return await work()
            except Conflict as error:
                assert "again" in str(error)  # noqa: PT017
                await clock.sleep(0.01)

    async def imports(number):
        source = f"source {number}"

        async def first():
            app = PlannedApp(Action.MERGE, busy, (str(number),))
            new = [planned(a_job(1000 * number + n, app_id=busy.id)) for n in range(JOBS)]
            plan = replace(a_plan(apps=[app], jobs=new), source=source)
            return await apply_plan(db, clock, plan, passwords=passwords)

        async def second():
            target = await read_target(db, clock, source)
            mine = [target.jobs[one.new_id] for one in target.imported_jobs.values()]
            changed = [planned(replace(one, name="updated"), Action.UPDATE) for one in mine]
            plan = replace(a_plan(jobs=changed), source=source)
            return await apply_plan(db, clock, plan, passwords=passwords)

        assert len((await patiently(first)).jobs_made) == JOBS
        assert len((await patiently(second)).jobs_changed) == JOBS

    await asyncio.gather(edits(), limits(), *(imports(n) for n in range(1, SOURCES + 1)))
    is_limited = (await apps.get("busy")).limited
    for row in await rows(job):
        assert row["part"] == part_for(row["id"], busy.id, limited=is_limited)
    fires = {row["job_id"]: (row["part"], row["version"]) for row in await rows(job_next_fire)}
    assert fires == {row["id"]: (row["part"], row["version"]) for row in await rows(job)}
    assert len(await rows(import_source)) == SOURCES
    assert sum(row["name"] == "updated" for row in await rows(job)) == SOURCES * JOBS


KILLED = """
import asyncio, sys
from tests.contract.test_imports_beside_others import child
asyncio.run(child(*sys.argv[1:]))
"""


async def child(what, url):
    """Says a line whenever something is about to be written, and waits to be killed."""
    from gateway.store.engine import database_url, open_database

    db, clock = open_database(database_url(url)), SystemClock()
    if what == "jobs":
        plan = a_plan(
            apps=[PlannedApp(Action.CREATE, replace(BUSY, id=3), ("3",))],
            jobs=[planned(a_job(n)) for n in range(1, 800)],
        )
        for _ in range(3):
            print("writing", flush=True)
        await apply_plan(db, clock, plan, passwords=Passwords(memory_kib=64))
    else:
        source, plan = a_log_of(clock)
        source.on_read = lambda: print("writing", flush=True)
        await import_logs(source, db, clock, plan, days=3)
    print("done", flush=True)


def a_log_of(clock):
    start_ms = 1_795_000_000_000
    source = FakeSource(clock, [a_log(n, start_ms + n * 1000) for n in range(1, 4 * BATCH)])
    clock.ms = start_ms + 86_400_000
    return source, replace(a_plan(jobs=[planned(a_job(7))]), job_ids={7: 7})


@pytest.mark.parametrize("what", ["jobs", "logs"])
async def test_an_import_that_is_killed(what, db, clock, rows):
    """Jobs: all of them or none. The log: what is there is whole, and the same call goes on after it."""
    if what == "logs":
        plan = a_plan(apps=[PlannedApp(Action.CREATE, replace(BUSY, id=3), ("3",))], jobs=[planned(a_job(7))])
        await apply_plan(db, clock, plan, passwords=Passwords(memory_kib=64))
    url = db.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", KILLED, what, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    for _ in range(3):
        assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    if what == "jobs":
        async with db.read() as conn:
            counts = {
                len((await conn.execute(select(table))).all()) for table in (job, job_next_fire, job_version)
            }
        assert counts in ({0}, {799})
        return
    ids = sorted(row["id"] for row in await rows(run))
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) % BATCH == 0
    source, plan = a_log_of(clock)
    done = await import_logs(source, db, clock, plan, days=3)
    assert 0 < done.runs == 4 * BATCH - 1 - len(ids)
    assert sorted(row["id"] for row in await rows(run)) == list(range(1, 4 * BATCH))
