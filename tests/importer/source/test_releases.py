"""A database of every release is read as what was put in, field by field."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from importer.source.source import Source, SourceOptions, open_source
from importer.source.url import parse_source
from tests.importer.source import sample
from tests.kit.xxl_schemas import DATA, READABLE, columns_of, has_quartz, stock_table, version

RANGES = {
    release: facts["detected"].split(" ")[0]
    for facts in json.loads((DATA / "_fingerprints.json").read_text()).values()
    for release in facts["versions"]
}


def same(found, expected):
    """Field by field, so that a failure names the field."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for field in fields(other):
            assert getattr(one, field.name) == getattr(other, field.name), (other, field.name)


@pytest.mark.mariadb
@pytest.mark.parametrize("release", READABLE)
async def test_what_was_put_in_is_read(source_server, release):
    old = sample.filled(source_server, release)
    async with open_source(parse_source(old.url), SourceOptions(timezone="Asia/Shanghai")) as source:
        found = await source.installation()
        logs = await source.logs(0, 10**9, 100)
        days = await source.days()
        await check_bounds(source)

    same(found.jobs, [sample.kept_job(release, job) for job in sample.JOBS])
    if version(release) < (1, 5, 0):
        assert [(group.key, group.appname) for group in found.groups] == [("1", "1"), ("4", "4")]
    else:
        same(found.groups, [sample.kept_group(release, group) for group in sample.GROUPS])
    if stock_table(release, "logglue"):
        same(found.glue, [sample.kept_glue(release, row) for row in sample.GLUE])
    else:
        assert found.glue == ()
    same(
        found.users,
        [sample.kept_user(release, user) for user in sample.users_of(release)],
    )
    if stock_table(release, "registry"):
        is_instant = columns_of(release, "registry")["update_time"]["type"] == "timestamp"
        beat = sample.BEAT if is_instant else sample.BEAT.replace(tzinfo=None)
        assert [(one.appname, one.address, one.beat) for one in found.executors] == [
            (one.appname, one.address, beat) for one in sample.EXECUTORS
        ]
        assert found.signs.last_beat == beat
    same(days, sample.DAYS if stock_table(release, "log_report") else [])
    same(logs, [sample.kept_log(release, log) for log in sample.LOGS])

    assert found.release.replace(" – ", "-") == expected_range(release)
    assert found.first <= version(release) <= found.last
    assert (found.counters.next_job, found.counters.next_log, found.log_rows) == (1000, 109, 4)
    assert found.day_rows == len(days)
    assert found.counters.next_group == (0 if version(release) < (1, 5, 0) else 5)
    assert found.timezones == (("Asia/Tokyo",) if has_quartz(release) else ())
    assert found.signs.last_log_ms == int(datetime(2024, 1, 2, 19, 30, tzinfo=UTC).timestamp() * 1000)
    assert found.signs.last_checkin_ms == (sample.CHECK_IN_MS if has_quartz(release) else 0)
    assert (found.oddities, found.notes) == ((), ())
    assert found.name == f"{old.name}@127.0.0.1:{source_server.port}"
    assert found.columns["info"] == frozenset(columns_of(release, "info"))


async def check_bounds(source: Source) -> None:
    assert await source.log_bounds(None) == (100, 108)
    assert await source.log_bounds(datetime(2024, 1, 2)) == (102, 108)
    assert await source.log_bounds(datetime(2024, 1, 2, 3, 30)) == (102, 108)
    assert await source.log_bounds(datetime(2024, 1, 2, 3, 30, 1)) == (107, 108)
    assert await source.log_bounds(datetime(2025, 1, 1)) == (0, 0)


def expected_range(release: str) -> str:
    """As the facts have it, but that a unique key in the registry tells 2.5 and later from 2.3 and 2.4."""
    if version(release) >= (3, 5, 0):
        return "3.5.0"
    if RANGES[release] == "2.3.0-3.1.1":
        return "2.3.0-2.4.2" if version(release) < (2, 5, 0) else "2.5.0-3.1.1"
    first, _, last = RANGES[release].partition("-")
    return f"{first}-{last}" if last and last != first else first
