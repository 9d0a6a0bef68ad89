"""Whatever fits into the columns of a release comes out as it went in."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importer.source.source import open_source
from importer.source.url import parse_source
from importer.source.values import SourceGroup, SourceJob, SourceLog
from tests.importer.source.sample import kept_job, kept_log
from tests.kit.xxl_schemas import version

INT = st.integers(-(2**31), 2**31 - 1)
TIMES = st.datetimes(min_value=datetime(1970, 1, 2)).map(lambda at: at.replace(microsecond=0))


def texts(release, size):
    """Up to 2.1.0 the columns have room for the first plane of Unicode only."""
    highest = 0xFFFF if version(release) < (2, 1, 1) else 0x10FFFF
    letters = st.characters(max_codepoint=highest, exclude_categories=["Cs"])
    return (
        st.none()
        | st.text(letters, max_size=size)
        | st.sampled_from(["%s", "\\", "'\"`", "NULL", "\r\n", " x ", "\0"])
    )


def jobs(release):
    def text(size):
        return texts(release, size)

    return st.builds(
        SourceJob,
        id=st.integers(1, 2**31 - 2),
        group=st.just("1"),
        name=st.just("a name"),
        description=text(250).map(lambda told: told or ""),
        author=text(60),
        alarm_email=text(200),
        cron=text(100).map(lambda told: told or ""),
        misfire=text(40).map(lambda told: "DO_NOTHING" if told is None else told),
        route=text(40),
        handler=text(250),
        param=text(250),
        block=text(40),
        timeout_s=INT,
        retries=INT,
        fail_strategy=text(40),
        glue_type=text(40).map(lambda told: told or ""),
        glue_switch=INT,
        glue_source=text(1000),
        glue_remark=text(120),
        glue_updated=st.none() | TIMES,
        trigger_status=st.integers(-128, 127).filter(lambda status: status != 1),
        last_ms=st.integers(-(2**63), 2**63 - 1),
        next_ms=st.integers(-(2**63), 2**63 - 1),
        added=st.none() | TIMES,
        updated=st.none() | TIMES,
    )


def logs(release):
    def text(size):
        return texts(release, size)

    return st.builds(
        SourceLog,
        id=st.integers(1, 2**31 - 2),
        job_id=INT,
        group=st.just("1"),
        name=st.just("a name"),
        address=text(250),
        handler=text(250),
        param=text(250),
        sharding=text(20),
        retries_left=INT,
        triggered=st.none() | TIMES,
        trigger_code=st.integers(0, 999),
        trigger_message=text(1000),
        handled=st.none() | TIMES,
        handle_code=st.integers(0, 999),
        handle_message=text(1000),
        alarm_status=st.integers(-128, 127),
    )


@pytest.mark.mariadb
@pytest.mark.parametrize("release", ["1.9.1", "2.2.0", "3.4.2"])
def test_what_goes_in_comes_out(make, release):
    old = make(release)
    old.fill(groups=[SourceGroup("1", "app")])

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(jobs(release), max_size=4, unique_by=lambda job: job.id),
        st.lists(logs(release), max_size=4, unique_by=lambda log: log.id),
    )
    def check(some_jobs, some_logs):
        old.execute(f"DELETE FROM {old.table('info')}", f"DELETE FROM {old.table('log')}")
        old.fill(jobs=some_jobs, logs=some_logs)

        async def read():
            async with open_source(parse_source(old.url)) as source:
                found = await source.installation()
                return found, await source.logs(0, 2**31, 100)

        found, found_logs = asyncio.run(read())
        by_id = sorted(some_jobs, key=lambda job: job.id)
        assert list(found.jobs) == [kept_job(release, job) for job in by_id]
        assert found_logs == [kept_log(release, log) for log in sorted(some_logs, key=lambda log: log.id)]
        assert found.oddities == ()

    check()
