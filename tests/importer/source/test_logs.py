"""The log is read by its primary key, in order, and its beginnings are found without walking through it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from importer.source.logs import code_of
from importer.source.values import LogBeginning, SourceDay, SourceLog
from tests.importer.source.reading import JOB, opened

pytestmark = pytest.mark.mariadb
BEGIN = datetime(2024, 1, 1)


def fill_log(old, count):
    """Ids with holes; times that grow with them, nearly; a few rows without one."""
    old.execute(
        f"INSERT INTO {old.table('log')} (id, job_group, {'job_name' if old.by_name else 'job_id'}, trigger_time"
        + ("" if old.by_name else ", trigger_code, handle_code")
        + ") SELECT seq * 3, 1, seq % 7, "
        f"IF(seq % 97 = 0, NULL, '{BEGIN}' + INTERVAL (seq * 10 + (seq * 7919) % 50) SECOND)"
        + ("" if old.by_name else ", 200, 200")
        + f" FROM seq_1_to_{count}"
    )


@pytest.mark.parametrize("release", ["1.5.2", "3.4.2"])
async def test_where_the_log_begins(make, release):
    """Without and with an index on the time; the oracle looks at all rows."""
    old = make(release)
    fill_log(old, 3000)
    async with opened(old) as source:
        for seconds in (
            -1,
            0,
            1,
            17,
            60,
            29_950,
            29_999,
            30_030,
            30_049,
            30_050,
            10**6,
            *range(100, 30_000, 1999),
        ):
            since = BEGIN + timedelta(seconds=seconds)
            ((first,),) = old.execute(
                f"SELECT MIN(id) FROM {old.table('log')} WHERE trigger_time >= '{since}'"
            )
            expected = (0, 0) if first is None else (first, 9000)
            assert await source.log_bounds(since) == expected, seconds
        assert await source.log_bounds(None) == (3, 9000)


@pytest.mark.parametrize("release", ["1.5.2", "3.4.2"])
async def test_the_time_of_the_last_row_up_to_an_id(make, release):
    old = make(release)
    fill_log(old, 300)
    async with opened(old) as source:
        for log_id in (0, 2, 3, 4, 97 * 3 - 1, 97 * 3, 97 * 3 + 1, 600, 900, 10**12):
            ((expected,),) = old.execute(
                f"SELECT trigger_time FROM {old.table('log')} WHERE id = (SELECT MAX(id) FROM {old.table('log')} "
                f"WHERE id <= {log_id} AND trigger_time IS NOT NULL) UNION SELECT NULL LIMIT 1"
            )
            assert await source.log_upto(log_id) == expected, log_id


async def test_rows_that_stand_among_older_ones(make, monkeypatch):
    """Two tables were put into one: the first ids of one are the last of the other's times."""
    old = make("3.4.2")
    monkeypatch.setattr("importer.source.logs._NEIGHBOURS", 50)
    old.execute(
        f"INSERT INTO {old.table('log')} (id, job_group, job_id, trigger_time, trigger_code, handle_code) SELECT seq, 1, 7, "
        f"IF(seq <= 20, '{BEGIN}' + INTERVAL (40000 + seq) MINUTE, '{BEGIN}' + INTERVAL (seq * 20) MINUTE), "
        "IF(seq % 4 = 0, 500, 200), IF(seq % 4 = 0, 0, IF(seq % 4 = 1, 200, IF(seq % 4 = 2, 502, 0))) FROM seq_1_to_1500"
    )
    old.execute(f"UPDATE {old.table('log')} SET trigger_time = '9999-12-31 23:00:00' WHERE id = 30")
    async with opened(old) as source:
        for minutes in (0, 1000, 20_005, 40_010, 60_000):
            since = BEGIN + timedelta(minutes=minutes)
            first, _ = await source.log_bounds(since)
            ((triggered, smallest, strays),) = old.execute(
                f"SELECT MIN(trigger_time), MIN(IF(id < {first}, id, NULL)), SUM(id < {first}) FROM {old.table('log')} "
                f"WHERE trigger_time >= '{since}'"
            )
            assert await source.log_beginning(since, first) == LogBeginning(
                triggered, smallest or 0, int(strays)
            ), minutes
        assert (await source.log_beginning(BEGIN + timedelta(minutes=1000), 50)).smallest_id == 1


@pytest.mark.parametrize("day", [1, 13, 20, 25])
async def test_counts_of_a_day_are_those_of_the_daily_report(make, day):
    old = make("3.4.2")
    old.execute(
        f"INSERT INTO {old.table('log')} (id, job_group, job_id, trigger_time, trigger_code, handle_code) SELECT seq, 1, 7, "
        f"'{BEGIN}' + INTERVAL (seq * 20) MINUTE, ELT(1 + seq % 3, 0, 200, 500), ELT(1 + seq % 4, 0, 200, 500, 502) "
        "FROM seq_1_to_1500"
    )
    ((total, succeeded, running),) = old.execute(
        "SELECT COUNT(*), COALESCE(SUM(handle_code = 200), 0), COALESCE(SUM(handle_code = 0 AND trigger_code IN (0, 200)), 0) "
        f"FROM {old.table('log')} WHERE DATE(trigger_time) = '2024-01-{day:02}'"
    )
    async with opened(old) as source:
        found = await source.log_day(date(2024, 1, day))
    expected = SourceDay(date(2024, 1, day), int(running), int(succeeded), int(total - succeeded - running))
    assert found == expected


async def test_without_an_index_the_log_begins_at_its_first_id(make):
    old = make("1.5.2")
    fill_log(old, 100)
    async with opened(old) as source:
        found = await source.log_beginning(BEGIN, 3)
        assert await source.log_day(BEGIN.date()) is None
    assert (found.triggered.date(), found.strays, found.is_searched) == (BEGIN.date(), 0, False)


async def test_pages_join_without_gaps(make):
    old = make("3.4.2")
    fill_log(old, 250)
    async with opened(old) as source:
        first, last = await source.log_bounds(None)
        seen, after = [], first - 1
        while rows := await source.logs(after, last, 40, messages=False):
            assert len(rows) <= 40
            seen += [row.id for row in rows]
            after = rows[-1].id
        assert seen == [3 * number for number in range(1, 251)]
        # What comes later is beyond the end that was set.
        old.fill(jobs=[JOB], logs=[SourceLog(10_000, 7)])
        assert await source.logs(after, last, 40) == []
        assert [row.id for row in await source.logs(after, 10**9, 40)] == [10_000]


async def test_messages_are_left_out_when_nobody_reads_them(make):
    old = make("3.4.2")
    old.fill(jobs=[JOB], logs=[SourceLog(1, 7, trigger_message="<br>" * 1000, handle_message="m")])
    async with opened(old) as source:
        (row,) = await source.logs(0, 9, 9, messages=False)
        assert (row.trigger_message, row.handle_message) == (None, None)
        (row,) = await source.logs(0, 9, 9)
        assert (row.trigger_message, row.handle_message) == ("<br>" * 1000, "m")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, 0),
        ("", 0),
        (200, 200),
        ("200", 200),
        (" 502 ", 502),
        ("SUCCESS", 200),
        ("Fail", 500),
        ("UNHEARD OF", 500),
        ("-1", 500),
    ],
)
def test_codes(value, code):
    assert code_of(value) == code
