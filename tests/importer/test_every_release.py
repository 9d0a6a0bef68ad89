"""A database of every release, imported into an empty gateway: what stands there afterwards, field by field.

What is expected is written down here by release, from what the releases mean, and not by the importer's own mapping.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.core.model import AddressMode, BlockStrategy, Misfire, Route
from gateway.core.users import Role
from gateway.store.engine import database_url, open_database
from gateway.store.passwords import Passwords
from gateway.store.users import UserStore
from gateway.store.versions import VersionStore
from importer.apply import apply_plan, read_target
from importer.plan.make import PlanOptions, make_plan
from importer.plan.values import Action
from importer.source.source import open_source
from importer.source.url import parse_source
from tests.importer.source import sample
from tests.kit.blank_database import blank_database
from tests.kit.operations import StillClock
from tests.kit.xxl_schemas import READABLE, has_quartz, version

pytestmark = pytest.mark.mariadb


@pytest.fixture
async def db(tmp_path):
    database = open_database(database_url(blank_database(tmp_path)))
    yield database
    await database.close()


@pytest.mark.parametrize("release", READABLE)
async def test_what_stands_here_after_an_import(source_server, db, release):
    old = sample.filled(source_server, release)
    clock, passwords = StillClock(), Passwords(memory_kib=64)
    async with open_source(parse_source(old.url)) as source:
        installation = await source.installation()
    options = PlanOptions(source.name)
    plan = make_plan(installation, await read_target(db, clock, source.name), options, clock.now_ms())
    await apply_plan(db, clock, plan, release=installation.release, passwords=passwords)

    target = await read_target(db, clock, source.name)
    zone = "Asia/Tokyo" if has_quartz(release) else "Asia/Shanghai"
    assert target.jobs.keys() == {3, 8, 21}
    check_nightly(target.jobs[3], version(release), zone)
    check_script(target.jobs[8], version(release), zone)
    check_bare(target.jobs[21], version(release))
    assert {old_id: (one.new_id, one.wants_enabled) for old_id, one in target.imported_jobs.items()} == {
        3: (3, True),
        8: (8, False),
        21: (21, False),
    }
    check_apps(target, version(release))
    history = await VersionStore(db).page(8, cursor=None, limit=10)
    expected = [] if version(release) < (1, 3, 0) else ["", "class A { }"]
    assert [
        one.job.task.glue_source for one in history.items if one.number != target.jobs[8].version
    ] == expected

    users = UserStore(db, clock, passwords)
    wanted = {
        "admin": (1, Role.ADMIN, set()),
        "operator": (6, Role.NORMAL, {1, 4}),
        "new": (9, Role.NORMAL, set()),
    }
    assert {user.username: (user.id, user.role, set(user.app_ids)) for user in target.users.values()} == {
        user.username: wanted[user.username] for user in sample.users_of(release)
    }
    for user in sample.users_of(release):
        assert await users.with_password(user.username, "wrong") is None
        assert (await users.with_password(user.username, "123456")).id == user.id
    assert (plan.firsts.job, plan.firsts.run_int > 108) == (1000, True)

    again = make_plan(installation, target, options, clock.now_ms())
    assert {one.action for one in (*again.apps, *again.jobs, *again.users)} == {Action.SKIP}
    assert not (await apply_plan(db, clock, again, passwords=passwords)).anything


def check_nightly(job, release, zone):
    assert not job.enabled
    assert (job.name, job.contact.author) == ("每晚清理", "王五")
    assert job.contact.alarm_email == "a@example.com,b@example.com"
    check_cron(job, "0 30 3 * * ?", zone, Misfire.FIRE_ONCE if release >= (2, 3, 0) else Misfire.SKIP)
    assert (job.task.glue_type, job.task.handler) == ("BEAN", "cleanHandler")
    assert job.task.params == "a=1\r\nb='2' \\ \"3\" %s"
    assert job.route is (Route.ROUND if release >= (1, 6, 0) else Route.FAILOVER)
    is_told = release >= (1, 7, 2)
    assert job.block_strategy is (BlockStrategy.DISCARD_LATER if is_told else BlockStrategy.SERIAL_EXECUTION)
    assert job.timeout_s == (30 if release >= (1, 9, 2) else 0)
    # Two retries; one, because the strategy says to retry; none.
    assert job.max_attempts == (3 if release >= (1, 9, 2) else 2 if is_told else 1)
    assert job.misfire_after_s == (5 if release >= (2, 1, 0) else 60)
    assert [child.job_id for child in job.children] == ([8] if release >= (1, 4, 0) else [])
    assert job.created_ms == instant_ms(datetime(2019, 1, 2, 3, 4, 5), zone)


def check_cron(job, expression, zone, misfire):
    expected = {"kind": "cron", "expression": expression, "timezone": zone, "misfire": misfire}
    assert (job.misfire, dict(job.schedule)) == (misfire, expected)


def check_script(job, release, zone):
    check_cron(job, "0 0/5 * * * ? 2099", zone, Misfire.SKIP)
    if release < (1, 3, 0):
        assert (job.task.glue_type, job.task.glue_source) == ("BEAN", "")
        return
    assert (job.task.glue_type, job.task.glue_source) == ("GLUE_GROOVY", sample.JOBS[1].glue_source)
    assert job.contact.remark == "第一版"
    changed = instant_ms(datetime(2021, 3, 4, 5, 6, 7), zone)
    assert job.task.glue_updated_ms == (changed if release >= (1, 6, 0) else 0)


def check_bare(job, release):
    assert job.name == ("bare" if release < (1, 6, 0) else "job 21")
    assert job.schedule["kind"] == "none"
    assert (job.task.handler, job.task.params, job.children) == ("", "", ())


def check_apps(target, release):
    def app(job_id):
        return target.apps[target.jobs[job_id].app_id]

    if release < (1, 4, 99):
        # A group is a text, and each job names the address of its executor.
        assert (app(3).address_mode, app(3).addresses) == (AddressMode.MANUAL, ("http://10.0.0.9:9999/",))
        assert app(8).id == app(21).id != app(3).id
        return
    assert (app(3).id, app(3).appname, app(3).title) == (1, "demo-executor", "演示")
    # Executors up to 1.7.1 do not register here: who is in the old registry is entered by hand.
    by_hand = release < (1, 7, 2)
    wanted = (AddressMode.MANUAL, ("http://10.0.0.1:9999/",)) if by_hand else (AddressMode.AUTO, ())
    assert (app(3).address_mode, app(3).addresses) == wanted
    assert (app(8).id, app(8).appname, app(8).title) == (4, "by-hand", "<b>old</b>")
    assert app(8).address_mode is AddressMode.MANUAL
    # 1.5 has no lists.
    listed = (
        ("http://10.0.0.2:9999/",)
        if release < (1, 6, 0)
        else ("http://10.0.0.2:9999/", "http://10.0.0.3:9999/")
    )
    assert app(8).addresses == listed


def instant_ms(wall, zone):
    return int(wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).timestamp() * 1000)
