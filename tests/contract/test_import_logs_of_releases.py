"""The log of real databases of several eras, through the real reader, into a SQLite target."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.core.clock import SystemClock
from gateway.store.daily import DailyStore
from gateway.store.engine import database_url, open_database
from gateway.store.passwords import Passwords
from gateway.store.runs import RunStore
from importer.apply import apply_plan, read_target
from importer.history import import_days, import_logs
from importer.plan.make import PlanOptions, make_plan
from importer.source.source import open_source
from importer.source.url import parse_source
from importer.source.values import SourceDay, SourceGroup, SourceJob, SourceLog
from tests.kit.blank_database import blank_database
from tests.kit.xxl_databases import create_xxl_database

NOW = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
AGO = NOW - timedelta(hours=2)
# How each row ends: the codes of the trigger and of the result, and what becomes of it.
ENDS = ((200, 200, "succeeded"), (200, 500, "failed"), (200, 0, "lost"), (500, 0, "failed"))


@pytest.mark.mariadb
@pytest.mark.parametrize("release", ["1.2.0", "1.5.2", "1.8.2", "2.1.0", "3.4.2"])
async def test_the_log_of_a_release(release, mariadb_server, tmp_path):
    """Named by group and name up to 1.5; codes as words, digits and numbers; no daily report before 2.1.1."""
    source = create_xxl_database(mariadb_server, release)
    names_groups = source.version < (1, 5, 0)
    group = "shop-group" if names_groups else "1"
    cron = "0 0 3 * * ?"
    jobs = [
        SourceJob(
            n,
            group,
            name=f"name{n}",
            description=f"job {n}",
            schedule_type="CRON",
            schedule_conf=cron,
            handler="h",
        )
        for n in (4, 9)
    ]
    source.fill(
        groups=[] if names_groups else [SourceGroup("1", "shop", title="Shop", address_type=0)],
        jobs=jobs,
        logs=[
            SourceLog(
                100 + n,
                jobs[n % 2].id,
                triggered=AGO + timedelta(seconds=n),
                trigger_code=trigger,
                handled=AGO + timedelta(seconds=n + 5) if code else None,
                handle_code=code,
                handle_message=f"said {n}" if code else None,
                param=f"x={n}",
            )
            for n, (trigger, code, _) in enumerate(ENDS)
        ],
        days=[SourceDay(NOW.date() - timedelta(days=9), 0, 70, 7)],
        timezone="UTC",
    )
    db, clock = open_database(database_url(blank_database(tmp_path))), SystemClock()
    try:
        async with open_source(parse_source(source.url)) as opened:
            installation = await opened.installation()
            options = PlanOptions(source=opened.name, timezone="UTC")
            plan = make_plan(installation, await read_target(db, clock, opened.name), options, clock.now_ms())
            await apply_plan(db, clock, plan, passwords=Passwords(memory_kib=64))
            done = await import_logs(opened, db, clock, plan, days=1, jobs=installation.jobs)
            assert (done.runs, done.lost, done.unknown, done.left) == (4, 1, 0, 0)
            assert (await import_logs(opened, db, clock, plan, days=1, jobs=installation.jobs)).runs == 0
            days = await import_days(opened, db, clock, plan)
        runs = await RunStore(db, clock).get_many(range(100, 104))
        assert [runs[100 + n].state.word for n in range(4)] == [word for _, _, word in ENDS]
        assert [runs[100 + n].job_id for n in range(4)] == [4, 9, 4, 9]
        for n in range(4):
            assert runs[100 + n].trigger_ms == (
                AGO + timedelta(seconds=n) - datetime(1970, 1, 1)
            ) // timedelta(milliseconds=1)
        assert runs[101].message == "said 1"
        reported = await DailyStore(db, clock).of_old_admins(0, 1 << 30)
        told = {date(1970, 1, 1) + timedelta(days=day): one.succeeded for day, one in reported.items()}
        expected = {NOW.date() - timedelta(days=9): 70} if source.version >= (2, 1, 1) else {}
        assert (told, days.days) == (expected, len(expected))
    finally:
        await db.close()
        source.drop()
