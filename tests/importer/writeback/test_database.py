"""Writing an xxl-job database: what is there, what is refused, and that it is all or nothing."""

from __future__ import annotations

import json

import pytest

from importer.source.source import open_source
from importer.source.url import parse_source
from importer.source.values import SourceGroup, SourceJob
from tests.importer.writeback.conftest import writer_url
from tests.unit.api.conftest import a_job

pytestmark = pytest.mark.mariadb

NIGHTLY = {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "Asia/Shanghai"}


@pytest.fixture
async def gateway(gateways):
    """With an app of two jobs, one of which uses what XXL-JOB has not."""
    made = await gateways()
    await made.api.app()
    await made.api.job(name="每天", schedule=NIGHTLY, contact={"author": "王"})
    await made.api.job(name="limited", schedule=NIGHTLY, priority=9, max_concurrency=2, enabled=False)
    return made


async def read(database):
    async with open_source(parse_source(database.url)) as source:
        found = await source.installation()
    return {one.key: one for one in found.groups}, {one.id: one for one in found.jobs}


async def test_a_new_database(gateway, make):
    database = make("3.2.0")
    said = await gateway.write_back(database)
    assert "xxl-job 3.2.0 – 3.3.2, schedules on the clock of Asia/Shanghai" in said
    assert "new: 1 groups, 2 jobs" in said
    assert "of these jobs 0 started, all others stopped" in said
    assert "stay enabled here" not in said
    assert "job 2: priority 9 -> nothing (dropped): there are no priorities there" in said
    assert "job 2: overlap skip -> nothing (dropped)" in said
    assert "Not written: users" in said
    groups, jobs = await read(database)
    assert groups["1"].appname == "billing"
    assert (jobs[1].description, jobs[1].author, jobs[1].trigger_status) == ("每天", "王", 0)
    assert (jobs[1].schedule_type, jobs[1].schedule_conf) == ("CRON", "0 0 3 * * ?")
    # The next row of the old admin gets an id that is free.
    database.insert("group", {"app_name": "later", "title": "later", "address_type": 0})
    assert set((await read(database))[0]) == {"1", "2"}


async def test_started_there(gateway, make):
    database = make("2.4.2")
    said = await gateway.write_back(database, "--enabled")
    assert "of these jobs 1 started" in said
    assert "1 job would be started there and stay enabled here" in said
    assert "`xxljob-gateway jobs bulk disable 1`" in said
    _, jobs = await read(database)
    assert (jobs[1].trigger_status, jobs[2].trigger_status) == (1, 0)
    assert jobs[1].next_ms % 86_400_000 == 19 * 3_600_000


async def test_nothing_without_a_yes(gateway, make):
    database = make("3.4.2")
    url = writer_url(database)
    found = json.loads(await gateway.run("export", "--to-xxljob", url, "--dry-run", "--json"))
    assert [one["action"] for one in found["jobs"]] == ["insert", "insert"]
    assert {one["field"] for one in found["findings"]} == {"priority", "overlap", "misfire_after_s"}
    assert "give --yes" in await gateway.run("export", "--to-xxljob", url, code=2)
    assert await read(database) == ({}, {})


async def test_rows_that_are_there(gateway, make):
    database = make("2.3.0")
    database.fill(
        groups=[SourceGroup("1", "billing", "old", 0), SourceGroup("7", "theirs", "theirs", 0)],
        jobs=[
            SourceJob(
                1,
                "1",
                description="old",
                schedule_type="NONE",
                trigger_status=1,
                glue_type="BEAN",
                author="x",
            ),
            SourceJob(50, "7", description="untouched", schedule_type="NONE", glue_type="BEAN"),
        ],
    )
    before = await read(database)
    said = await gateway.write_back(database, code=2)
    assert "job 1 'old'" in said
    assert "--existing update" in said
    assert await read(database) == before
    await gateway.write_back(database, "--existing", "skip")
    groups, jobs = await read(database)
    assert (groups["1"].title, jobs[1].description, jobs[2].description) == ("old", "old", "limited")
    await gateway.write_back(database, "--existing", "update")
    groups, jobs = await read(database)
    assert (groups["1"].title, jobs[1].description, jobs[1].trigger_status) == ("Billing", "每天", 0)
    assert jobs[50] == before[1][50]
    assert "changed: 1 groups, 2 jobs" in await gateway.write_back(database, "--existing", "update")
    assert (await read(database))[1].keys() == {1, 2, 50}


