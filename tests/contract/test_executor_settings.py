"""What people set for executors: the same on every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.acting import acting_for
from gateway.core.errors import NotFound
from gateway.core.events import EventFilter
from gateway.core.model import AddressMode, App
from gateway.core.placement import ExecutorSetting, Fallback, Placement, SettingChange
from gateway.core.states import RunState
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.definitions import definition_of
from gateway.store.events import EventStore
from gateway.store.jobs import JobStore
from gateway.store.nodes import Nodes
from gateway.store.runs import RunStore
from gateway.store.tables import executor_setting
from tests.contract.test_catalog import a_job, add_runs

A, B = "http://h:1/", "http://h:2/"


@pytest.fixture
def apps(db, clock):
    return AppStore(db, clock, ids.app_ids(db, clock))


@pytest.fixture
async def app(apps):
    return await apps.create(App(0, 1, "billing", "", AddressMode.AUTO, (), 0, 0))


async def revision(db) -> int:
    return (await Nodes(db, None, 2000).look(())).revisions["app"]


async def test_a_setting_from_its_first_value_to_its_last(db, clock, apps, app):
    other = await apps.create(App(0, 1, "other", "", AddressMode.AUTO, (), 0, 0))
    before = await revision(db)
    with acting_for("ann"):
        made = await apps.set_executor(app, "http://H:1", SettingChange(("canary", "big"), 5, note="new"))
    assert made == ExecutorSetting(app.id, A, ("canary", "big"), 5, 0, "new", "ann", clock.now_ms())
    drained = await apps.set_executor(app, A, SettingChange(draining=True))
    assert drained == replace(made, draining_ms=clock.now_ms(), author="system")
    await apps.set_executor(other, A, SettingChange(weight=0))
    assert await apps.settings_of(app.id) == [drained]
    assert [one.app_id for one in await apps.executor_settings()] == [app.id, other.id]
    assert await revision(db) == before + 3
    assert await apps.set_executor(app, A, SettingChange(weight=5)) == drained  # says nothing new
    assert await apps.set_executor(app, B, SettingChange(draining=False)) == ExecutorSetting(app.id, B)
    assert await revision(db) == before + 3
    plain = await apps.set_executor(app, A, SettingChange((), 100, draining=False, note=""))
    assert plain.says_nothing
    assert await apps.settings_of(app.id) == []
    await apps.delete(other.id)
    async with db.read() as conn:
        assert (await conn.execute(executor_setting.select())).all() == []
    with pytest.raises(NotFound):
        await apps.set_executor(other, A, SettingChange(weight=3))
    events = await EventStore(db, clock).page(EventFilter(source_type="executor"), cursor=None, limit=9)
    assert [(one.source_id, one.source_name, one.reason, one.text) for one in reversed(events.items)] == [
        (A, "billing", "changed", "of app billing: labels canary, big; weight 100 to 5; note: new"),
        (A, "billing", "draining", "of app billing: drains"),
        (A, "other", "changed", "of app other: weight 100 to 0"),
        (
            A,
            "billing",
            "resumed",
            "of app billing: labels none; weight 5 to 100; drains no more; note: none",
        ),
    ]


async def test_changes_of_several_at_once_are_all_kept(apps, app):
    changes = [SettingChange(labels=("x",)), SettingChange(weight=7), SettingChange(draining=True)]
    await asyncio.gather(*(apps.set_executor(app, A, change) for change in changes))
    (found,) = await apps.settings_of(app.id)
    assert (found.labels, found.weight, bool(found.draining_ms)) == (("x",), 7, True)


async def test_a_jobs_label_is_kept_and_left_out_where_there_is_none(db, clock, app):
    jobs = JobStore(db, clock, ids.job_ids(db, clock), ids.run_ids(db, clock))
    wanted = Placement("canary", Fallback.ANY)
    made, plain = await jobs.create([replace(a_job(app), placement=wanted), a_job(app)])
    assert (await jobs.get(made.id)).placement == wanted
    assert definition_of(made)["placement"] == {"label": "canary", "fallback": "any"}
    assert "placement" not in definition_of(plain)
    assert (await jobs.get(plain.id)).placement == Placement()


async def test_how_many_runs_are_under_way_at_each_address(db, clock, app):
    states = (RunState.QUEUED, RunState.DISPATCHING, RunState.RUNNING, RunState.STOPPING, RunState.SUCCEEDED)
    rows = [
        {"id": number, "app_id": app.id, "state": int(state), "address": (A, B)[state is RunState.RUNNING]}
        for number, state in enumerate(states, 1)
    ]
    await add_runs(db, *rows)
    runs = RunStore(db, clock)
    assert await runs.running_by_address(app.id) == {A: 2, B: 1}
    assert await runs.running_by_address(app.id + 1) == {}
