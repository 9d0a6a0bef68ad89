"""An import as one transaction: what it writes, what it leaves alone, when it refuses."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from pymysql.err import OperationalError
from sqlalchemy import insert, select, update

from gateway.core.access import AccessTokens
from gateway.core.children import Child
from gateway.core.errors import Conflict
from gateway.core.model import AddressMode, App, Job, Task
from gateway.core.parts import part_of, part_of_app
from gateway.core.registry import Registry
from gateway.core.users import Role, User
from gateway.store.access import AccessStore
from gateway.store.apps import AppStore
from gateway.store.ids import app_ids, job_ids, run_ids, short_run_ids
from gateway.store.jobs import JobStore
from gateway.store.passwords import Passwords
from gateway.store.tables import (
    app_alias,
    event,
    import_item,
    import_source,
    job,
    job_link,
    job_next_fire,
    job_version,
    revision,
    user_account,
)
from gateway.store.users import UserStore
from gateway.store.versions import VersionStore
from importer.apply import apply_plan, read_target
from importer.errors import TargetFull
from importer.plan.values import (
    Action,
    Fires,
    Firsts,
    OldPassword,
    Plan,
    PlannedApp,
    PlannedJob,
    PlannedUser,
    Verdict,
)

SOURCE = "xxl_job@10.0.0.5:3306"
SHOP = App(3, 1, "shop", "Shop", AddressMode.AUTO, (), 0, 0)
CRON = {"kind": "cron", "expression": "0 0/5 * * * ?", "timezone": "Asia/Shanghai"}
MD5 = hashlib.md5(b"letmein").hexdigest()
TASK = Task("handle")
FIRSTS = Firsts(101, 31, 21, 0)
ALICE = User(5, "alice", Role.NORMAL, frozenset({3}))


def a_job(job_id, *, app_id=3, task=TASK, **fields):
    return Job(job_id, 1, app_id, 0, 1, f"job {job_id}", False, CRON, task, **fields)


def planned(one, action=Action.CREATE, **fields):
    values = {
        "old_id": one.id,
        "wants_enabled": True,
        "verdict": Verdict.IDENTICAL,
        "reasons": (),
        "fires": Fires((), ()),
        "digest": f"row of {one.id}",
    }
    return PlannedJob(action, one, **values | fields)


def a_plan(apps=(), jobs=(), users=(), firsts=FIRSTS):
    return Plan(SOURCE, "Asia/Shanghai", "given", tuple(apps), tuple(jobs), tuple(users), firsts, {}, {}, {})


def whole():
    """An app under three ids, a job with two earlier versions, one that starts another, and two users."""
    glue = [Task("", glue_type="GLUE_SHELL", glue_source=f"echo {n}", glue_updated_ms=n) for n in range(3)]
    history = tuple(a_job(7, task=one) for one in glue[:2])
    return a_plan(
        apps=[PlannedApp(Action.CREATE, SHOP, ("3", "8", "9"), "shop's own", (), (8, 9))],
        jobs=[
            planned(a_job(7, task=glue[2], created_ms=1_500_000_000_000), history=history),
            planned(a_job(12, children=(Child(7), Child(12))), wants_enabled=False),
        ],
        users=[
            PlannedUser(Action.CREATE, ALICE, 5, OldPassword("md5", MD5)),
            PlannedUser(Action.CREATE, User(6, "bob", Role.ADMIN), 6),
        ],
    )


@pytest.fixture
def cheap():
    return Passwords(memory_kib=64)


@pytest.fixture
def apply(db, clock, cheap):
    async def applied(plan):
        return await apply_plan(db, clock, plan, release="2.3.0", passwords=cheap)

    return applied


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))


@pytest.fixture
def users(db, clock, cheap):
    return UserStore(db, clock, cheap)


@pytest.fixture
async def everything(db):
    """All that an import may write, to see that it is as before."""
    tables = (app_alias, event, import_item, import_source, job, job_link, job_next_fire, job_version)

    async def read():
        async with db.read() as conn:
            return {
                table.name: sorted(map(tuple, await conn.execute(select(table))), key=repr)
                for table in (*tables, user_account, revision)
            }

    return read


async def test_what_is_there_after_an_import(db, clock, apply, jobs, rows):
    done = await apply(whole())
    assert (done.apps_made, done.jobs_made, done.users_made) == ((3,), (7, 12), (5, 6))
    target = await read_target(db, clock, SOURCE)
    assert (target.apps[3].appname, target.aliases) == ("shop", {8: 3, 9: 3})
    assert target.imported_apps == {"3": 3, "8": 3, "9": 3}
    assert target.imported_users == {5: 5, 6: 6}
    assert (target.users[5].app_ids, target.users[6].role) == (frozenset({3}), Role.ADMIN)
    known = {old: (one.new_id, one.version, one.wants_enabled) for old, one in target.imported_jobs.items()}
    assert known == {7: (7, 3, True), 12: (12, 1, False)}
    assert target.taken_job_ids == {7, 12}
    seven = await jobs.get(7)
    assert (seven.version, seven.enabled, seven.next_fire_at, seven.part) == (3, False, None, part_of(7))
    assert (seven.task.glue_source, seven.created_ms) == ("echo 2", 1_500_000_000_000)
    assert {(row["parent_id"], row["child_id"]) for row in await rows(job_link)} == {(12, 7), (12, 12)}
    (source,) = await rows(import_source)
    assert (source["release"], source["timezone"], source["author"]) == ("2.3.0", "Asia/Shanghai", "import")
    told = {(row["source_type"], row["source_id"], row["reason"], row["author"]) for row in await rows(event)}
    assert ("job", "7", "imported", "import") in told
    assert MD5 not in str(await rows(event)) + str(await rows(user_account)) + str(await rows(import_item))


async def test_history_is_earlier_versions_which_were_never_in_force_here(apply, db, clock):
    await apply(whole())
    page = await VersionStore(db).page(7, cursor=None, limit=10)
    assert [(one.number, one.job.task.glue_source) for one in page.items] == [
        (3, "echo 2"),
        (2, "echo 1"),
        (1, "echo 0"),
    ]
    assert {one.created_ms for one in page.items} == {clock.now_ms()}
    assert not any(one.job.enabled for one in page.items)


async def test_a_job_was_changed_when_the_source_says_and_its_versions_are_of_the_import(
    apply, db, clock, jobs
):
    """Whether it is made or updated, and whether anything but the time is another one."""
    times = lambda one: (one.created_ms, one.updated_ms)  # noqa: E731
    await apply(
        a_plan([PlannedApp(Action.CREATE, SHOP, ("3",))], [planned(a_job(7, created_ms=5, updated_ms=6))])
    )
    made = await jobs.get(7)
    assert times(made) == (5, 6)
    clock.ms += 60_000
    await apply(a_plan((), [planned(replace(made, timeout_s=9, updated_ms=7), Action.UPDATE, digest="1")]))
    changed = await jobs.get(7)
    assert (times(changed), changed.version) == ((5, 7), 2)
    await apply(a_plan((), [planned(replace(changed, updated_ms=8), Action.UPDATE, digest="2")]))
    assert (times(await jobs.get(7)), (await jobs.get(7)).version) == ((5, 8), 2)
    await apply(a_plan((), [planned(replace(changed, updated_ms=1 << 60), Action.UPDATE, digest="3")]))
    assert times(await jobs.get(7)) == (5, clock.now_ms())
    versions = (await VersionStore(db).page(7, cursor=None, limit=10)).items
    assert [one.created_ms for one in versions] == [clock.now_ms(), clock.now_ms() - 60_000]


async def test_an_imported_job_is_like_any_other(apply, jobs, clock):
    await apply(whole())
    enabled = await jobs.set_enabled(7, enabled=True)
    assert (enabled.version, enabled.next_fire_at % 300_000) == (4, 0)
    changed = await jobs.update(replace(await jobs.get(12), name="other"))
    assert (changed.version, changed.children) == (2, (Child(7), Child(12)))
    await jobs.delete(7)
    await jobs.delete(12)


async def test_a_second_time_changes_nothing(apply, db, clock, everything):
    await apply(whole())
    before = await everything()
    clock.ms += 60_000
    target = await read_target(db, clock, SOURCE)
    for action in (Action.SKIP, Action.UPDATE):
        plan = whole()
        again = replace(
            plan,
            apps=tuple(replace(one, action=action, app=target.apps[3]) for one in plan.apps),
            jobs=tuple(
                replace(one, action=action, job=replace(one.job, version=target.jobs[one.job.id].version))
                for one in plan.jobs
            ),
            users=tuple(replace(one, action=action, user=target.users[one.user.id]) for one in plan.users),
        )
        assert not (await apply(again)).anything
        assert await everything() == before


async def test_an_update_is_an_edit(apply, db, clock, jobs, users, rows):
    await apply(whole())
    await jobs.set_enabled(12, enabled=True)  # as a cutover does it
    target = await read_target(db, clock, SOURCE)
    clock.ms += 60_000
    hourly = {"kind": "cron", "expression": "0 0 * * * ?", "timezone": "Asia/Shanghai"}
    done = await apply(
        a_plan(
            apps=[
                PlannedApp(
                    Action.UPDATE,
                    replace(target.apps[3], title="Shop 2"),
                    ("3", "8", "9", "10"),
                    aliases=(8, 9, 10),
                )
            ],
            jobs=[
                planned(replace(target.jobs[7], schedule=hourly, children=(Child(12),)), Action.UPDATE),
                planned(replace(target.jobs[12], schedule=hourly, children=(Child(7),)), Action.UPDATE),
            ],
            users=[
                PlannedUser(
                    Action.UPDATE,
                    replace(target.users[5], role=Role.ADMIN),
                    5,
                    OldPassword("md5", hashlib.md5(b"changed there").hexdigest()),
                )
            ],
        )
    )
    assert (done.apps_changed, done.jobs_changed, done.users_changed) == ((3,), (7, 12), (5,))
    seven, twelve = await jobs.get(7), await jobs.get(12)
    assert (seven.version, seven.next_fire_at, seven.schedule) == (4, None, hourly)
    assert (twelve.version, twelve.next_fire_at % 3_600_000) == (3, 0)
    # The source has this cycle, so the target has it as well.
    assert {(row["parent_id"], row["child_id"]) for row in await rows(job_link)} == {(7, 12), (12, 7)}
    after = await read_target(db, clock, SOURCE)
    assert (after.apps[3].title, after.aliases) == ("Shop 2", {8: 3, 9: 3, 10: 3})
    assert (after.imported_jobs[7].version, after.imported_jobs[12].version) == (4, 3)
    assert await users.with_password("alice", "letmein") is None
    assert (await users.with_password("alice", "changed there")).is_admin


async def test_jobs_of_an_app_with_a_limit_are_in_its_part(apply, db, clock, jobs):
    apps = AppStore(db, clock, app_ids(db, clock))
    there = await apps.create(replace(SHOP, max_running=2))
    plan = a_plan(
        apps=[PlannedApp(Action.MERGE, there, ("3",), aliases=(3,))],
        jobs=[planned(a_job(7, app_id=there.id))],
    )
    await apply(plan)
    assert (await jobs.get(7)).part == part_of_app(there.id)
    assert (await jobs.create([a_job(0, app_id=there.id)]))[0].part == part_of_app(there.id)
    assert (await read_target(db, clock, SOURCE)).aliases == {3: there.id}


async def test_tokens_of_apps(apply, db, clock, rows):
    registry = Registry()
    await apply(whole())
    apps = AppStore(db, clock, app_ids(db, clock))
    there = await apps.create(replace(SHOP, appname="old"))
    merge = PlannedApp(Action.MERGE, there, ("44",), "from the source")
    for _ in range(2):
        await apply(a_plan(apps=[merge]))
    tokens = AccessTokens(("for all",), registry, clock.now_ms)
    tokens.set_all(await AccessStore(db, clock).all_access_tokens())
    shop = (await read_target(db, clock, SOURCE)).apps[3]
    assert [one.text for one in tokens.valid(shop)] == ["shop's own"]
    told = [(row["source_id"], row["text"]) for row in await rows(event) if row["reason"] == "token_created"]
    assert told == [
        ("shop", f"that of {SOURCE}"),
        ("old", f"that of {SOURCE}; what it accepted before goes on"),
    ]
    # One that was here before goes on taking what it took.
    assert [one.text for one in tokens.valid(there)] == ["from the source", "for all"]


async def test_a_target_that_has_changed_is_refused_as_a_whole(apply, db, clock, jobs, users, everything):
    apps = AppStore(db, clock, app_ids(db, clock))
    there = await apps.create(App(0, 1, "there", "", AddressMode.AUTO, (), 0, 0))
    other, deleted = await jobs.create([a_job(0, app_id=there.id) for _ in range(2)])
    carol = await users.create(User(0, "carol", Role.NORMAL), "carol's")
    target = await read_target(db, clock, SOURCE)
    clock.ms += 1000
    await jobs.delete(deleted.id, keep_history=True)
    await jobs.update(replace(other, name="edited meanwhile"))
    await apps.update(replace(there, title="by somebody"))
    await users.update(replace(carol, role=Role.ADMIN))
    gone = replace(there, id=77, appname="gone")
    retitled = replace(target.apps[there.id], title="by the source")
    wrong = {
        "the id 1 is another job's": planned(a_job(other.id)),
        "the id 2 is another job's": planned(a_job(deleted.id)),
        "an app 'there' already": PlannedApp(Action.CREATE, replace(SHOP, id=4, appname="there"), ("4",)),
        "an app 1 already": PlannedApp(Action.CREATE, replace(SHOP, id=there.id, appname="x"), ("4",)),
        "a user 'carol'": PlannedUser(Action.CREATE, replace(carol, id=44), 44),
        "job 1 was changed: it is at version 2": planned(target.jobs[other.id], Action.UPDATE),
        "job 999, a child of another, is not here": planned(a_job(30, children=(Child(999),))),
        "job 998 is not here": planned(replace(a_job(998)), Action.UPDATE),
        "app 'gone' is not here": PlannedApp(Action.MERGE, gone, ("77",)),
        "app 'there' was changed": PlannedApp(Action.UPDATE, retitled, ("77",)),
        "user 'carol' was changed": PlannedUser(Action.UPDATE, target.users[carol.id], carol.id),
    }
    before = await everything()
    for message, one in wrong.items():
        plan = whole()
        kind = {PlannedApp: "apps", PlannedJob: "jobs", PlannedUser: "users"}[type(one)]
        with pytest.raises(Conflict, match=f"{message}.*run it again"):
            await apply(replace(plan, **{kind: (*getattr(plan, kind), one)}))
        assert await everything() == before
    assert (await apply(whole())).anything


async def test_ids_that_a_node_holds_and_an_import_takes(apply, db, clock, jobs):
    apps = AppStore(db, clock, app_ids(db, clock, block=10))
    first = await apps.create(App(0, 1, "first", "", AddressMode.AUTO, (), 0, 0))
    (one,) = await jobs.create([a_job(0, app_id=first.id)])
    assert (first.id, one.id) == (1, 1)
    await apply(
        a_plan(
            apps=[PlannedApp(Action.CREATE, replace(SHOP, id=2), ("2", "3"), aliases=(3,))],
            jobs=[planned(a_job(2, app_id=2)), planned(a_job(3, app_id=2))],
            firsts=Firsts(1001, 501, 0, 0),
        )
    )
    # Both still have blocks in memory whose next ids are taken by now; 3 is another id of an app.
    made = await jobs.create([a_job(0, app_id=first.id), a_job(0, app_id=first.id)])
    assert [one.id for one in made] == [1001, 1002]
    assert (await apps.create(replace(SHOP, appname="later"))).id == 501
    with pytest.raises(Conflict, match="'later' already"):
        await apps.create(replace(SHOP, appname="later"))


async def test_sequences_begin_above_what_the_source_has_used(apply, db, clock, users):
    short = short_run_ids(db, clock)
    await short.draw(1)
    await apply(a_plan(firsts=Firsts(5001, 301, 201, 700_000_000)))
    assert (await job_ids(db, clock).draw(1))[0] == 5001
    assert (await app_ids(db, clock).draw(1))[0] == 301
    assert (await short_run_ids(db, clock).draw(1))[0] == 700_000_000
    made = await users.create(User(0, "dora", Role.NORMAL), "hers")
    assert made.id == (1 if db.is_sqlite else 201)
    # A second import from something smaller takes nothing back.
    await apply(a_plan(firsts=Firsts(2, 2, 2, 2)))
    assert (await job_ids(db, clock).draw(1))[0] > 5001


async def test_a_job_that_people_have_deleted_here_can_be_made_again(apply, db, clock, jobs):
    await apply(whole())
    await jobs.delete(12)
    target = await read_target(db, clock, SOURCE)
    assert (12 in target.jobs, 12 in target.taken_job_ids) == (False, True)
    assert target.imported_jobs[12].new_id == 12
    await apply(a_plan(apps=[PlannedApp(Action.SKIP, SHOP, ("3",))], jobs=[planned(a_job(120), old_id=12)]))
    again = await read_target(db, clock, SOURCE)
    assert again.imported_jobs[12].new_id == 120
    assert again.jobs[120].name == "job 120"


async def test_a_live_job_stays_live(apply, db, clock, rows):
    await apply(whole())
    async with db.write() as conn:
        mine = (import_item.c.kind == "job", import_item.c.old_key == "7")
        await conn.execute(update(import_item).where(*mine).values(live=1))
    target = await read_target(db, clock, SOURCE)
    assert target.imported_jobs[7].live
    changed = planned(replace(target.jobs[7], name="new"), Action.UPDATE, wants_enabled=False)
    await apply(a_plan(apps=[PlannedApp(Action.SKIP, SHOP, ("3",))], jobs=[changed]))
    seven = (await read_target(db, clock, SOURCE)).imported_jobs[7]
    assert (seven.live, seven.wants_enabled, seven.version) == (True, False, 4)


async def test_old_passwords_are_hashed_anew_at_the_first_login(apply, users, rows):
    sha = hashlib.sha256("pässwort".encode()).hexdigest()
    await apply(
        a_plan(
            users=[
                PlannedUser(Action.CREATE, replace(ALICE, old_cookie=True), 5, OldPassword("md5", MD5)),
                PlannedUser(Action.CREATE, User(6, "bob", Role.NORMAL), 6, OldPassword("sha256", sha)),
                PlannedUser(Action.CREATE, User(7, "nobody", Role.NORMAL), 7),
            ]
        )
    )
    before = {row["username"]: row for row in await rows(user_account)}
    assert {name: row["password_scheme"] for name, row in before.items()} == {
        "alice": "md5",
        "bob": "sha256",
        "nobody": "",
    }
    assert all(row["password_hash"].startswith("$argon2id$") for row in before.values())
    for wrong in ("", MD5, "letmein2"):
        assert await users.with_password("alice", wrong) is None
    assert await users.with_digest("alice", MD5) is not None
    assert await users.with_password("nobody", "") is None
    assert (await users.with_password("alice", "letmein")).id == 5
    assert (await users.with_password("bob", "pässwort")).id == 6
    after = {row["username"]: row for row in await rows(user_account)}
    assert {row["password_scheme"] for row in after.values()} == {""}
    assert after["alice"]["password_hash"] != before["alice"]["password_hash"]
    assert (await users.with_password("alice", "letmein")).id == 5
    assert await users.with_password("alice", MD5) is None
    assert await users.with_digest("alice", MD5) is not None
    assert await users.with_password("bob", "pässwort") is not None


async def test_a_password_set_here_is_not_taken_back(apply, users, db, clock, rows):
    await apply(whole())
    await users.set_password(ALICE, "set here")
    assert {row["password_scheme"] for row in await rows(user_account)} == {""}
    there = (await read_target(db, clock, SOURCE)).users[5]
    again = PlannedUser(Action.UPDATE, replace(there, role=Role.ADMIN), 5, OldPassword("md5", MD5))
    await apply(a_plan(users=[again]))
    assert (await users.with_password("alice", "set here")).is_admin
    assert await users.with_password("alice", "letmein") is None


async def test_logins_and_a_new_password_at_the_same_time(apply, users, db, clock):
    """Whatever comes first: a login must not bring back the password that was set meanwhile."""

    class Slow(Passwords):
        async def hashed(self, text):
            await users.set_password(ALICE, "set meanwhile")
            return await super().hashed(text)

    await apply(whole())
    assert await UserStore(db, clock, Slow(memory_kib=64)).with_password("alice", "letmein") is not None
    assert await users.with_password("alice", "set meanwhile") is not None
    assert await users.with_password("alice", "letmein") is None


async def test_an_app_that_is_deleted_takes_its_other_ids_with_it(apply, db, clock, jobs, rows):
    await apply(whole())
    for job_id in (7, 12):
        await jobs.delete(job_id)
    await AppStore(db, clock, app_ids(db, clock)).delete(3)
    assert await rows(app_alias) == []
    async with db.write() as conn:
        await conn.execute(insert(app_alias).values(id=8, app_id=9))


async def test_a_full_disk_leaves_the_target_as_it_was(db, apply, everything, monkeypatch):
    """As each database says it: SQLite by its own limit of pages, MariaDB by the number of its error."""
    before = await everything()
    plan = whole()
    if db.is_sqlite:
        async with db.reader.connect() as conn:
            pages = (await conn.exec_driver_sql("PRAGMA page_count")).scalar()
        async with db.writer.connect() as conn:
            await conn.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        wide = replace(plan.jobs[0].job, task=Task("", glue_type="GLUE_SHELL", glue_source="x" * 500_000))
        plan = replace(plan, jobs=(replace(plan.jobs[0], job=wide), *plan.jobs[1:]))
    else:

        async def full(*_):
            raise OperationalError(1114, "The table 'user_account' is full")

        monkeypatch.setattr("gateway.store.imports.write_users", full)  # the last of all that it writes
    with pytest.raises(TargetFull, match="no room left"):
        await apply(plan)
    assert await everything() == before
