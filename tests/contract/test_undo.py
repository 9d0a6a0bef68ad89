"""An import is undone: what was before is there again, what is not its own stays, and when it is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from gateway.core.daily import DAY_MS
from gateway.core.errors import Conflict, NotFound, Refused
from gateway.core.model import FIRST_LONG_ID, AddressMode, App, TriggerKind
from gateway.core.users import Role, User
from gateway.store.apps import AppStore
from gateway.store.ids import FIRST_INT_ID, app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.passwords import Passwords
from gateway.store.tables import (
    access_token,
    app,
    app_alias,
    backfill,
    event,
    executor,
    import_item,
    import_source,
    job,
    job_link,
    metadata,
    node,
    pause,
    revision,
    run,
    run_daily,
    trigger_url,
    user_account,
    user_session,
)
from gateway.store.undo import UndoStore
from gateway.store.users import UserStore
from importer.apply import apply_plan, read_target
from importer.history import import_days, import_logs
from importer.plan.values import Action, PlannedApp
from importer.source.values import SourceDay
from importer.undo import refuse, undo, what_to_undo
from tests.contract.test_import_logs import FakeSource, a_log
from tests.contract.test_imports import SHOP, SOURCE, a_job, a_plan, planned, whole

LATER_MS = 3_600_000
OTHER = "other@10.0.0.6:3306"
NEVER_GO = {"id_sequence", "event", "revision"}


@pytest.fixture
def cheap():
    return Passwords(memory_kib=64)


@pytest.fixture
def apply(db, clock, cheap):
    async def applied(plan):
        done = await apply_plan(db, clock, plan, release="2.3.0", passwords=cheap)
        clock.ms += LATER_MS
        return done

    return applied


@pytest.fixture
def everything(db):
    """All tables but what only grows."""

    async def read():
        async with db.read() as conn:
            return {
                name: sorted(map(tuple, await conn.execute(select(table))), key=repr)
                for name, table in metadata.tables.items()
                if name not in NEVER_GO
            }

    return read


@pytest.fixture
def write(db):
    async def written(*statements):
        async with db.write() as conn:
            for one in statements:
                await conn.execute(one)

    return written


@pytest.fixture
async def crowd(db, clock, jobs, cheap):
    """A gateway that has been at work for long: an app with a job, and a user."""
    mine = await AppStore(db, clock, app_ids(db, clock)).create(
        App(0, 1, "mine", "", AddressMode.AUTO, (), 0, 0)
    )
    (one,) = await jobs.create([a_job(0, app_id=mine.id)])
    await UserStore(db, clock, cheap).create(User(0, "carol", Role.NORMAL), "carol's own")
    clock.ms += LATER_MS
    return mine, one


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))


@pytest.fixture
def the_log(db, clock):
    """Brings so many runs of job 7, and counts of days."""

    async def copied(number, days=2):
        plan = replace(whole(), job_ids={7: 7, 12: 12})
        logs = [a_log(n, clock.ms - 60_000 + n) for n in range(1, number + 1)]
        today = date.fromordinal(clock.ms // DAY_MS + date(1970, 1, 1).toordinal())
        reported = [SourceDay(today - timedelta(days=n), 0, n, 1) for n in range(5, 5 + days)]
        source = FakeSource(clock, logs, reported)
        await import_logs(source, db, clock, plan, days=1)
        await import_days(source, db, clock, plan)

    return copied


@pytest.fixture
def see(db, clock):
    return lambda name=None: what_to_undo(db, clock, name)


def ids(things):
    return [one.id for one in things]


async def test_all_is_as_if_it_had_not_been_and_it_can_be_given_again(
    db, clock, apply, see, the_log, everything, crowd, write, rows
):
    before = await everything()
    first = await apply(whole())
    await the_log(1200)
    await write(
        insert(run_daily).values(day=1, job_id=7, app_id=3, kind=0),
        insert(run_daily).values(day=1, job_id=7, app_id=3, kind=1),
        insert(executor).values(app_id=3, address="http://10.0.0.1:9999", dialect="v2"),
        insert(pause).values(scope="job", scope_id=7),
        insert(trigger_url).values(job_id=7, kind="github", secret_hash="h", rules="{}"),
        insert(user_session).values(token_hash="t", user_id=5),
    )
    wanted = await see()
    assert (ids(wanted.apps), ids(wanted.jobs), ids(wanted.users), wanted.runs) == (
        [3],
        [7, 12],
        [5, 6],
        1200,
    )
    assert (wanted.stays, wanted.is_begun) == ((), False)
    numbers = {row["name"]: row["n"] for row in await rows(revision)}
    batches = []
    await undo(db, clock, wanted, lambda what, done, total: batches.append((what, done, total)))
    assert batches == [
        ("runs", 500, 1200), ("runs", 1000, 1200), ("runs", 1200, 1200), ("removing", 0, 1), ("removing", 1, 1),
    ]  # fmt: skip
    assert await everything() == before
    after = {row["name"]: row["n"] for row in await rows(revision)}
    assert all(after[name] > numbers.get(name, 0) for name in ("app", "job", "access", "pause"))
    told = {(row["source_type"], row["source_id"]) for row in await rows(event) if row["reason"] == "undone"}
    assert told == {
        ("job", "7"), ("job", "12"), ("app", "shop"), ("user", "alice"), ("user", "bob"), ("system", "import"),
    }  # fmt: skip
    with pytest.raises(Conflict, match="has changed since it was looked at"):
        await undo(db, clock, wanted)
    assert await apply(whole()) == first


async def test_what_was_here_before_or_is_used_by_others_stays(
    db, clock, apply, see, everything, crowd, write
):
    """An import into an app that was here: it keeps its job, and loses what the import gave it."""
    mine, old = crowd
    before = await everything()
    into = PlannedApp(Action.UPDATE, mine, ("3", "8"), "the source's", (), (8,))
    await apply(a_plan(apps=[into], jobs=[planned(a_job(7, app_id=mine.id))]))
    # As an import remembers a job that is not its own any more.
    await write(insert(import_item).values(source_id=1, kind="job", old_key="90", new_id=old.id))
    wanted = await see()
    assert (ids(wanted.apps), ids(wanted.jobs), ids(wanted.stays)) == ([], [7], [old.id, mine.id])
    assert (wanted.aliases, len(wanted.tokens)) == ((8,), 2)
    await undo(db, clock, wanted)
    assert await everything() == before


async def test_a_token_of_somebody_else_stays_with_what_goes_on_beside_it(
    db, clock, apply, see, crowd, write, rows
):
    mine, _ = crowd
    await apply(a_plan(apps=[PlannedApp(Action.UPDATE, mine, ("3",), "the source's")]))
    await write(insert(access_token).values(app_id=mine.id, text="newer", created_ms=clock.ms))
    await undo(db, clock, await see())
    assert {row["text"] for row in await rows(access_token)} == {"", "newer"}


async def test_an_app_that_got_other_jobs_and_a_user_of_two_imports(db, clock, apply, see, jobs, write, rows):
    await apply(whole())
    await jobs.create([a_job(0)])
    await write(insert(import_source).values(name=OTHER))
    other = next(row["id"] for row in await rows(import_source) if row["name"] == OTHER)
    await write(insert(import_item).values(source_id=other, kind="user", old_key="1", new_id=5))
    with pytest.raises(Refused, match=f"say which: {SOURCE}, {OTHER}"):
        await see()
    wanted = await see(SOURCE)
    stays = {(one.kind, one.name): one.note for one in wanted.stays}
    assert stays == {
        ("app", "shop"): "it has jobs that do not go: 1",
        ("user", "alice"): "another import has it as well",
    }
    assert wanted.aliases == (8, 9)
    await undo(db, clock, wanted)
    assert [row["id"] for row in await rows(app)] == [3]
    assert await rows(app_alias) == []
    assert await rows(access_token) == []
    assert [row["username"] for row in await rows(user_account)] == ["alice"]
    assert [row["name"] for row in await rows(import_source)] == [OTHER]


async def test_a_second_import_of_the_source_is_undone_with_the_first(
    db, clock, apply, see, everything, crowd
):
    before = await everything()
    await apply(whole())
    more = replace(SHOP, id=4, appname="more")
    jobs = [planned(a_job(20, app_id=4))]
    await apply(a_plan(apps=[PlannedApp(Action.CREATE, more, ("4",))], jobs=jobs))
    last = replace(SHOP, id=5, appname="last")
    await apply(a_plan(apps=[PlannedApp(Action.CREATE, last, ("5",))]))
    wanted = await see(SOURCE)
    assert (ids(wanted.apps), ids(wanted.jobs)) == ([3, 4, 5], [7, 12, 20])
    await undo(db, clock, wanted)
    assert await everything() == before


async def test_changed_jobs_are_listed_and_deleted_ones_stay_deleted(db, clock, apply, see, jobs):
    await apply(whole())
    await jobs.update(replace(await jobs.get(7), name="by somebody"))
    await jobs.delete(12)
    wanted = await see()
    assert [(one.id, one.note) for one in wanted.jobs] == [
        (7, "changed here since: version 4, imported as version 3")
    ]
    assert [(one.id, one.note) for one in wanted.stays] == [
        (12, "deleted here; its id is free when its history is gone")
    ]
    await undo(db, clock, wanted)
    assert (await read_target(db, clock, SOURCE)).taken_job_ids == {12}


def own_run(number):
    values = {"id": number, "job_id": 12, "app_id": 3, "slot_key": number, "created_ms": 1}
    return insert(run).values(trigger_kind=int(TriggerKind.MANUAL), **values)


REFUSALS = {
    "cut over": (update(import_item).where(import_item.c.new_id == 7).values(live=1), "job 7 is cut over.*--back"),
    "enabled": (update(job).where(job.c.id == 7).values(enabled=True), "job 7 is enabled: .*jobs disable"),
    "a run": (FIRST_LONG_ID + 5, "job 12 has runs of this gateway.*jobs delete"),
    "a run of 32 bits": (FIRST_INT_ID + 5, "job 12 has runs of this gateway"),
    "a backfill": (insert(backfill).values(job_id=7), "job 7 has runs of this gateway"),
    "a parent": (insert(job_link).values(parent_id=900, child_id=7), "job 900 starts jobs of the import"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
async def test_when_it_is_refused(what, db, clock, apply, see, the_log, everything, write):
    await apply(whole())
    await the_log(3)
    wanted = await see()
    statement, said = REFUSALS[what]
    await write(own_run(statement) if isinstance(statement, int) else statement)
    before = await everything()
    with pytest.raises(Refused, match=said):
        refuse(await see())
    with pytest.raises(Conflict, match="has changed since it was looked at"):
        await undo(db, clock, wanted)
    assert await everything() == before


async def test_there_is_none_or_none_of_that_name(db, clock, apply, see):
    with pytest.raises(Refused, match="no import here"):
        await see()
    await apply(whole())
    with pytest.raises(Refused, match=f"no import 'x' here, but {SOURCE}"):
        await see("x")
    with pytest.raises(NotFound):
        await UndoStore(db, clock).look("x")


@pytest.mark.parametrize("at", ["runs", "days", "end"])
async def test_ended_between_the_batches_the_same_call_goes_on(
    at, db, clock, apply, see, the_log, everything, crowd, monkeypatch, rows
):
    """Until it has, nothing more is imported: the log would have a hole."""
    before = await everything()
    await apply(whole())
    await the_log(700)
    wanted = await see()
    method = {"runs": "remove_runs", "days": "remove_days", "end": "remove"}[at]
    real, calls = getattr(UndoStore, method), []

    async def killed(self, *args):
        calls.append(args)
        if len(calls) == (1 if at == "end" else 2):
            raise asyncio.CancelledError
        return await real(self, *args)

    monkeypatch.setattr(UndoStore, method, killed)
    with pytest.raises(asyncio.CancelledError):
        await undo(db, clock, wanted)
    monkeypatch.undo()
    assert len(await rows(run)) == (200 if at == "runs" else 0)
    assert [row["id"] for row in await rows(job) if row["app_id"] == 3] == [7, 12]
    for again in (apply(whole()), the_log(700)):
        with pytest.raises(Conflict, match="is being undone: finish that first"):
            await again
    begun = await see()
    assert begun.is_begun
    assert begun == wanted
    await undo(db, clock, begun)
    assert await everything() == before


async def test_a_change_before_the_last_transaction_is_seen(
    db, clock, apply, see, the_log, monkeypatch, jobs, rows
):
    """Runs are gone by then; apps, jobs and users are all there."""
    await apply(whole())
    await the_log(10)
    wanted = await see()
    real = UndoStore.remove

    async def later(self, found):
        await jobs.set_enabled(7, enabled=True)
        await real(self, found)

    monkeypatch.setattr(UndoStore, "remove", later)
    with pytest.raises(Conflict, match="has changed since it was looked at"):
        await undo(db, clock, wanted)
    assert [row["id"] for row in await rows(job)] == [7, 12]
    assert len(await rows(user_account)) == 2


async def test_a_job_that_comes_at_this_moment_has_an_app_or_is_refused(
    db, clock, apply, see, the_log, jobs, rows
):
    await apply(whole())
    await the_log(10)
    wanted = await see()
    outcomes = await asyncio.gather(undo(db, clock, wanted), jobs.create([a_job(0)]), return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in outcomes) == 1
    assert {row["app_id"] for row in await rows(job)} == {row["id"] for row in await rows(app)}


async def test_beside_nodes_at_work_it_waits_for_a_calm_moment(db, clock, apply, see, the_log, write, rows):
    await apply(whole())
    await the_log(1001)
    await write(insert(node).values(name="one", live=1))
    clock.ms = clock.ms // 1000 * 1000 + 900
    started = clock.ms
    await undo(db, clock, await see())
    assert await rows(run) == []
    # On SQLite no node can be at work.
    assert (clock.ms > started) is not db.is_sqlite
    await write(delete(node))
