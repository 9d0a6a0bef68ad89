"""What an import remembers counts for what it has made alone, also when that is gone and another thing could have its id."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, update

from gateway.core.acting import acting_for
from gateway.core.errors import Conflict
from gateway.core.model import PARTS
from gateway.core.users import Role, User
from gateway.store.apps import AppStore
from gateway.store.cutovers import AUTHOR
from gateway.store.history import HistoryStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.passwords import Passwords
from gateway.store.tables import import_item, user_account
from gateway.store.users import UserStore
from gateway.store.way_back import WayBackStore
from importer.apply import apply_plan, read_target
from importer.cutover import CutoverOptions, carry_out, prepare
from importer.plan.make import PlanOptions, make_plan
from importer.plan.values import Existing
from importer.source.values import SourceGroup, SourceUser
from importer.undo import undo, what_to_undo
from importer.way_back import held, next_times, next_times_beforehand, take_back
from tests.contract.test_imports import a_job
from tests.kit.source_rows import MD5_OF_123456, installation, job

OURS, OTHERS = "xxl_job@10.0.0.5:3306", "other@10.0.0.6:3306"
NOBODY_LOOKS = CutoverOptions(is_stopped=True)
MINUTE = 60_000
SHOP = (SourceGroup("1", "shop", "Shop", 0),)
BILLING = (SourceGroup("1", "billing", "Billing", 0),)
BOTH = (*SHOP, SourceGroup("2", "stock", "Stock", 0))
PEOPLE = (SourceUser(1, "admin", MD5_OF_123456, role=1), SourceUser(2, "bob", MD5_OF_123456, 0, "1"))


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))


@pytest.fixture
def apps(db, clock):
    return AppStore(db, clock, app_ids(db, clock))


@pytest.fixture
def users(db, clock):
    return UserStore(db, clock, Passwords(memory_kib=64))


@pytest.fixture
def store(db, clock):
    return WayBackStore(db, clock)


@pytest.fixture
def bring(db, clock):
    """`await bring(source, job, …)`: an import, one minute before what comes next."""

    async def brought(source, *rows, update=False, **tables):
        target = await read_target(db, clock, source)
        how = Existing.UPDATE if update else Existing.SKIP
        options = PlanOptions(source, merge=True, existing=how, timezone="Asia/Shanghai")
        plan = make_plan(installation(*rows, **{"groups": SHOP} | tables), target, options, clock.now_ms())
        done = await apply_plan(db, clock, plan, release="2.3.0", passwords=Passwords(memory_kib=64))
        clock.ms += MINUTE
        return done

    return brought


@pytest.fixture
def forget(db, clock, jobs):
    """A job is deleted, and a gateway removes all that was left of it."""

    async def forgotten(job_id):
        await jobs.delete(job_id)
        history = HistoryStore(db, clock)
        for kept in await history.kept(range(PARTS), 0, 100, deleted=True):
            assert await history.forget(kept)
        clock.ms += MINUTE

    return forgotten


@pytest.fixture
def hold(db):
    """As imports of before have left it: they hold ids that others could get."""

    async def held(source_id, kind, old_key, new_id):
        values = {"source_id": source_id, "kind": kind, "old_key": old_key, "new_id": new_id, "version": 1}
        async with db.write() as conn:
            await conn.execute(insert(import_item).values(values | {"wants_enabled": 1}))

    return held


@pytest.fixture
def source_of(store):
    async def found(name):
        return next(one for one in await store.sources() if one.name == name)

    return found


def payroll(number):
    return job(number, description="payroll", handler="payroll")


async def test_an_import_does_not_get_the_id_of_another_imports_job(
    clock, store, jobs, bring, forget, source_of
):
    await bring(OURS, job(1), job(2))
    await forget(2)
    done = await bring(OTHERS, payroll(2), payroll(3))
    assert 2 not in done.jobs_made
    assert len(done.jobs_made) == 2
    await bring(OURS, job(1), job(2, schedule_conf="0 0 3 * * ?"), update=True)
    made = await jobs.load(done.jobs_made)
    assert {one.task.handler for one in made.values()} == {"payroll"}
    found = await prepare(store, clock, await source_of(OURS), None, NOBODY_LOOKS)
    assert ([one.job.id for one in found.starts], found.missing) == ([1], (2,))


async def test_nobody_can_wish_the_id_of_a_deleted_job_of_an_import_until_that_is_undone(
    db, clock, jobs, bring, forget
):
    await bring(OURS, job(1), job(2))
    await forget(2)
    (mine,) = await jobs.create([a_job(0, app_id=1)], [2])
    assert mine.id > 2
    await jobs.delete(mine.id)
    await undo(db, clock, await what_to_undo(db, clock, OURS))
    await bring(OTHERS, payroll(5))
    (mine,) = await jobs.create([a_job(0, app_id=1)], [2])
    assert mine.id == 2


async def test_ids_in_reserve_are_not_those_of_deleted_jobs_of_an_import(db, clock, jobs, bring, forget):
    """A node has drawn them before the import came, and asks for none for an hour."""
    await bring(OTHERS, payroll(1))
    other = JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))
    (held,) = await other.create([a_job(0, app_id=1)])
    await bring(OURS, job(held.id + 1))
    await forget(held.id + 1)
    (later,) = await other.create([a_job(0, app_id=1)])
    assert later.id > held.id + 1


async def test_an_import_that_was_planned_before_another_one_came_is_refused(db, clock, bring, forget):
    await bring(OTHERS, payroll(9))
    target = await read_target(db, clock, "third")
    options = PlanOptions("third", merge=True, timezone="Asia/Shanghai")
    plan = make_plan(installation(job(2), groups=SHOP), target, options, clock.now_ms())
    await bring(OURS, job(2))
    await forget(2)
    with pytest.raises(Conflict, match="run it again"):
        await apply_plan(db, clock, plan, passwords=Passwords(memory_kib=64))


async def test_a_job_that_has_got_such_an_id_before_is_none_of_the_import(
    db, clock, store, jobs, bring, hold, source_of, rows
):
    await bring(OURS, job(1))
    ours = await source_of(OURS)
    await bring(OTHERS, payroll(2))
    await hold(ours.id, "job", "2", 2)
    there = await jobs.get(2)
    # Its row has changed in the source, and it is at the version that was imported.
    done = await bring(OURS, job(1), job(2, schedule_conf="0 0 3 * * ?"), update=True)
    assert (done.jobs_made, done.jobs_changed) == ((), ())
    found = await prepare(store, clock, ours, None, NOBODY_LOOKS)
    assert ([one.job.id for one in found.starts], found.missing) == ([1], (2,))
    with acting_for(AUTHOR):
        assert (await carry_out(store, clock, found)).enabled == (1,)
        theirs = await prepare(store, clock, await source_of(OTHERS), None, NOBODY_LOOKS)
        assert (await carry_out(store, clock, theirs)).enabled == (2,)
        async with db.write() as conn:
            await conn.execute(update(import_item).values(live=1))
        taking = (await held(store, ours)).items
        beforehand = await next_times_beforehand(store, ours, taking, clock.ms)
        assert [one.old_id for one in beforehand] == [1]
        taken = await take_back(store, clock, ours)
        assert (taken.disabled, [one.old_id for one in taken.following]) == (1, [1])
        assert (await jobs.get(2)).enabled
        await take_back(store, clock, await source_of(OTHERS))
        assert [one.old_id for one in await next_times(store, ours, clock.ms)] == [1]
    assert (await jobs.get(2)).task == there.task


async def test_an_import_that_comes_again_by_a_clock_behind_knows_its_jobs(clock, store, bring, source_of):
    await bring(OURS, job(1))
    clock.ms -= 10 * MINUTE
    await bring(OURS, job(1), job(2), update=True)
    found = await prepare(store, clock, await source_of(OURS), None, NOBODY_LOOKS)
    assert ([one.job.id for one in found.starts], found.missing) == ([1, 2], ())


async def test_an_app_is_made_again_with_its_id_and_no_other_gets_it(apps, jobs, bring, clock):
    await bring(OURS, job(1, group="1"), groups=BOTH)
    await jobs.delete(1)
    await apps.delete(1)
    await bring(OTHERS, payroll(7), groups=BILLING)
    billing = await apps.get("billing")
    assert billing.id > 2
    assert await apps.ids_of([1]) == {1: billing.id}
    await apps.delete(2)
    await bring(OURS, job(1, group="1"), groups=BOTH, update=True)
    assert (await apps.get("stock")).id == 2
    assert (await apps.get("shop")).id not in (1, 2, billing.id)
    assert await apps.get("billing") == billing


async def test_an_app_that_has_got_such_an_id_before_is_none_of_the_import(
    store, apps, bring, hold, source_of
):
    await bring(OURS, groups=())
    await bring(OURS, groups=(SourceGroup("9", "stock", "Stock", 0),))
    ours = await source_of(OURS)
    await bring(OTHERS, groups=BILLING)
    await hold(ours.id, "app", "1", 1)
    billing = await apps.get("billing")
    assert billing.id == 1
    assert {one.old_key: one.new_id for one in await store.groups(ours.id)} == {"9": 9}
    await bring(OURS, groups=SHOP, update=True)
    assert await apps.get("billing") == billing
    shop = await apps.get("shop")
    assert shop.id != 1
    assert {one.old_key: one.new_id for one in await store.groups(ours.id)}["1"] == shop.id


async def test_a_user_who_has_got_the_id_of_a_removed_one_is_none_of_the_import(db, clock, users, bring):
    await bring(OURS, users=PEOPLE)
    await users.remove(2)
    carol = await users.create(User(0, "carol", Role.ADMIN), "carol's own")
    assert carol.id == (2 if db.is_sqlite else 3)
    clock.ms += MINUTE
    await bring(OURS, job(1), users=PEOPLE)
    await bring(OURS, job(1), users=PEOPLE, update=True)
    assert await users.get("carol") == carol
    bob = await users.get("bob")
    assert (bob.id != carol.id, bob.role, bob.app_ids) == (True, Role.NORMAL, frozenset({1}))


async def test_a_user_who_has_got_such_an_id_before_is_none_of_the_import(
    users, bring, hold, source_of, clock
):
    await bring(OURS, users=PEOPLE[:1])
    carol = await users.create(User(0, "carol", Role.ADMIN), "carol's own")
    await hold((await source_of(OURS)).id, "user", "2", carol.id)
    clock.ms += MINUTE
    await bring(OURS, users=PEOPLE, update=True)
    assert await users.get("carol") == carol
    assert (await users.get("bob")).role is Role.NORMAL


async def test_what_an_import_remembers_of_a_user_goes_with_him(users, bring, rows):
    await bring(OURS, users=PEOPLE)
    await bring(OTHERS, job(2), users=(SourceUser(9, "dora", MD5_OF_123456, role=1),))
    await users.remove(2)
    left = [(one["kind"], one["new_id"]) for one in await rows(import_item) if one["new_id"] in (2, 9)]
    assert sorted(left) == [("job", 2), ("user", 9)]
    assert [one["username"] for one in await rows(user_account)] == ["admin", "dora"]
