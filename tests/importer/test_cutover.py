"""A cutover from a real source database: what is enabled, with which slot, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select

from gateway.core.acting import acting_for
from gateway.core.clock import SystemClock
from gateway.core.errors import Refused
from gateway.store.cutovers import AUTHOR
from gateway.store.engine import database_url, open_database
from gateway.store.ids import job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.tables import app, executor
from gateway.store.undo import UndoStore
from gateway.store.way_back import WayBackStore
from importer.apply import apply_plan, read_target
from importer.changes import Changes
from importer.cutover import CutoverOptions, Done, carry_out, find_source, prepare
from importer.plan.make import PlanOptions, make_plan
from importer.plan.values import Existing
from importer.source.source import SourceOptions, open_source
from importer.source.url import parse_source
from importer.source.values import QuartzState, SourceExecutor, SourceGroup, SourceJob, SourceLog
from importer.take_over import dialect_of
from importer.way_back import held, is_told_next_times, next_times, next_times_sql, take_back
from tests.kit.blank_database import blank_database

pytestmark = pytest.mark.mariadb

TOLD = CutoverOptions(is_stopped=True)
CHINA = timedelta(hours=8)
MINUTE = 60_000


def local(at_ms: int) -> datetime:
    return (datetime.fromtimestamp(at_ms / 1000, UTC) + CHINA).replace(tzinfo=None)


@pytest.fixture
async def db(tmp_path) -> AsyncIterator:
    database = open_database(database_url(blank_database(tmp_path)))
    yield database
    await database.close()


@pytest.fixture
def clock():
    return SystemClock()


@pytest.fixture
def store(db, clock):
    return WayBackStore(db, clock)


@pytest.fixture
def jobs(db, clock):
    return JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))


class Old:
    """An xxl-job database and what was imported from it. `slot`: the minute that the old admin has read ahead last."""

    def __init__(self, database, db, clock) -> None:
        self.database = database
        self.db = db
        self.clock = clock
        self.slot = clock.now_ms() // MINUTE * MINUTE - 10 * MINUTE

    def job(self, number, *, last=None, following=None, **fields):
        values = {
            "description": f"job {number}",
            "author": "a",
            "handler": "h",
            "glue_type": "BEAN",
            "route": "FIRST",
        }
        values |= {"block": "SERIAL_EXECUTION", "misfire": "DO_NOTHING", "trigger_status": 1}
        values |= {"last_ms": self.slot if last is None else last}
        values |= {"next_ms": self.slot + MINUTE if following is None else following}
        if "schedule_type" not in fields:
            values |= {"cron": "0 * * * * ?"}
        return SourceJob(number, "1", **(values | fields))

    def log(self, number, job_id, at_ms, **fields):
        return SourceLog(number, job_id, "1", triggered=local(at_ms), **({"trigger_code": 200} | fields))

    def fill(self, *jobs, logs=()):
        self.database.fill(groups=[SourceGroup("1", "shop", "Shop", 0)], jobs=jobs, logs=logs)

    @property
    def url(self):
        return parse_source(self.database.url)

    async def import_all(self, timezone=None, existing=Existing.SKIP):
        async with open_source(self.url, SourceOptions(timezone=timezone)) as source:
            installation = await source.installation()
            target = await read_target(self.db, self.clock, source.name)
            options = PlanOptions(source.name, timezone, existing)
            plan = make_plan(installation, target, options, self.clock.now_ms())
            await apply_plan(self.db, self.clock, plan, release=installation.release)

    async def look(self, store, options=TOLD):
        imported = find_source(await store.sources(), self.url.name)
        async with open_source(self.url, SourceOptions(timezone=imported.timezone)) as source:
            return await prepare(store, self.clock, imported, source, options)


@pytest.fixture
def old(make, db, clock):
    return lambda release="2.4.2": Old(make(release), db, clock)


def first_of(found) -> dict[int, int]:
    return {one.job.id: one.first_ms for one in found.starts}


async def test_each_job_goes_on_where_the_old_admin_has_stopped(store, clock, old, jobs):
    """Job 1 has had its last slot, job 2 was read ahead and never fired, job 3 was not due for long, job 4 is stopped."""
    here = old()
    later = here.slot + 24 * 60 * MINUTE
    here.fill(
        here.job(1),
        here.job(2),
        here.job(3, cron="0 0 0 1 1 ?", last=0, following=1_893_427_200_000),
        here.job(4, trigger_status=0, last=0, following=0),
        logs=[
            here.log(1, 1, here.slot - MINUTE),
            here.log(2, 2, here.slot - MINUTE),
            here.log(3, 1, here.slot),
        ],
    )
    await here.import_all()
    found = await here.look(store)
    assert first_of(found) == {1: here.slot + MINUTE, 2: here.slot, 3: 1_893_427_200_000}
    assert (found.unsure, found.ended, found.edited, found.late) == ((), (), (), 2)
    assert found.without_executors == ("shop",)
    assert abs(found.clock_ms) < 500
    done = await carry_out(store, clock, found)
    assert done.enabled == (1, 2, 3)
    assert (await jobs.get(2)).next_fire_at == here.slot < later
    again = await here.look(store)
    assert (again.starts, again.live) == ((), 3)
    assert (await carry_out(store, clock, again)).enabled == ()


async def test_a_log_that_was_emptied_makes_no_slot_twice(store, old):
    here = old()
    here.fill(here.job(1))
    await here.import_all()
    found = await here.look(store)
    assert first_of(found) == {1: here.slot + MINUTE}
    assert [(one.job.id, one.slots) for one in found.unsure] == [(1, (here.slot,))]


async def test_what_was_logged_and_perhaps_not_sent_is_told(store, old):
    here = old()
    logs = [here.log(1, 1, here.slot - MINUTE), here.log(2, 1, here.slot, trigger_code=0)]
    here.fill(here.job(1), logs=logs)
    await here.import_all()
    found = await here.look(store)
    assert first_of(found) == {1: here.slot + MINUTE}
    assert [one.slots for one in found.unsure] == [(here.slot,)]


@pytest.mark.parametrize(
    ("slot", "shown"),
    [
        (datetime(2024, 10, 27, 0, 30, tzinfo=UTC), ["02:28:00", "02:29:55"]),
        (datetime(2024, 10, 27, 1, 59, 58, tzinfo=UTC), ["02:58:00", "02:59:53", "03:00:02"]),
    ],
    ids=["when it came first", "right after it"],
)
async def test_an_admin_that_has_died_in_the_hour_that_came_twice(store, old, slot, shown):
    """Nobody knows which rows are of which time: slots read ahead are not repeated, and told."""
    here = old()
    slot_ms = int(slot.timestamp() * 1000)
    month = 30 * 24 * 60 * MINUTE
    rate = {"schedule_type": "FIX_RATE", "schedule_conf": str(month // 1000)}
    last = slot_ms - 5_000 + 9_000 * (len(shown) > 2)
    here.fill(
        here.job(1, last=slot_ms, following=slot_ms + month, **rate),
        here.job(2, last=last, following=last + month, **rate),
        logs=[
            SourceLog(
                number, 2, "1", triggered=datetime.fromisoformat(f"2024-10-27 {time}"), trigger_code=200
            )
            for number, time in enumerate(shown, 1)
        ],
    )
    await here.import_all("Europe/Berlin")
    found = await here.look(store)
    assert first_of(found)[1] == slot_ms + month
    assert {one.job.id: one.slots for one in found.unsure}[1] == (slot_ms,)


async def test_a_fixed_rate_keeps_the_phase_that_it_has_now(store, clock, old, jobs):
    """Somebody has stopped and started it since the import: its slots are others."""
    here = old()
    here.fill(
        here.job(1, schedule_type="FIX_RATE", schedule_conf="7", following=here.slot + 437),
        logs=[here.log(1, 1, here.slot - MINUTE)],
    )
    await here.import_all()
    moved = here.slot + 3_999
    here.database.execute(
        f"UPDATE xxl_job_info SET trigger_last_time = {moved - 7_000}, trigger_next_time = {moved}"
    )
    found = await here.look(store)
    ((job_id, first_ms),) = first_of(found).items()
    # The slots of the last hour: there were fewer than too many.
    assert (first_ms - here.slot - 3_000) % 7_000 == 0
    await carry_out(store, clock, found)
    made = await jobs.get(job_id)
    assert (made.next_fire_at, made.anchor_ms) == (first_ms, first_ms)


async def test_a_slot_of_a_fixed_rate_before_the_one_that_it_was_imported_with(store, clock, old, jobs):
    """Its phase was imported from the slot that was next, and the one before it never fired."""
    here = old()
    here.fill(
        here.job(1, schedule_type="FIX_RATE", schedule_conf="60"),
        logs=[here.log(1, 1, here.slot - 2 * MINUTE), here.log(2, 1, here.slot - MINUTE)],
    )
    await here.import_all()
    assert (await jobs.get(1)).anchor_ms == here.slot + MINUTE
    found = await here.look(store)
    assert first_of(found) == {1: here.slot}
    await carry_out(store, clock, found)
    assert (await jobs.get(1)).next_fire_at == here.slot


@pytest.mark.parametrize("ahead", [-MINUTE, 30 * MINUTE])
async def test_a_delay_of_a_fork_goes_on_with_its_next_run(store, clock, old, ahead):
    here = old()
    following = clock.now_ms() // 1000 * 1000 + ahead
    here.fill(here.job(1, schedule_type="FIX_DELAY", schedule_conf="60", following=following))
    await here.import_all()
    before_ms = clock.now_ms()
    ((job_id, first_ms),) = first_of(await here.look(store)).items()
    assert job_id == 1
    assert first_ms == following if ahead > 0 else before_ms <= first_ms <= clock.now_ms()


async def test_quartz_keeps_its_own_times(store, old):
    here = old("2.0.2")
    state = QuartzState("WAITING", next_ms=here.slot + MINUTE, previous_ms=here.slot)
    rows = [here.log(1, 1, here.slot - MINUTE), here.log(2, 2, here.slot)]
    here.fill(here.job(1, quartz=state), here.job(2, quartz=state), logs=rows)
    await here.import_all()
    # It was stopped when it had taken what is due next.
    triggers = here.database.table("triggers")
    here.database.execute(f"UPDATE {triggers} SET TRIGGER_STATE = 'ACQUIRED' WHERE TRIGGER_NAME = '2'")
    found = await here.look(store)
    assert first_of(found) == {1: here.slot, 2: here.slot + MINUTE}
    assert not is_told_next_times(found.source)


async def test_releases_whose_logs_name_jobs_by_group_and_name(store, old):
    here = old("1.5.2")
    state = QuartzState("WAITING", next_ms=here.slot + MINUTE, previous_ms=here.slot)
    here.fill(here.job(1, name="nightly", quartz=state), here.job(2, name="other", quartz=state))
    here.database.insert(
        "log",
        *(
            {"job_group": 1, "job_name": name, "trigger_time": local(at), "trigger_status": "SUCCESS"}
            for name, at in (("other", here.slot - MINUTE), ("nightly", here.slot))
        ),
    )
    await here.import_all()
    assert first_of(await here.look(store)) == {1: here.slot + MINUTE, 2: here.slot}


async def test_what_has_changed_since_the_import(store, old, jobs):
    here = old()
    here.fill(*(here.job(n) for n in range(1, 6)), logs=[here.log(1, 1, here.slot - MINUTE)])
    await here.import_all()
    here.database.execute(
        "UPDATE xxl_job_info SET executor_param = 'x' WHERE id = 1",
        "UPDATE xxl_job_info SET trigger_status = 0 WHERE id = 2",
        "DELETE FROM xxl_job_info WHERE id = 3",
    )
    here.database.fill(jobs=[here.job(9)])
    with pytest.raises(Refused, match=r"changed: 1; new: 9; deleted: 3; stopped: 2\. .*--existing update"):
        await here.look(store)
    await jobs.update(replace(await jobs.get(4), name="mine"))
    await jobs.delete(5)
    found = await here.look(store, replace(TOLD, ignore_changes=True))
    assert found.changes == Changes((1,), (9,), (3,), (2,))
    assert list(first_of(found)) == [1]
    assert ([one.id for one in found.edited], found.missing) == ([4], (5,))


async def test_an_import_with_update_takes_over_what_a_cutover_refuses(store, clock, old, jobs):
    """Job 1 is changed there, 2 deleted there, 3 deleted here and changed there, 4 cut over and changed there."""
    here = old()
    here.fill(*(here.job(n) for n in range(1, 5)), logs=[here.log(1, 1, here.slot - MINUTE)])
    await here.import_all()
    found = await here.look(store)
    await store.enable(found.source, [one for one in found.starts if one.job.id == 4])
    await jobs.delete(3)
    here.database.execute(
        "UPDATE xxl_job_info SET executor_param = 'x' WHERE id IN (1, 3, 4)",
        "DELETE FROM xxl_job_info WHERE id = 2",
    )
    with pytest.raises(Refused, match=r"imported: changed: 1; deleted: 2\. Take it over"):
        await here.look(store)
    await here.import_all(existing=Existing.UPDATE)
    found = await here.look(store)
    assert (list(first_of(found)), found.changes, found.missing) == ([1], Changes(), (3,))


async def test_a_schedule_that_was_changed_there_is_gone_on_with_as_it_was_imported(store, clock, old, jobs):
    """The times in the rows are those of the new schedule: no slot of the imported one is lost by them."""
    here = old()
    rate = {"schedule_type": "FIX_RATE", "schedule_conf": "60"}
    here.fill(
        here.job(1), here.job(2, **rate), here.job(3), here.job(4),
        logs=[here.log(n, n, here.slot) for n in (1, 2, 3, 4)],
    )  # fmt: skip
    await here.import_all()
    tomorrow = here.slot + 24 * 60 * MINUTE + 7_000
    here.database.execute(
        f"UPDATE xxl_job_info SET schedule_conf = '0 0 8 * * ?', trigger_next_time = {tomorrow} WHERE id = 1",
        f"UPDATE xxl_job_info SET schedule_conf = '86400', trigger_next_time = {tomorrow} WHERE id = 2",
        # Of these something else was changed: their times hold.
        f"UPDATE xxl_job_info SET executor_param = 'x', trigger_next_time = {here.slot + 3 * MINUTE} WHERE id = 3",
        f"UPDATE xxl_job_info SET misfire_strategy = 'FIRE_ONCE_NOW', trigger_next_time = {here.slot + 3 * MINUTE}"
        " WHERE id = 4",
    )
    found = await here.look(store, replace(TOLD, ignore_changes=True))
    assert found.changes.changed == (1, 2, 3, 4)
    following = here.slot + MINUTE
    assert first_of(found) == {
        1: following,
        2: following,
        3: here.slot + 3 * MINUTE,
        4: here.slot + 3 * MINUTE,
    }
    await carry_out(store, clock, found)
    assert (await jobs.get(2)).anchor_ms == following


async def test_groups_whose_executors_are_elsewhere_by_now(store, clock, old, db):
    """Of the third group no job is to be enabled."""
    here = old()
    lists = [SourceGroup(str(n), f"app{n}", "", 1, f"10.0.0.{n}:9999") for n in (2, 3)]
    groups = [SourceGroup("1", "shop", "Shop", 0, "10.0.0.1:9999"), *lists]
    other = [replace(here.job(2), group="2"), replace(here.job(3, trigger_status=0), group="3")]
    here.database.fill(groups=groups, jobs=[here.job(1), *other])
    await here.import_all()
    here.database.execute(
        "UPDATE xxl_job_group SET address_list = '10.0.0.8:9999', title = 'New'",
        "UPDATE xxl_job_group SET app_name = 'store' WHERE id = 1",
    )
    with pytest.raises(Refused, match=r"imported: groups changed: 1, 2\. Take it over"):
        await here.look(store)
    found = await here.look(store, replace(TOLD, ignore_changes=True))
    assert (found.changes, len(found.starts)) == (Changes(groups=("1", "2")), 2)
    await here.import_all(existing=Existing.UPDATE)
    found = await here.look(store)
    assert (found.changes, len(found.starts)) == (Changes(), 2)
    async with db.read() as conn:
        apps = (await conn.execute(select(app).order_by(app.c.id))).all()
    assert [(one.appname, one.addresses) for one in apps] == [
        ("shop", ""),
        ("app2", "http://10.0.0.8:9999/"),
        ("app3", "http://10.0.0.8:9999/"),
    ]


async def test_an_import_that_is_being_undone(store, clock, old, db):
    here = old()
    here.fill(here.job(1))
    await here.import_all()
    undoing = UndoStore(db, clock)
    await undoing.begin(await undoing.look(here.url.name))
    with pytest.raises(Refused, match="is being undone: finish that first"):
        await here.look(store)


async def test_executors_may_be_demanded(store, old):
    here = old()
    here.fill(here.job(1))
    await here.import_all()
    with pytest.raises(Refused, match="no executor is registered here for shop"):
        await here.look(store, replace(TOLD, require_executors=True))


async def test_executors_of_an_admin_whose_address_is_taken_over(store, clock, old, db):
    here = old()
    here.fill(here.job(1))
    seen = local(clock.now_ms())
    here.database.fill(
        executors=[
            SourceExecutor("shop", "http://10.0.0.1:9999", seen),
            SourceExecutor("shop", "http://10.0.0.2:9999/", seen - timedelta(seconds=89)),
            SourceExecutor("shop", "http://10.0.0.3:9999/", seen - timedelta(seconds=91)),
            SourceExecutor("other", "http://10.0.0.4:9999/", seen),
            SourceExecutor("shop", "nonsense", seen),
        ]
    )
    await here.import_all()
    found = await here.look(store, replace(TOLD, takes_over=True, require_executors=True))
    await carry_out(store, clock, found)
    async with db.read() as conn:
        rows = (await conn.execute(select(executor).order_by(executor.c.address))).all()
    assert [(row.app_id, row.address, row.dialect) for row in rows] == [
        (1, "http://10.0.0.1:9999/", "rest"),
        (1, "http://10.0.0.2:9999/", "rest"),
    ]
    assert all(clock.now_ms() - row.last_beat_ms < 5_000 for row in rows)
    # Somebody has forgotten it and gives it now, that the jobs are enabled.
    async with db.write() as conn:
        await conn.execute(delete(executor))
    again = await here.look(store, replace(TOLD, takes_over=True))
    assert (again.starts, len(again.executors)) == ((), 2)
    before = find_source(await store.sources(), here.url.name).cutover_ms
    await carry_out(store, clock, again)
    async with db.read() as conn:
        assert len((await conn.execute(select(executor))).all()) == 2
    assert find_source(await store.sources(), here.url.name).cutover_ms == before
    # One that has come itself by now is better known.
    await store.register([replace(one, dialect="rest35") for one in found.executors])
    async with db.read() as conn:
        assert {row.dialect for row in await conn.execute(select(executor))} == {"rest"}


@pytest.mark.parametrize(
    ("release", "dialect"), [("2.1.2", "xxlrpc21"), ("2.2.0", "rest"), ("3.4.2", "rest"), ("2.0.2", None)]
)
async def test_what_executors_of_a_release_speak(old, release, dialect):
    async with open_source(old(release).url) as source:
        assert dialect_of(await source.installation()) == dialect


async def test_a_kill_in_the_middle_is_gone_on_from(store, clock, old):
    here = old()
    here.fill(*(here.job(n) for n in range(1, 8)), logs=[here.log(1, 1, here.slot - MINUTE)])
    await here.import_all()
    found = await here.look(store)
    assert len(await store.enable(found.source, found.starts[:3])) == 3
    again = await here.look(store)
    assert (again.live, len(again.starts)) == (3, 4)
    assert len((await carry_out(store, clock, again)).enabled) == 4
    # What was decided before the kill is not done twice.
    assert await carry_out(store, clock, found) == Done((), (), elsewhere=(1, 2, 3, 4, 5, 6, 7))


async def test_without_its_database_jobs_go_on_from_now(store, clock, old):
    here = old()
    here.fill(here.job(1))
    await here.import_all()
    before_ms = clock.now_ms()
    found = await prepare(store, clock, find_source(await store.sources(), None), None, TOLD)
    ((_, first_ms),) = first_of(found).items()
    assert before_ms < first_ms <= clock.now_ms() + MINUTE
    assert found.clock_ms is None


async def test_there_and_back(store, clock, old, jobs):
    here = old()
    here.fill(here.job(1), here.job(2), logs=[here.log(1, 1, here.slot - MINUTE)])
    await here.import_all()
    with acting_for(AUTHOR):
        await carry_out(store, clock, await here.look(store))
    imported = find_source(await store.sources(), here.url.name)
    assert imported.cutover_ms
    await jobs.set_enabled(2, enabled=False)
    with acting_for(AUTHOR):
        taken = await take_back(store, clock, imported)
    assert (taken.disabled, taken.others) == (1, 1)
    assert not (await jobs.get(1)).enabled
    assert is_told_next_times(imported)
    assert (await store.sources())[0].cutover_ms == 0
    run_sql(here, next_times_sql(taken.following))
    told = dict(here.database.execute("SELECT id, trigger_next_time FROM xxl_job_info"))
    disabled_ms = (await jobs.get(1)).updated_ms
    # Of what somebody has disabled here before, the old admin has missed nothing.
    assert told == {n: at // MINUTE * MINUTE + MINUTE for n, at in ((1, disabled_ms), (2, taken.since_ms))}
    again = await here.look(store)
    assert [one.job.id for one in again.starts] == [1]
    assert [one.id for one in again.edited] == [2]


async def test_there_again_what_has_rows_here_is_told_no_more(store, clock, old):
    """The old admin did not run in between. What was due has got rows when the jobs were given back."""
    here = old()
    here.fill(here.job(1), here.job(2, schedule_type="FIX_RATE", schedule_conf="1"))
    await here.import_all()
    with acting_for(AUTHOR):
        first = await here.look(store)
        assert (first.late, {one.job.id for one in first.unsure}) == (2, {1, 2})
        await carry_out(store, clock, first)
        await store.disable(first.source, (await held(store, first.source)).items)
        again = await here.look(store)
    given_back = await store.given_back(await store.items(again.source.id))
    assert all(first_ms > given_back[job_id] for job_id, first_ms in first_of(again).items())
    assert (len(again.starts), again.unsure) == (2, ())


def run_sql(here, text) -> None:
    here.database.execute(*(line for line in text.splitlines() if not line.startswith("--")))


async def test_the_next_times_can_be_had_after_a_kill(store, clock, old, jobs):
    """It was killed when the jobs were disabled and nothing had been written. The old admin was perhaps started since."""
    here = old()
    rows = [here.log(n, n, here.slot - MINUTE) for n in (1, 2, 3, 4)]
    here.fill(*(here.job(n) for n in (1, 2, 3, 4)), logs=rows)
    await here.import_all()
    found = await here.look(store)
    with acting_for(AUTHOR):
        await carry_out(store, clock, replace(found, starts=found.starts[:3]))
    # Somebody has disabled one here; one was never enabled, so the old admin's own times hold.
    await jobs.set_enabled(3, enabled=False)
    with acting_for(AUTHOR):
        await store.disable(found.source, (await held(store, found.source)).items)
    disabled_ms = (await jobs.get(1)).updated_ms
    now_ms = clock.now_ms()
    told = await next_times(store, found.source, now_ms)
    assert [(one.old_id, one.slot_ms, one.only_later) for one in told] == [
        (n, at // MINUTE * MINUTE + MINUTE, True)
        for n, at in ((1, disabled_ms), (2, disabled_ms), (3, now_ms))
    ]
    further = told[0].slot_ms + MINUTE
    here.database.execute(f"UPDATE xxl_job_info SET trigger_next_time = {further} WHERE id = 2")
    here.database.execute("RENAME TABLE xxl_job_info TO `shop``s jobs`")
    run_sql(here, next_times_sql(told, "shop`s jobs"))
    times = here.database.execute("SELECT trigger_next_time FROM `shop``s jobs` ORDER BY id")
    assert times == [(told[0].slot_ms,), (further,), (told[2].slot_ms,), (here.slot + MINUTE,)]
    # What runs here again is not the old admin's.
    await jobs.set_enabled(1, enabled=True)
    assert [one.old_id for one in await next_times(store, found.source, now_ms)] == [2, 3]


async def test_which_import_is_meant(store, old):
    with pytest.raises(Refused, match="nothing was imported"):
        find_source(await store.sources(), None)
    first, second = old(), old()
    for here in (first, second):
        here.fill(here.job(1))
    await first.import_all()
    with pytest.raises(Refused, match=f"no installation 'other' was imported .* {first.url.name}"):
        find_source(await store.sources(), "other")
    assert find_source(await store.sources(), None).name == first.url.name
