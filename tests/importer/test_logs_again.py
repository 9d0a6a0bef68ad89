"""The log of a real source is imported again, after it was emptied there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from gateway.core.clock import SystemClock
from gateway.store.engine import database_url, open_database
from gateway.store.tables import run
from importer.apply import apply_plan, read_target
from importer.history import import_logs
from importer.plan.make import PlanOptions, make_plan
from importer.source.source import SourceOptions, open_source
from importer.source.url import parse_source
from importer.source.values import SourceGroup, SourceJob, SourceLog
from tests.kit.blank_database import blank_database

pytestmark = pytest.mark.mariadb

HOUR_MS = 3_600_000
CHINA = timedelta(hours=8)
JOB = SourceJob(
    7,
    "1",
    name="seven",
    description="seven",
    cron="0 0 3 * * ?",
    glue_type="BEAN",
    handler="h",
    route="FIRST",
)


def a_log(log_id, at_ms):
    at = (datetime.fromtimestamp(at_ms // 1000, UTC) + CHINA).replace(tzinfo=None)
    return SourceLog(log_id, 7, "1", "seven", triggered=at, trigger_code=200, handled=at, handle_code=200)


@pytest.mark.parametrize("release", ["1.5.2", "3.4.2"])
async def test_a_log_that_was_emptied_is_taken_from_its_new_beginning_on(make, tmp_path, release):
    """Without and with an index on the times."""
    old, clock = make(release), SystemClock()
    now_ms = clock.now_ms()
    db = open_database(database_url(blank_database(tmp_path)))

    async def bring():
        async with open_source(parse_source(old.url), SourceOptions()) as source:
            installation = await source.installation()
            target = await read_target(db, clock, source.name)
            plan = make_plan(installation, target, PlanOptions(source.name), clock.now_ms())
            await apply_plan(db, clock, plan, release=installation.release)
            return await import_logs(source, db, clock, plan, days=3, jobs=installation.jobs)

    before = [a_log(n, now_ms - 30 * HOUR_MS + n * 1000) for n in range(100, 120)]
    old.fill(groups=[SourceGroup("1", "shop", "Shop", 0)], jobs=[JOB], logs=before)
    assert (await bring()).runs == 20
    old.execute(f"DELETE FROM {old.table('log')} WHERE id < 110")
    done = await bring()
    assert (done.runs, done.emptied, done.shortened) == (0, None, False)
    old.execute(f"TRUNCATE TABLE {old.table('log')}")
    old.fill(logs=[a_log(n, now_ms - 20 * HOUR_MS + n * 1000) for n in range(1, 118)])
    done = await bring()
    assert (done.runs, done.emptied, done.left) == (117, before[-1].triggered, 0)
    assert (await bring()).runs == 0
    async with db.read() as conn:
        found = list((await conn.execute(select(run.c.claim_token).order_by(run.c.trigger_ms))).scalars())
        by_id = list((await conn.execute(select(run.c.claim_token).order_by(run.c.id))).scalars())
    assert found == by_id == [*range(100, 120), *range(1, 118)]
    await db.close()