async def test_glue_history_goes_on(gateway, make):
    database = make("3.1.1")
    api = gateway.api
    script = {"glue_type": "GLUE_SHELL", "glue_source": "echo 1"}
    made = await api.job(name="script", schedule=NIGHTLY, task=script)
    path = f"/api/v1/jobs/{made['id']}"
    await api.ok("PATCH", path, {"priority": 6})
    await api.ok("PATCH", path, {"task": {"glue_source": "echo 2"}, "contact": {"remark": "第二"}})
    await gateway.write_back(database)

    def history():
        rows = database.execute("SELECT glue_source, glue_remark FROM xxl_job_logglue ORDER BY id")
        return [tuple(row) for row in rows]

    assert history() == [("echo 1", ""), ("echo 2", "第二")]
    await api.ok("PATCH", path, {"task": {"glue_source": "echo 3"}})
    await gateway.write_back(database, "--existing", "update")
    assert history() == [("echo 1", ""), ("echo 2", "第二"), ("echo 3", "第二")]


@pytest.mark.parametrize("release", ["1.9.2", "2.2.0", "HEAD"])
async def test_other_releases(release, gateway, make):
    said = await gateway.write_back(make(release), code=2)
    assert "only those of 2.3 to 3.4 can be written" in said


async def test_what_is_no_xxl_job_database(gateway, make):
    database = make("3.4.2")
    database.execute("DROP TABLE xxl_job_info")
    assert "is not an xxl-job database" in await gateway.write_back(database, code=2)


async def test_names_of_a_fork_and_a_column_that_needs_a_value(gateway, make):
    database = make("3.4.2", tables={"xxl_job_info": "my_info", "xxl_job_group": "my_group"})
    mapped = ("--table-map", "xxl_job_info=my_info", "--table-map", "xxl_job_group=my_group")
    database.execute("ALTER TABLE my_info ADD tenant int NOT NULL")
    said = await gateway.write_back(database, *mapped, code=2)
    assert "the column tenant of my_info needs a value" in said
    assert database.execute("SELECT COUNT(*) FROM my_group") == [(0,)]  # all or nothing
    database.execute("ALTER TABLE my_info ALTER tenant SET DEFAULT 5")
    await gateway.write_back(database, *mapped)
    assert database.execute("SELECT id, tenant FROM my_info ORDER BY id") == [(1, 5), (2, 5)]


async def test_an_account_that_only_reads(gateway, make):
    database = make("3.4.2")
    said = await gateway.run("export", "--to-xxljob", database.url, "--yes", code=2)
    assert "this account may not write" in said
    assert "nothing was written" in said
    assert await read(database) == ({}, {})


async def test_a_database_that_changes_between_plan_and_writing(gateway, make):
    from gateway.core.zones import resolve_zone
    from importer.errors import SourceError
    from importer.writeback.run import Wanted, planned, written
    from tests.importer.writeback.conftest import Calls

    database = make("3.4.2")
    wanted = Wanted(parse_source(writer_url(database)), resolve_zone("Asia/Shanghai"))
    plan = await planned(await Calls.of(gateway.api), wanted, gateway.api.clock.now_ms())
    database.fill(groups=[SourceGroup("5", "new", "new", 0)])
    with pytest.raises(SourceError, match="was changed since it was looked at"):
        await written(wanted, plan)
    assert (await read(database))[1] == {}


async def test_bad_options(gateway, make):
    url = writer_url(make("3.4.2"))
    run = gateway.run
    for args, expected in (
        (("--to-xxljob", "postgres://u@h/d"), "--to-xxljob"),
        (("--to-xxljob", url, "--timezone", "Asia/Nowhere"), "--timezone"),
        (("--to-xxljob", url, "--app", "nobody"), "--app: 'nobody'"),
        (("--to-xxljob", url, "--output", "x.yaml"), "--output"),
        (("--to-xxljob", url, "--table-map", "x"), "--table-map"),
        (("--enabled",), "--enabled: only with --to-xxljob"),
    ):
        assert expected in await run("export", *args, code=2)


async def test_an_admin_at_work_is_told_of(gateway, make):
    database = make("3.4.2")
    assert "at work" not in await gateway.write_back(database, "--dry-run")
    database.execute(
        "INSERT INTO xxl_job_registry (registry_group, registry_key, registry_value, update_time) "
        "VALUES ('EXECUTOR', 'billing', 'http://h:1/', NOW() + INTERVAL 8 HOUR)"
    )
    assert "Its admin seems to be at work: an executor has registered" in await gateway.write_back(
        database, "--dry-run"
    )


async def test_one_app(gateway, make):
    await gateway.api.app("other")
    await gateway.api.job(app="other", name="child of both")
    database = make("3.4.2")
    await gateway.write_back(database, "--app", "other")
    groups, jobs = await read(database)
    assert ([one.appname for one in groups.values()], list(jobs)) == (["other"], [3])
    assert a_job()["name"] not in [one.description for one in jobs.values()]
