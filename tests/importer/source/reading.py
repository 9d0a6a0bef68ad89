"""Short words for what tests of the reader do."""

from __future__ import annotations

from collections.abc import Callable

from importer.source.source import Source, SourceOptions, open_source
from importer.source.url import parse_source
from importer.source.values import Installation, SourceGroup, SourceJob
from tests.kit.xxl_databases import XxlDatabase

GROUP = SourceGroup("1", "app", "app", 0)
JOB = SourceJob(
    7, "1", name="seven", description="seven", cron="0 0 3 * * ?", glue_type="BEAN", trigger_status=1
)


def opened(old: XxlDatabase, **options: object):
    return open_source(parse_source(old.url), SourceOptions(**options))


async def read(old: XxlDatabase, **options: object) -> Installation:
    async with opened(old, **options) as source:
        return await source.installation()


def before_reading(source: Source, part: str, act: Callable[[], object]) -> None:
    """Do that once, right before the first statement with that text in it."""
    connection, done = source._connection, []
    real_rows, real_each = connection.rows, connection.each

    async def rows(sql, values=()):
        if part in sql and not done:
            done.append(act())
        return await real_rows(sql, values)

    async def each(sql, values, take):
        if part in sql and not done:
            done.append(act())
        await real_each(sql, values, take)

    connection.rows, connection.each = rows, each
