"""An installation with something in every column, and what a release keeps of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache

from importer.source.values import (
    QuartzState,
    SourceDay,
    SourceExecutor,
    SourceGlue,
    SourceGroup,
    SourceJob,
    SourceLog,
    SourceUser,
)
from tests.kit.mariadb import MariadbServer
from tests.kit.xxl_databases import XxlDatabase, create_xxl_database
from tests.kit.xxl_schemas import columns_of, has_quartz, version

# Of 123456.
MD5, SHA256 = (
    "e10adc3949ba59abbe56e057f20f883e",
    "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92",
)
CHECK_IN_MS = 1_700_000_000_123
BEAT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)

GROUPS = (
    SourceGroup("1", "demo-executor", "演示", 0, "http://10.0.0.1:9999/", 1, "secret"),
    SourceGroup("4", "by-hand", "<b>old</b>", 1, "10.0.0.2:9999,10.0.0.3:9999", 2),
)
JOBS = (
    SourceJob(
        3,
        "1",
        name="nightly",
        description="每晚清理",
        author="王五",
        alarm_email="a@example.com, b@example.com",
        alarm_threshold=3,
        cron="0 30 3 * * ?",
        misfire="FIRE_ONCE_NOW",
        route="ROUND",
        handler="cleanHandler",
        param="a=1\r\nb='2' \\ \"3\" %s",
        block="DISCARD_LATER",
        timeout_s=30,
        retries=2,
        fail_strategy="FAIL_RETRY",
        glue_type="BEAN",
        glue_switch=0,
        child_ids="8",
        trigger_status=1,
        last_ms=1_700_000_000_000,
        next_ms=1_700_086_400_000,
        added=datetime(2019, 1, 2, 3, 4, 5),
        updated=datetime(2020, 2, 3, 4, 5, 6),
        executor_address="10.0.0.9:9999",
        job_class="a.RemoteHttpJobBean",
    ),
    SourceJob(
        8,
        "4",
        name="script",
        description="glue",
        cron="0 0/5 * * * ? 2099",
        glue_type="GLUE_GROOVY",
        glue_switch=1,
        glue_source="class A {\r\n}\n" * 2000,
        glue_remark="第一版",
        glue_updated=datetime(2021, 3, 4, 5, 6, 7),
        trigger_status=0,
    ),
    # Nothing but what must be there.
    SourceJob(21, "4", name="bare", description="", cron="", trigger_status=0),
)
GLUE = (
    SourceGlue(
        1,
        8,
        "4",
        "script",
        "GLUE_GROOVY",
        "class A { }",
        "第一版",
        datetime(2018, 1, 1, 16),
        datetime(2018, 1, 1, 17),
    ),
    SourceGlue(
        5, 8, "4", "script", "GLUE_GROOVY", None, "", datetime(2018, 1, 2, 16), datetime(2018, 1, 2, 17)
    ),
)
USERS = (
    SourceUser(1, "admin", MD5, 1, None, has_session=True),
    SourceUser(6, "operator", MD5, 0, "1,4"),
    SourceUser(9, "new", SHA256, 0, ""),
)
EXECUTORS = (
    SourceExecutor("by-hand", "10.0.0.2:9999", BEAT),
    SourceExecutor("demo-executor", "http://10.0.0.1:9999/", BEAT),
)
DAYS = (SourceDay(date(2024, 1, 1), 0, 12, 3), SourceDay(date(2024, 1, 2), 4, 5, 6))
LOGS = (
    SourceLog(
        100,
        3,
        "1",
        "nightly",
        "10.0.0.1:9999",
        "cleanHandler",
        "a=1",
        "0/2",
        2,
        datetime(2024, 1, 1, 3, 30),
        200,
        "<br>地址",
        datetime(2024, 1, 1, 3, 31),
        200,
        "好",
        1,
    ),
    SourceLog(
        102,
        3,
        "1",
        "nightly",
        None,
        None,
        None,
        None,
        0,
        datetime(2024, 1, 2, 3, 30),
        500,
        "no address",
        None,
        0,
        None,
        2,
    ),
    SourceLog(
        107,
        8,
        "4",
        "script",
        "10.0.0.2:9999",
        None,
        "",
        "1/2",
        0,
        datetime(2024, 1, 2, 3, 35),
        200,
        "",
        datetime(2024, 1, 2, 3, 36),
        500,
        "x" * 1000,
        3,
    ),
    SourceLog(
        108,
        3,
        "1",
        "nightly",
        "10.0.0.1:9999",
        None,
        None,
        None,
        0,
        datetime(2024, 1, 3, 3, 30),
        200,
        None,
        None,
        0,
        None,
        0,
    ),
)

# Fields that stand in a column of their own, where a release has it. (The kit's own table of names is another.)
_JOB_COLUMNS = {
    "author": "author",
    "alarm_email": "alarm_email",
    "alarm_threshold": "alarm_threshold",
    "misfire": "misfire_strategy",
    "route": "executor_route_strategy",
    "handler": "executor_handler",
    "param": "executor_param",
    "block": "executor_block_strategy",
    "timeout_s": "executor_timeout",
    "retries": "executor_fail_retry_count",
    "fail_strategy": "executor_fail_strategy",
    "glue_type": "glue_type",
    "glue_switch": "glue_switch",
    "glue_source": "glue_source",
    "glue_remark": "glue_remark",
    "glue_updated": "glue_updatetime",
    "child_ids": "child_jobid",
    "trigger_status": "trigger_status",
    "last_ms": "trigger_last_time",
    "next_ms": "trigger_next_time",
    "executor_address": "executor_address",
    "job_class": "job_class",
}
# What stands in a column that must not be NULL.
_INSTEAD_OF_NULL = {
    "misfire": "DO_NOTHING",
    "timeout_s": 0,
    "retries": 0,
    "last_ms": 0,
    "next_ms": 0,
    "glue_type": "",
    "job_class": "",
}


@cache
def filled(server: MariadbServer, release: str) -> XxlDatabase:
    """A database with all of this, made once; for tests that only read it."""
    old = create_xxl_database(server, release, whole=release in {"1.2.0", "2.0.2"})
    old.fill(
        groups=GROUPS,
        jobs=JOBS,
        glue=GLUE,
        users=users_of(release),
        executors=EXECUTORS,
        days=DAYS,
        logs=LOGS,
        timezone="Asia/Tokyo",
    )
    if has_quartz(release):
        old.check_in(CHECK_IN_MS)
    old.set_counter("info", 1000)
    return old


def users_of(release: str) -> tuple[SourceUser, ...]:
    """Before 3.2 there is no room for a SHA-256."""
    if version(release) < (2, 1, 0):
        return ()
    return USERS if version(release) >= (3, 2, 0) else USERS[:2]


def kept_job(release: str, job: SourceJob) -> SourceJob:
    """What a database of that release says of the job."""
    columns = columns_of(release, "info")
    changes: dict[str, object] = {}
    for field, column in _JOB_COLUMNS.items():
        if column not in columns:
            changes[field] = None
        elif getattr(job, field) is None:
            changes[field] = _INSTEAD_OF_NULL.get(field) if not columns[column]["nullable"] else None
    if "glue_switch" in columns and job.glue_switch is None:
        changes["glue_switch"] = 0
    if version(release) >= (1, 6, 0):
        changes["name"] = None
    if "schedule_type" in columns:
        changes |= {"cron": None, "schedule_type": "CRON", "schedule_conf": job.cron}
    if "child_jobkey" in columns:
        child = {"8": "4_script" if version(release) < (1, 6, 0) else "4_8"}
        changes["child_keys"] = child.get(job.child_ids or "")
    if "job_data" in columns:
        changes["job_data"] = json.dumps(
            {
                "handler_address": job.executor_address,
                "handler_name": job.handler,
                "handler_params": job.param,
            }
        )
    if has_quartz(release) and job.trigger_status == 1:
        scheduler = "quartzScheduler" if release[0] == "1" else "getSchedulerFactoryBean"
        changes["quartz"] = QuartzState("WAITING", job.cron, "Asia/Tokyo", None, None, scheduler)
    return replace(job, **changes)


def kept_group(release: str, group: SourceGroup) -> SourceGroup:
    columns = columns_of(release, "group")
    return replace(
        group,
        order=group.order if "order" in columns else None,
        address_type=group.address_type if "address_type" in columns else None,
        address_list=group.address_list if "address_list" in columns else None,
        access_token=group.access_token if "access_token" in columns else None,
    )


def kept_glue(release: str, glue: SourceGlue) -> SourceGlue:
    columns = columns_of(release, "logglue")
    by_name = "job_id" not in columns
    added, updated = glue.added, glue.updated
    if columns["add_time"]["type"] == "timestamp":
        added, updated = added.replace(tzinfo=UTC), updated.replace(tzinfo=UTC)
    return replace(
        glue,
        job_id=None if by_name else glue.job_id,
        group=glue.group if by_name else None,
        name=glue.name if by_name else None,
        glue_type=glue.glue_type if "glue_type" in columns else None,
        added=added,
        updated=updated,
    )


def kept_user(release: str, user: SourceUser) -> SourceUser:
    return replace(user, has_session=user.has_session and "token" in columns_of(release, "user"))


def kept_log(release: str, log: SourceLog) -> SourceLog:
    columns = columns_of(release, "log")
    by_name = "job_id" not in columns
    return replace(
        log,
        job_id=None if by_name else log.job_id,
        name=log.name if by_name else None,
        address=log.address if "executor_address" in columns else None,
        handler=log.handler if "executor_handler" in columns else None,
        param=log.param if "executor_param" in columns else None,
        sharding=log.sharding if "executor_sharding_param" in columns else None,
        retries_left=log.retries_left if "executor_fail_retry_count" in columns else None,
        alarm_status=log.alarm_status if "alarm_status" in columns else None,
    )
