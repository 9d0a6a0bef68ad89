"""What stands in a database in odd forms: NULL, zero dates, other zones, other spellings, other charsets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from importer.errors import SourceError
from importer.source.values import Oddity, SourceGlue, SourceGroup, SourceJob, SourceLog, SourceUser
from tests.importer.source.reading import GROUP, JOB, before_reading, opened, read
from tests.kit.xxl_databases import table_sql
from tests.kit.xxl_schemas import columns_of

pytestmark = pytest.mark.mariadb
# Each of the five bytes that Windows' code page leaves out is in one of these.
HOLES = "丁华号同杀"


async def test_null_wherever_it_may_stand(make):
    old = make("3.4.2")
    old.fill(groups=[GROUP])
    nullable = {name: None for name, facts in columns_of("3.4.2", "info").items() if facts["nullable"]}
    assert {"author", "alarm_email", "executor_handler", "glue_source", "add_time"} < nullable.keys()
    old.insert("info", {"id": 3, "job_group": 1, **nullable})
    found = await read(old)
    assert found.jobs == (
        SourceJob(
            3,
            "1",
            description="",
            schedule_type="NONE",
            misfire="DO_NOTHING",
            timeout_s=0,
            retries=0,
            glue_type="",
            trigger_status=0,
            last_ms=0,
            next_ms=0,
        ),
    )
    assert (found.oddities, found.notes) == ((), ())


async def test_zero_dates_are_nothing_and_are_told(make):
    old = make("2.1.0")
    old.fill(
        groups=[GROUP], jobs=[JOB], glue=[SourceGlue(2, 7, source="x", remark="r")], logs=[SourceLog(1, 7)]
    )
    zero = "'0000-00-00 00:00:00'"
    old.execute(
        f"UPDATE {old.table('info')} SET glue_updatetime={zero}, add_time='2020-00-05 01:02:03'",
        f"UPDATE {old.table('logglue')} SET add_time={zero}, update_time='2020-01-01'",
        f"UPDATE {old.table('log')} SET trigger_time={zero}",
    )
    async with opened(old) as source:
        found = await source.installation()
        (log,) = await source.logs(0, 9, 9)
        assert source.unread == {"trigger_time": 1}
    assert (found.jobs[0].glue_updated, found.jobs[0].added, found.glue[0].added) == (None, None, None)
    assert log.triggered is None
    assert set(found.oddities) == {
        Oddity("job 7", "glue_updatetime", "0000-00-00 00:00:00", "nothing"),
        Oddity("job 7", "add_time", "2020-00-05 01:02:03", "nothing"),
        Oddity("GLUE version 2", "add_time", "0000-00-00 00:00:00", "nothing"),
        Oddity("signs of life", "trigger_time", "0000-00-00 00:00:00", "nothing"),
    }


async def test_the_zone_of_the_server_moves_nothing(make, source_server):
    """A TIMESTAMP is an instant, a DATETIME a wall clock: neither depends on who asks."""
    old = make("2.1.0")
    at = datetime(2024, 5, 6, 7, 8, 9)
    old.fill(
        groups=[GROUP],
        jobs=[JOB],
        glue=[SourceGlue(2, 7, source="x", remark="r", added=at.replace(tzinfo=UTC))],
        logs=[SourceLog(1, 7, triggered=at)],
    )
    ((before,),) = source_server.execute("SELECT @@global.time_zone")
    source_server.execute("SET GLOBAL time_zone='-07:00'")
    try:
        async with opened(old, timezone="Asia/Tokyo") as source:
            found = await source.installation()
            (log,) = await source.logs(0, 9, 9)
    finally:
        source_server.execute(f"SET GLOBAL time_zone='{before}'")
    assert (found.glue[0].added, log.triggered) == (at.replace(tzinfo=UTC), at)
    assert found.signs.last_log_ms == int(datetime(2024, 5, 5, 22, 8, 9, tzinfo=UTC).timestamp() * 1000)
    ((now,),) = source_server.execute("SELECT UNIX_TIMESTAMP(NOW(3)) * 1000")
    assert 0 <= now - found.read_ms < 60_000
    assert 0 <= now - found.signs.database_now_ms < 60_000


async def test_the_database_with_a_hyphen(make):
    old = make("2.0.2", name="xxl-job")
    old.fill(groups=[GROUP], jobs=[JOB])
    found = await read(old)
    assert found.name.startswith("xxl-job@127.0.0.1:")
    assert [job.id for job in found.jobs] == [7]


async def test_tables_of_a_server_without_capitals(make):
    old = make("2.0.2", lower_case=True)
    old.fill(groups=[GROUP], jobs=[JOB])
    found = await read(old)
    assert found.release == "2.0.2"
    assert found.jobs[0].quartz.is_firing


async def test_letters_of_all_planes(make):
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[SourceJob(7, "1", description="😀 定时 \u0000 \\ '")])
    assert (await read(old)).jobs[0].description == "😀 定时 \u0000 \\ '"


@pytest.mark.parametrize("is_table_latin1", [False, True])
async def test_text_that_went_through_a_latin1_connection(make, is_table_latin1):
    old = make("2.0.2")
    table = old.table("info")
    old.fill(groups=[GROUP], jobs=[JOB, SourceJob(8, "1", cron=""), SourceJob(9, "1", cron="")])
    alter = f"ALTER TABLE {table} CONVERT TO CHARACTER SET latin1"
    # The server is told that what comes is latin1, and UTF-8 comes.
    old.execute(
        *([alter] if is_table_latin1 else []),
        "SET NAMES latin1",
        f"UPDATE {table} SET job_desc='{HOLES}每晚', author='plain' WHERE id=7",
        f"UPDATE {table} SET job_desc='每晚' WHERE id=8",
        "SET NAMES utf8mb4",
        f"UPDATE {table} SET job_desc=LEFT(job_desc, 5) WHERE id=8",
    )
    if not is_table_latin1:
        old.execute(f"UPDATE {table} SET job_desc='对的', author='Müller' WHERE id=9")
    plain = {job.id: job for job in (await read(old)).jobs}
    assert plain[7].description != f"{HOLES}每晚"
    found = await read(old, charset="latin1")
    seven, eight, nine = found.jobs
    assert (seven.description, seven.author) == (f"{HOLES}每晚", "plain")
    # Cut off in the middle of a letter: as it stands, and told.
    assert eight.description == plain[8].description
    told = [oddity for oddity in found.oddities if oddity.where == "job 8"]
    assert [(oddity.column, oddity.value) for oddity in told] == [("job_desc", eight.description)]
    if not is_table_latin1:
        assert (nine.description, nine.author) == ("对的", "Müller")


async def test_one_snapshot_while_the_old_admin_writes(make):
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB], users=[SourceUser(1, "admin", "x" * 32, 1)])
    old.execute("INSERT INTO xxl_job_lock VALUES ('schedule_lock')")

    def write():
        old.execute(
            # What a running admin does all the time: nobody may keep it waiting.
            "SET innodb_lock_wait_timeout=1",
            "BEGIN",
            "SELECT * FROM xxl_job_lock WHERE lock_name='schedule_lock' FOR UPDATE",
            "UPDATE xxl_job_info SET trigger_next_time=99, job_group=2 WHERE id=7",
            "COMMIT",
        )
        old.fill(groups=[SourceGroup("2", "late", "late")])
        old.execute("DELETE FROM xxl_job_user")

    async with opened(old) as source:
        before_reading(source, "FROM `xxl_job_group`", write)
        found = await source.installation()
        later = await source.installation()
    assert ([group.key for group in found.groups], found.jobs[0].group) == (["1"], "1")
    assert [user.username for user in found.users] == ["admin"]
    assert ([group.key for group in later.groups], later.jobs[0].group) == (["1", "2"], "2")
    assert later.users == ()


async def test_counters_stand_above_ids_that_were_used_once(make):
    old = make("2.2.0")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.set_counter("info", 500)
    old.execute("ALTER TABLE xxl_job_group MODIFY id int NOT NULL")
    found = (await read(old)).counters
    assert (found.next_job, found.next_group, found.next_user, found.next_log) == (500, 2, 1, 1)


async def test_columns_of_a_fork_are_kept(make):
    old = make("2.4.2")
    old.execute(
        "ALTER TABLE xxl_job_info ADD COLUMN tenant varchar(20), ADD COLUMN `Dept Id` int, ADD COLUMN empty text",
        "ALTER TABLE xxl_job_group ADD COLUMN `owner` varchar(20)",
        "ALTER TABLE xxl_job_user ADD COLUMN email varchar(20)",
    )
    old.fill(groups=[GROUP], jobs=[JOB], users=[SourceUser(1, "admin", "x" * 32, 1)])
    old.execute(
        "UPDATE xxl_job_info SET tenant='t', `Dept Id`=5",
        "UPDATE xxl_job_group SET `owner`='o'",
        "UPDATE xxl_job_user SET email='e'",
    )
    found = await read(old)
    assert found.jobs[0].extra == {"tenant": "t", "dept id": "5"}
    assert (found.groups[0].extra, found.users[0].extra) == ({"owner": "o"}, {"email": "e"})
    assert found.notes == ("xxl_job_info has columns of a fork: dept id, tenant",)
    assert found.release == "2.3.0 – 2.4.2"


@pytest.mark.parametrize(
    ("release", "tables", "table_map"),
    [
        ("3.4.2", {"xxl_job_info": "sched_jobs"}, {"xxl_job_info": "sched_jobs"}),
        (
            "3.4.2",
            {
                f"xxl_job_{kind}": f"my_{kind}"
                for kind in ("info", "group", "log", "user", "registry", "logglue", "log_report", "lock")
            },
            {"XXL_JOB_": "my_"},
        ),
        (
            "2.0.2",
            {
                "xxl_job_qrtz_trigger_info": "T_INFO",
                "xxl_job_qrtz_trigger_group": "T_GROUP",
                "xxl_job_qrtz_triggers": "T_Q_TRIGGERS",
            },
            {
                "xxl_job_qrtz_trigger_info": "t_info",
                "xxl_job_qrtz_trigger_group": "T_group",
                "xxl_job_qrtz_triggers": "t_q_triggers",
            },
        ),
    ],
)
async def test_tables_of_other_names(make, release, tables, table_map):
    old = make(release, tables=tables)
    old.fill(groups=[GROUP], jobs=[JOB])
    found = await read(old, table_map=table_map)
    assert [group.appname for group in found.groups] == ["app"]
    assert [job.id for job in found.jobs] == [7]
    assert found.notes == ()


async def test_old_tables_that_were_kept_after_an_upgrade(make):
    old = make("2.0.2")
    old.fill(groups=[GROUP], jobs=[JOB])
    new = make("2.1.2")
    for kind in ("info", "group", "log", "logglue", "registry", "user", "log_report", "lock"):
        old.execute(table_sql("2.1.2", f"xxl_job_{kind}"))
    # Empty: the upgrade has not been begun.
    found = await read(old)
    assert (found.release, [job.id for job in found.jobs]) == ("2.0.2", [7])
    assert found.notes == ("XXL_JOB_QRTZ_TRIGGER_INFO was read, because xxl_job_info is empty",)
    # Copied in part.
    new.name = old.name
    new.insert("info", {"id": 1, "job_group": 1})
    with pytest.raises(
        SourceError, match="xxl_job_info has rows, but the groups still stand in XXL_JOB_QRTZ_TR"
    ):
        await read(old)
    old.execute("DELETE FROM xxl_job_info")
    # Copied: jobs as they were, but for their states.
    new.fill(groups=[GROUP], jobs=[SourceJob(7, "1", cron="0 0 4 * * ?", trigger_status=0)])
    found = await read(old)
    assert (found.release, [job.cron for job in found.jobs]) == ("2.1.1 – 2.1.2", ["0 0 4 * * ?"])
    assert found.jobs[0].quartz is None
    kept, states = found.notes
    assert (
        kept
        == "xxl_job_info was read; the tables of an older release are still there (XXL_JOB_QRTZ_TRIGGER_INFO)"
    )
    assert states.startswith(
        "all jobs of xxl_job_info are stopped, while XXL_JOB_QRTZ_TRIGGERS still has 1 that run"
    )


async def test_names_that_differ_only_by_case(make):
    old = make("1.4.2")
    old.fill(jobs=[JOB])
    old.execute(table_sql("1.4.2", "XXL_JOB_QRTZ_TRIGGER_INFO", "xxl_job_qrtz_trigger_info"))
    found = await read(old)
    assert [job.id for job in found.jobs] == [7]
    assert found.notes == (
        "XXL_JOB_QRTZ_TRIGGER_INFO was read; xxl_job_qrtz_trigger_info differs from it only by case and was not",
    )


async def test_tables_that_are_not_there_are_told(make):
    old = make("3.1.1")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute("DROP TABLE xxl_job_log_report, xxl_job_log, xxl_job_registry, xxl_job_user, xxl_job_logglue")
    async with opened(old) as source:
        found = await source.installation()
        assert await source.days() == []
        assert await source.logs(0, 9, 9) == []
        assert await source.log_bounds(None) == (0, 0)
    assert [job.id for job in found.jobs] == [7]
    assert found.release == "2.3.0 – 3.1.1"
    assert {note.partition(":")[0] for note in found.notes} == {
        f"there is no table xxl_job_{kind}" for kind in ("log_report", "log", "registry", "user", "logglue")
    }


async def test_a_table_without_snapshots_is_told(make):
    old = make("3.1.1")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute("ALTER TABLE xxl_job_group ENGINE=MyISAM")
    (note,) = (await read(old)).notes
    assert note.startswith("xxl_job_group is kept by MyISAM")


async def test_a_schedule_that_moved_to_new_columns(make):
    old = make("2.3.1")
    old.execute("ALTER TABLE xxl_job_info ADD COLUMN job_cron varchar(128)")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute("UPDATE xxl_job_info SET job_cron='0 0 3 * * ?'")
    found = await read(old)
    assert (found.jobs[0].cron, found.jobs[0].schedule_conf) == (None, "0 0 3 * * ?")
    assert found.jobs[0].extra == {"job_cron": "0 0 3 * * ?"}
    (note,) = found.notes
    assert note.startswith("xxl_job_info still has the column job_cron of 2.2")


async def test_odd_types_of_a_fork(make):
    old = make("3.4.2")
    old.execute(
        "ALTER TABLE xxl_job_info MODIFY executor_timeout varchar(20) NULL, MODIFY trigger_status bit(1) NOT NULL, "
        "MODIFY add_time date NULL, MODIFY update_time varchar(30) NULL, MODIFY job_group decimal(10,0) NOT NULL",
    )
    old.fill(groups=[GROUP], jobs=[JOB, SourceJob(8, "1", trigger_status=0)])
    old.execute(
        "UPDATE xxl_job_info SET executor_timeout=' 30 ', add_time='2020-02-03', update_time='2021-03-04 05:06:07' WHERE id=7",
        "UPDATE xxl_job_info SET executor_timeout='soon', update_time='yesterday' WHERE id=8",
    )
    found = await read(old)
    seven, eight = found.jobs
    assert (seven.group, seven.timeout_s, seven.trigger_status) == ("1", 30, 1)
    assert (seven.added, seven.updated) == (datetime(2020, 2, 3), datetime(2021, 3, 4, 5, 6, 7))
    assert (eight.timeout_s, eight.updated, eight.trigger_status) == (None, None, 0)
    assert set(found.oddities) == {
        Oddity("job 8", "executor_timeout", "soon", "nothing"),
        Oddity("job 8", "update_time", "yesterday", "nothing"),
    }


async def test_a_script_of_many_megabytes(make):
    """As long as its column allows: the row comes in two packets of the protocol."""
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute(
        "SET GLOBAL max_allowed_packet=64*1024*1024",
        "UPDATE xxl_job_info SET glue_source=REPEAT('每晚a\\r\\n', 1864135)",
    )
    assert (await read(old)).jobs[0].glue_source == "每晚a\r\n" * 1_864_135
