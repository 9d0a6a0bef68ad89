"""What tells that an old admin is at work."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pymysql
import pytest

from gateway.core.zones import resolve_zone
from importer.plan.alive import Life, opinion
from importer.source.signs import instant_ms, zone_of
from importer.source.source import open_source
from importer.source.url import parse_source
from importer.source.values import QuartzState, SourceExecutor, SourceJob, SourceLog
from tests.importer.source.reading import GROUP, opened
from tests.kit.xxl_databases import READER, READER_PASSWORD

AT = datetime(2024, 5, 6, 7, 8, 9)


@pytest.mark.mariadb
async def test_of_releases_that_schedule_by_themselves(make):
    old = make("3.4.2")
    jobs = [
        SourceJob(1, "1", trigger_status=1, last_ms=50, next_ms=900),
        SourceJob(2, "1", trigger_status=1, last_ms=70, next_ms=800),
        SourceJob(3, "1", trigger_status=1, last_ms=0, next_ms=0),
        SourceJob(4, "1", trigger_status=0, last_ms=60, next_ms=5),
    ]
    old.fill(
        groups=[GROUP],
        jobs=jobs,
        executors=[
            SourceExecutor("app", "http://a/", AT),
            SourceExecutor("app", "http://b/", AT.replace(minute=9)),
        ],
        logs=[SourceLog(5, 1, triggered=AT), SourceLog(6, 1, triggered=AT.replace(minute=7))],
    )
    async with opened(old, timezone="Asia/Tokyo") as source:
        found = await source.signs()
    assert (found.last_fire_ms, found.next_due_ms, found.last_checkin_ms) == (70, 800, 0)
    assert (found.last_log_id, found.last_log, found.last_beat) == (
        6,
        AT.replace(minute=7),
        AT.replace(minute=9),
    )
    at_nine = int(datetime(2024, 5, 5, 22, 9, 9, tzinfo=UTC).timestamp() * 1000)
    assert (found.last_beat_ms, found.last_log_ms) == (at_nine, at_nine - 2 * 60_000)


@pytest.mark.mariadb
async def test_of_releases_with_quartz(make):
    old = make("1.9.2")
    jobs = [
        SourceJob(1, "1", quartz=QuartzState("WAITING", next_ms=900, previous_ms=50)),
        SourceJob(2, "1", quartz=QuartzState("BLOCKED", next_ms=800, previous_ms=70)),
        SourceJob(3, "1", quartz=QuartzState("PAUSED", next_ms=5)),
    ]
    old.fill(groups=[GROUP], jobs=jobs)
    old.check_in(1000)
    old.check_in(2000, instance="host2")
    async with opened(old) as source:
        found = await source.signs()
    assert (found.last_fire_ms, found.next_due_ms, found.last_checkin_ms) == (70, 800, 2000)


@pytest.mark.mariadb
async def test_other_connections_as_far_as_they_are_seen(make, source_server):
    old = make("3.4.2")
    root = pymysql.connect(
        unix_socket=str(source_server._socket), user="root", database=old.name, ssl_disabled=True
    )
    with root:
        async with opened(old) as source:
            # Those of others are hidden from this account: nothing is known.
            assert (await source.signs()).connections is None
            mine = pymysql.connect(
                host="127.0.0.1",
                port=source_server.port,
                user=READER,
                password=READER_PASSWORD,
                database=old.name,
                ssl_disabled=True,
            )
            with mine:
                assert (await source.signs()).connections == 1
        source_server.execute("CREATE USER 'xxl_process'@'127.0.0.1' IDENTIFIED BY 'p'")
        try:
            source_server.execute("GRANT SELECT, PROCESS ON *.* TO 'xxl_process'@'127.0.0.1'")
            url = f"mysql://xxl_process:p@127.0.0.1:{source_server.port}/{old.name}"
            async with open_source(parse_source(url)) as source:
                assert (await source.signs()).connections == 1
                root.close()
                while (seen := (await source.signs()).connections) == 1:
                    pass  # the server takes a moment to notice
                assert seen == 0
        finally:
            source_server.execute("DROP USER 'xxl_process'@'127.0.0.1'")
        root.connect()


@pytest.mark.mariadb
async def test_who_is_connected_and_waits_for_a_backup(make, source_server):
    """As an admin at work does while `flush tables with read lock` holds: it seems to do nothing at all."""
    old = make("3.4.2")
    old.execute("INSERT INTO xxl_job_lock (lock_name) VALUES ('schedule_lock')")
    options = {"unix_socket": str(source_server._socket), "user": "root", "ssl_disabled": True}
    backup = pymysql.connect(**options)
    admin = pymysql.connect(**options, database=old.name)
    with backup, admin:
        async with open_source(parse_source(old.seeing_url)) as source:
            found = await source.signs()
            assert (found.others, found.waits_for_lock) == (("root@localhost (1)",), False)
            backup.cursor().execute("FLUSH TABLES WITH READ LOCK")
            change = "UPDATE xxl_job_lock SET lock_name = 'x'"
            changing = asyncio.create_task(asyncio.to_thread(admin.cursor().execute, change))
            try:
                async with asyncio.timeout(20):
                    while not (found := await source.signs()).waits_for_lock:
                        assert not changing.done()
            finally:
                backup.cursor().execute("UNLOCK TABLES")
                await changing
            assert found.connections == 1
            assert opinion(found, await source.signs()).life is Life.CONNECTED


@pytest.mark.mariadb
async def test_a_server_that_takes_no_writes_may_be_behind(make, source_server):
    old = make("3.4.2")
    source_server.execute("SET GLOBAL read_only=1")
    try:
        async with opened(old) as source:
            found = await source.installation()
    finally:
        source_server.execute("SET GLOBAL read_only=0")
    assert found.signs.read_only
    assert [note for note in found.notes if "replica" in note]
    async with opened(old) as source:
        assert not (await source.signs()).read_only


def test_whose_clock_it_is():
    assert zone_of("UTC", ("Asia/Tokyo",)).name == "UTC"
    assert zone_of(None, ("Nowhere/Known", "Asia/Tokyo")).name == "Asia/Tokyo"
    assert zone_of(None, ("Nowhere/Known",)).name == "Asia/Shanghai"
    assert zone_of(None).name == "Asia/Shanghai"


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        (datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 11, tzinfo=UTC)),
        # Skipped: as if the clock had not been set yet. Shown twice: the second time.
        (datetime(2024, 3, 31, 2, 30), datetime(2024, 3, 31, 1, 30, tzinfo=UTC)),
        (datetime(2024, 10, 27, 2, 30), datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
        (datetime(2024, 1, 1, 11, tzinfo=UTC), datetime(2024, 1, 1, 11, tzinfo=UTC)),
    ],
)
def test_wall_clocks_as_instants(wall, instant):
    assert instant_ms(wall, resolve_zone("Europe/Berlin")) == int(instant.timestamp() * 1000)


def test_no_time_is_no_instant():
    assert instant_ms(None, resolve_zone("UTC")) == 0
