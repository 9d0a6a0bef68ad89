"""Import, write back, import again: the same jobs. Import, YAML, apply elsewhere: the same jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
import yaml

from importer.source.values import SourceGlue, SourceGroup, SourceJob
from tests.importer.source.sample import GLUE, GROUPS, JOBS, USERS

pytestmark = pytest.mark.mariadb

WHEN = datetime(2024, 3, 4, 5, 6, 7)
CHANGED = datetime(2025, 4, 5, 6, 7, 8)


def job(job_id, **fields):
    plain = {
        "description": f"任务 {job_id}",
        "author": "王五",
        "schedule_type": "CRON",
        "schedule_conf": "0 0 3 * * ?",
        "misfire": "DO_NOTHING",
        "route": "ROUND",
        "block": "SERIAL_EXECUTION",
        "glue_type": "BEAN",
        "handler": "h",
        "trigger_status": 0,
        "added": WHEN,
        "updated": CHANGED,
    }
    return SourceJob(job_id, "1", **(plain | fields))


MANY = (
    *(replace(one, executor_address=None, job_class=None, alarm_threshold=None) for one in JOBS),
    job(30, schedule_type="FIX_RATE", schedule_conf="90", trigger_status=1, next_ms=1_794_000_123_000),
    job(31, schedule_type="FIX_RATE", schedule_conf="3600"),
    job(32, schedule_type="NONE", schedule_conf="", child_ids="30, 31,77", child_keys=""),
    job(33, schedule_conf="0 0 25 * * ?"),
    job(34, schedule_conf="0 0 3 ? * 6L", misfire="FIRE_ONCE_NOW", trigger_status=1),
    job(35, schedule_type="LUNAR", schedule_conf='every "new" moon, it\'s odd'),
    job(36, schedule_type="FIX_DELAY", schedule_conf="30"),
    job(
        37,
        schedule_conf="0 0 0 L * ?",
        route="SHARDING_BROADCAST",
        block="COVER_EARLY",
        retries=3,
        timeout_s=60,
    ),
    job(
        38,
        schedule_conf=None,
        author=None,
        alarm_email=None,
        route=None,
        block=None,
        param=None,
        handler=None,
    ),
    job(
        39,
        glue_type="GLUE_SHELL",
        glue_source="echo 3",
        glue_remark="third",
        glue_updated=WHEN,
        schedule_conf="0 0/5 * * * ?",
        param="x" * 512,
        alarm_email="a@b.c,d@e.f",
    ),
    job(40, schedule_conf="0 0 3 29 2 ? 2027"),
    job(41, child_ids="39", child_keys=""),
    replace(job(42), group="12"),
)
MORE_GLUE = (
    *GLUE,
    SourceGlue(
        20, 39, None, None, "GLUE_SHELL", "echo 1", "first", datetime(2020, 1, 1, 1), datetime(2020, 1, 1, 1)
    ),
    SourceGlue(
        21, 39, None, None, "GLUE_SHELL", "echo 2\n", "二", datetime(2021, 1, 1, 1), datetime(2021, 1, 1, 1)
    ),
    SourceGlue(22, 39, None, None, "GLUE_SHELL", "echo 3", "third", WHEN, WHEN),
    # One that was a script before.
    SourceGlue(
        23, 41, None, None, "GLUE_SHELL", "echo 0", "old", datetime(2020, 1, 1, 1), datetime(2020, 1, 1, 1)
    ),
)


@pytest.fixture
def full(make):
    def create(release):
        database = make(release)
        groups = (
            *GROUPS,
            SourceGroup("9", "no-title", "no-title", 0),
            # Two groups of one appname are one app here, with both ids.
            SourceGroup("12", "demo-executor", "演示", 0),
        )
        database.fill(groups=groups, jobs=MANY, glue=MORE_GLUE, users=USERS[:2])
        return database

    return create


def said(plan):
    return {(one.level, one.where, one.field, one.value, one.became) for one in plan.findings}


@pytest.mark.parametrize("release", ["2.3.0", "2.5.0", "3.2.0", "3.4.2"])
async def test_back_and_forth(release, full, make, gateways):
    first, second = await gateways(), await gateways()
    before = await first.import_(full(release))
    empty = make(release)
    await first.write_back(empty)
    after = await second.import_(empty)
    assert [(one.app, one.aliases) for one in after.apps] == [(one.app, one.aliases) for one in before.apps]
    assert before.apps[0].aliases == (12,)
    old = {one.old_id: one for one in before.jobs}
    assert [one.old_id for one in after.jobs] == list(old)
    for one in after.jobs:
        assert (one.job, *one.history) == (old[one.old_id].job, *old[one.old_id].history)
        assert one.fires.ours == old[one.old_id].fires.ours
    new = {one for one in said(after) if not one[1].startswith("user ")} - said(before)
    assert new == set()


async def test_yaml_goes_elsewhere(full, gateways, tmp_path):
    first, second = await gateways(), await gateways()
    await first.import_(full("3.4.2"))
    file = tmp_path / "all.yaml"
    await first.run("export", "--output", file)
    found = yaml.safe_load(file.read_text("utf-8"))
    # Of a hand-edited database: what no gateway would take from anybody but an import. They are fixed or left out.
    odd = {one["id"] for one in found["jobs"] if not one["task"]}
    assert odd == {21, 38}
    found["jobs"] = [one for one in found["jobs"] if one["id"] not in odd]
    file.write_text(yaml.safe_dump(found, allow_unicode=True), "utf-8")
    await second.run("apply", file, "--yes")
    again = yaml.safe_load(await second.run("export"))
    for documents in (found, again):
        for one in documents["jobs"]:
            del one["id"]
            for child in one.get("children", ()):
                del child["job"]
    key = lambda one: (one["app"], one["name"])  # noqa: E731
    assert sorted(again["jobs"], key=key) == sorted(found["jobs"], key=key)
    assert again["apps"] == found["apps"]
