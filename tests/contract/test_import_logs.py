"""The old admin's log and its daily report, on every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from gateway.core.daily import DAY_MS, DailyFilter
from gateway.core.errors import Conflict, NotFound
from gateway.core.listing import RunFilter
from gateway.core.model import FIRST_LONG_ID, TriggerKind
from gateway.core.retention import Kept
from gateway.core.states import RunState
from gateway.store.daily import DailyStore
from gateway.store.history import HistoryStore
from gateway.store.import_logs import LogImportStore, OldDay
from gateway.store.passwords import Passwords
from gateway.store.runs import RunStore
from gateway.store.tables import event, import_source, node, run, run_daily
from gateway.store.undo import UndoStore
from importer.apply import apply_plan
from importer.errors import SourceLost, TargetFull
from importer.history import BATCH, _rest, import_days, import_logs
from importer.plan.values import Action, PlannedApp
from importer.report.copied import copied_logs
from importer.source.values import LogBeginning, SignsOfLife, SourceDay, SourceLog
from importer.undo import undo
from tests.contract.test_imports import SHOP, SOURCE, a_job, a_plan, planned

SHANGHAI = ZoneInfo("Asia/Shanghai")


class FakeSource:
    """A log in memory. `fails`: how often the next question ends with a lost connection."""

    def __init__(self, clock, logs=(), days=()):
        self.clock = clock
        self.rows = sorted(logs, key=lambda one: one.id)
        self.reported = list(days)
        self.fails = 0
        self.questions = 0
        self.on_read = lambda: None

    async def signs(self):
        return SignsOfLife(database_now_ms=self.clock.ms)

    async def log_bounds(self, since):
        ids = [one.id for one in self.rows if one.triggered is None or one.triggered >= since]
        return (min(ids), max(one.id for one in self.rows)) if ids else (0, 0)

    async def log_upto(self, log_id):
        times = [one.triggered for one in self.rows if one.id <= log_id and one.triggered is not None]
        return times[-1] if times else None

    async def log_beginning(self, since, first_id):
        found = [one for one in self.rows if one.triggered is not None and one.triggered >= since]
        strays = [one.id for one in found if one.id < first_id]
        first = min((one.triggered for one in found), default=None)
        return LogBeginning(first, min(strays, default=0), len(strays))

    async def log_day(self, day):
        ended = [
            one.handle_code for one in self.rows if one.triggered is not None and one.triggered.date() == day
        ]
        good, running = ended.count(200), ended.count(0)
        return SourceDay(day, running, good, len(ended) - good - running)

    async def logs(self, after_id, upto_id, limit):
        self.questions += 1
        if self.fails:
            self.fails -= 1
            raise SourceLost
        await asyncio.sleep(0)
        self.on_read()
        return [one for one in self.rows if after_id < one.id <= upto_id][:limit]

    async def days(self):
        return self.reported


def wall(at_ms):
    """What the old admin's database keeps of an instant."""
    return datetime.fromtimestamp(at_ms // 1000, SHANGHAI).replace(tzinfo=None)


def a_log(log_id, at_ms, job_id=7, **fields):
    values = {
        "address": "10.0.0.1:9999",
        "triggered": wall(at_ms),
        "trigger_code": 200,
        "handled": wall(at_ms + 3000),
        "handle_code": 200,
        "retries_left": 2,
    }
    return SourceLog(log_id, job_id, **values | fields)


@pytest.fixture
async def plan(db, clock):
    """Applied: jobs 7 and 12 of the source, the second one as job 120."""
    jobs = [planned(a_job(7, max_attempts=3)), planned(a_job(120), old_id=12)]
    wanted = replace(
        a_plan(apps=[PlannedApp(Action.CREATE, SHOP, ("3",))], jobs=jobs), job_ids={7: 7, 12: 120}
    )
    await apply_plan(db, clock, wanted, passwords=Passwords(memory_kib=64))
    return wanted


@pytest.fixture
def runs(db, clock):
    return RunStore(db, clock)


async def test_what_a_row_of_the_log_becomes(db, clock, plan, runs, rows):
    at_ms = clock.ms - 3_600_000
    half = at_ms // 1000 * 1000
    logs = [
        a_log(1001, at_ms, param="x=1", handle_message="well done"),
        a_log(1002, at_ms, handle_code=500, handle_message="no \0 good \ud83d"),
        a_log(1003, at_ms, handle_code=502, retries_left=1),
        a_log(1004, at_ms, handle_code=0, handled=None),
        a_log(
            1005,
            at_ms,
            trigger_code=500,
            handle_code=0,
            handled=None,
            address=None,
            trigger_message="任务触发类型：Cron<br>address：<br><span style='color:#00c0ef'>&lt;no address&gt;</span>",
        ),
        a_log(1006, at_ms, job_id=12, sharding="1/3", retries_left=0),
        a_log(1007, at_ms, triggered=None, handled=None),
        a_log(1008, at_ms, job_id=99),
    ]
    done = await import_logs(FakeSource(clock, logs), db, clock, plan, days=2)
    assert (done.runs, done.lost, done.unknown, done.unknown_jobs, done.timeless) == (6, 1, 1, {99}, 1)
    assert (done.left, done.renamed, done.old) == (0, 0, 0)
    found = await runs.get_many(range(1001, 1009))
    assert {run_id: one.state.word for run_id, one in found.items()} == {
        1001: "succeeded",
        1002: "failed",
        1003: "timed_out",
        1004: "lost",
        1005: "failed",
        1006: "succeeded",
    }
    first = found[1001]
    assert (first.job_id, first.app_id, first.slot_key, first.root_id) == (7, 3, -1001, 1001)
    assert (first.trigger_ms, first.sent_ms, first.finished_ms) == (half, half, half + 3000)
    assert (first.address, first.params, first.message) == ("http://10.0.0.1:9999/", "x=1", "well done")
    assert {one.trigger_kind for one in found.values()} == {TriggerKind.IMPORTED}
    assert found[1002].message == "no \ufffd good ?"
    assert (found[1003].attempt, found[1003].result_code) == (2, 502)
    assert SOURCE in found[1004].reason
    assert (found[1005].sent_ms, found[1005].address) == (0, "")
    assert found[1005].reason == "任务触发类型：Cron\naddress：\n<no address>"
    assert (found[1006].job_id, found[1006].shard, found[1006].shard_total) == (120, 1, 3)
    assert {row["open_part"] for row in await rows(run)} == {None}
    assert [one["text"] for one in await rows(event)][-1] == "6 runs of its log, 1 of them without a result"


async def test_nothing_picks_them_up(db, clock, plan, runs):
    logs = [a_log(n, clock.ms - 3_600_000, handle_code=500) for n in range(1, 4)]
    await import_logs(FakeSource(clock, logs), db, clock, plan, days=1)
    parts = range(128)
    for states in (frozenset(RunState), frozenset({RunState.FAILED})):
        assert await runs.open_runs(None, 100, states, parts) == []
    failures = RunFilter(states=frozenset({RunState.FAILED}))
    assert len((await runs.page(failures, cursor=None, limit=10)).items) == 3
    assert (await runs.page(replace(failures, not_rerun=True), cursor=None, limit=10)).items == ()
    only = RunFilter(trigger=TriggerKind.IMPORTED)
    assert len((await runs.page(only, cursor=None, limit=10)).items) == 3


async def test_only_the_days_that_are_asked_for_then_more_then_what_is_new(db, clock, plan, rows):
    """By the old admin's calendar: today, and so many days before."""
    start = datetime(2026, 11, 10, 0, 0, tzinfo=SHANGHAI)
    clock.ms = int(start.timestamp() * 1000) + 15 * 3_600_000
    logs = [a_log(n + 1, int((start - timedelta(hours=100 - n)).timestamp() * 1000)) for n in range(110)]
    source = FakeSource(clock, logs[:105])

    async def ids():
        return sorted(row["id"] for row in await rows(run))

    done = await import_logs(source, db, clock, plan, days=1)
    assert await ids() == list(range(77, 106))  # from midnight of the 9th on
    assert done.from_ms == int((start - timedelta(days=1)).timestamp() * 1000)
    assert (await import_logs(source, db, clock, plan, days=1)).runs == 0
    source.rows = logs
    assert (await import_logs(source, db, clock, plan, days=3)).runs == 48 + 5
    assert await ids() == list(range(29, 111))
    assert (await import_logs(source, db, clock, plan, days=0)).runs == 0
    assert (await import_logs(source, db, clock, plan, days=30)).runs == 28
    assert await ids() == list(range(1, 111))
    (found,) = await rows(import_source)
    assert (found["log_first"], found["log_mark"], found["log_done"]) == (1, 110, 1)


async def test_rows_that_may_still_get_a_result_are_left_for_later(db, clock, plan, rows):
    """The old admin is at work: what it has sent in the last ten minutes may be running."""
    ago = [7_200_000, 900_000, 500_000, 400_000, 2_000]
    logs = [a_log(n + 1, clock.ms - ms) for n, ms in enumerate(ago)]
    logs[0] = replace(logs[0], handle_code=0)
    logs[3] = replace(logs[3], handle_code=0)
    source = FakeSource(clock, logs)
    done = await import_logs(source, db, clock, plan, days=1)
    assert (done.runs, done.lost, done.left) == (3, 1, 2)
    source.rows[3] = a_log(4, clock.ms - 400_000, handle_code=500)
    clock.ms += 60_000
    done = await import_logs(source, db, clock, plan, days=1)
    assert (done.runs, done.lost, done.left) == (2, 0, 0)
    states = {row["id"]: row["state"] for row in await rows(run)}
    assert states == {1: 13, 2: 10, 3: 10, 4: 11, 5: 10}


async def test_a_row_that_gets_its_time_later_is_left_for_later(db, clock, plan, rows):
    """Old releases write it after they have made the row. One behind which others have long ended gets none."""
    source = FakeSource(clock, [a_log(n, clock.ms - 900_000 + 1000 * n) for n in (1, 3)])
    source.rows[1:1] = [replace(a_log(2, clock.ms), triggered=None, handled=None)]
    source.rows.append(replace(a_log(4, clock.ms), triggered=None, handled=None, handle_code=0))
    done = await import_logs(source, db, clock, plan, days=1)
    assert (done.runs, done.left) == (2, 1)
    source.rows[3] = a_log(4, clock.ms)
    clock.ms += 60_000
    done = await import_logs(source, db, clock, plan, days=1)
    assert (done.runs, done.left) == (1, 0)
    assert sorted(row["id"] for row in await rows(run)) == [1, 3, 4]


async def test_an_undo_that_begins_beside_it_ends_it(db, clock, plan, rows):
    logs = LogImportStore(db, clock)
    mark = await logs.mark(SOURCE)
    await logs.write_days(mark.source_id, [OldDay(20_000, 5, 2, 0)])
    undoing = UndoStore(db, clock)
    wanted = await undoing.look(SOURCE)
    await undoing.begin(wanted)
    for write in (
        logs.begin(mark, 1, 9, clock.ms, 20_000),
        logs.finish(mark, SOURCE, "", done=True),
        logs.write_days(mark.source_id, [OldDay(20_001, 5, 2, 0)]),
    ):
        with pytest.raises(Conflict, match="is being undone"):
            await write
    assert [row["day"] for row in await rows(run_daily)] == [20_000]
    await undo(db, clock, wanted)
    with pytest.raises(Conflict, match="was undone"):
        await logs.write_days(mark.source_id, [OldDay(20_002, 5, 2, 0)])
    assert await rows(run_daily) == []


async def test_interrupted_at_any_point_it_goes_on_and_no_row_is_there_twice(db, clock, plan, rows):
    count = 3 * BATCH + 17
    logs = [a_log(3 * n + 1, clock.ms - 86_400_000 + n * 1000) for n in range(count)]
    source = FakeSource(clock, logs)
    for number in (1, 3, 2):
        work = asyncio.ensure_future(import_logs(source, db, clock, plan, days=3))
        source.questions, source.on_read = 0, lambda: source.questions < number or work.cancel()  # noqa: B023
        with pytest.raises(asyncio.CancelledError):
            await work
    there = len(await rows(run))
    assert 0 < there < count
    source.on_read = lambda: None
    source.fails = 2  # and a connection that ends is opened again
    done = await import_logs(source, db, clock, plan, days=3)
    assert done.runs == count - there
    assert sorted(row["id"] for row in await rows(run)) == [one.id for one in logs]


async def test_a_source_that_stays_away(db, clock, plan, rows):
    source = FakeSource(clock, [a_log(1, clock.ms - 3_600_000)])
    source.fails = 99
    with pytest.raises(SourceLost):
        await import_logs(source, db, clock, plan, days=3)
    assert source.questions == 4
    assert await rows(run) == []


MINUTE = 60_000


async def brought(rows):
    """What the log there calls each run that is here, by the runs' own order, and their times."""
    found = [row for row in await rows(run) if row["trigger_kind"] == TriggerKind.IMPORTED]
    ordered = sorted(found, key=lambda row: row["id"])
    assert [row["trigger_ms"] for row in ordered] == sorted(row["trigger_ms"] for row in ordered)
    return [row["claim_token"] for row in ordered]


@pytest.mark.parametrize("count", [10, 119, 2 * BATCH + 5])
async def test_a_log_that_was_emptied_and_whose_ids_began_again(db, clock, plan, rows, count):
    """With fewer rows than it had then, or more; and another time."""
    before = [a_log(n, clock.ms - 30 * 3_600_000 + n * 1000) for n in range(100, 120)]
    no_time = a_log(99, clock.ms, job_id=99, triggered=datetime(9999, 12, 31))
    source = FakeSource(clock, [no_time, *before])
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.emptied, done.shortened) == (None, False)
    source.rows = [a_log(n, clock.ms - 20 * 3_600_000 + n * 1000) for n in range(1, count + 1)]
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.runs, done.renamed, done.left, done.shortened) == (count, count, 0, False)
    assert done.emptied == before[-1].triggered
    told = copied_logs(done, 3, {}).why
    assert f"removed there after {before[-1].triggered}, and ids have begun again" in told
    assert [one["text"] for one in await rows(event)][
        -1
    ] == f"{count} runs of its log, which had begun again there"
    assert await brought(rows) == [*range(100, 120), *range(1, count + 1)]
    for days in (3, 30):
        done = await import_logs(source, db, clock, plan, days=days)
        assert (done.runs, done.emptied, done.shortened) == (0, None, False)
    source.rows.append(a_log(count + 1, clock.ms - 600_000))
    assert (await import_logs(source, db, clock, plan, days=3)).runs == 1
    source.rows = [a_log(n, clock.ms - 300_000 + n) for n in range(1, 4)]
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.runs, done.emptied) == (3, wall(clock.ms - 600_000))
    assert await brought(rows) == [*range(100, 120), *range(1, count + 2), 1, 2, 3]


async def test_newest_rows_that_were_removed_and_whose_ids_began_again(db, clock, plan, rows):
    """A server before MySQL 8 goes on after the largest id that it finds when it starts."""
    source = FakeSource(clock, [a_log(n, clock.ms - (600 - n) * MINUTE) for n in range(1, 101)])
    await import_logs(source, db, clock, plan, days=3)
    del source.rows[40:]
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.runs, done.emptied, done.shortened) == (0, None, True)
    assert "its last id is smaller than it was" in copied_logs(done, 3, {}).why
    source.rows += [a_log(n, clock.ms - (300 - n) * MINUTE) for n in range(41, 61)]
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.runs, done.shortened) == (20, False)
    assert await brought(rows) == [*range(1, 101), *range(41, 61)]
    assert (await import_logs(source, db, clock, plan, days=3)).runs == 0


@pytest.mark.parametrize("left", [0, 1, 30])
async def test_rows_that_the_old_admin_removes_by_age_begin_nothing_again(db, clock, plan, rows, left):
    """Also all of them, where ids go on."""
    source = FakeSource(clock, [a_log(n, clock.ms - (600 - n) * MINUTE) for n in range(1, 101)])
    await import_logs(source, db, clock, plan, days=3)
    new = [a_log(n, clock.ms - (300 - n) * MINUTE) for n in range(101, 111)]
    source.rows = [*source.rows[100 - left :], *new]
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.runs, done.renamed, done.emptied, done.shortened) == (10, 0, None, False)
    assert sorted(row["id"] for row in await rows(run)) == list(range(1, 111))


async def test_another_clock_that_is_asked_for_begins_nothing_again(db, clock, plan, rows):
    source = FakeSource(clock, [a_log(n, clock.ms - 2 * DAY_MS) for n in range(1, 10)])
    for zone in ("Asia/Shanghai", "America/New_York", "UTC"):
        source.rows.append(a_log(len(source.rows) + 1, clock.ms - DAY_MS))
        done = await import_logs(source, db, clock, replace(plan, timezone=zone), days=3)
        assert (done.emptied, done.shortened) == (None, False)
    assert len(await rows(run)) == len(source.rows)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_log_that_began_again_is_gone_on_with_after_an_end_at_any_point(
    db, clock, plan, rows, number
):
    source = FakeSource(clock, [a_log(n, clock.ms - 30 * 3_600_000) for n in range(1, 2 * BATCH)])
    await import_logs(source, db, clock, plan, days=3)
    new = 3 * BATCH + 5
    source.rows = [a_log(n, clock.ms - 20 * 3_600_000 + n * 1000) for n in range(1, new)]
    work = asyncio.ensure_future(import_logs(source, db, clock, plan, days=3))
    source.questions, source.on_read = 0, lambda: source.questions < number or work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    source.on_read = lambda: None
    await import_logs(source, db, clock, plan, days=3)
    assert await brought(rows) == [*range(1, 2 * BATCH), *range(1, new)]


async def test_a_log_of_which_nothing_had_come_when_it_was_emptied(db, clock, plan, rows):
    source = FakeSource(clock, [a_log(n, clock.ms - 3_600_000) for n in range(1000, 1010)])
    source.fails = 99
    with pytest.raises(SourceLost):
        await import_logs(source, db, clock, plan, days=3)
    source.fails = 0
    source.rows = [a_log(n, clock.ms - 1_800_000) for n in range(1, 1005)]
    done = await import_logs(source, db, clock, plan, days=3)
    assert (done.runs, done.renamed, done.shortened) == (1004, 0, False)
    assert (await rows(import_source))[0]["log_from_ms"] == done.from_ms


async def test_two_at_once_do_not_write_the_same_rows(db, clock, plan, rows):
    logs = [a_log(n, clock.ms - 3_600_000) for n in range(1, 100)]
    outcomes = await asyncio.gather(
        *(import_logs(FakeSource(clock, logs), db, clock, plan, days=1) for _ in range(2)),
        return_exceptions=True,
    )
    assert all(isinstance(one, Conflict) for one in outcomes if isinstance(one, Exception))
    await import_logs(FakeSource(clock, logs), db, clock, plan, days=1)
    assert len(await rows(run)) == 99


async def test_large_ids_and_those_of_another_source_get_others_between(db, clock, plan, runs, rows):
    at_ms = clock.ms - 3_600_000
    async with db.write() as conn:
        there = {"id": 5, "job_id": 1, "slot_key": -5, "state": int(RunState.SUCCEEDED)}
        await conn.execute(insert(run).values(there))
    logs = [a_log(4, at_ms), a_log(5, at_ms + 1000), a_log(700_000_000, at_ms + 2000)]
    done = await import_logs(FakeSource(clock, logs), db, clock, plan, days=1)
    assert (done.runs, done.renamed) == (3, 2)
    page = await runs.page(RunFilter(job_id=7, trigger=TriggerKind.IMPORTED), cursor=None, limit=10)
    assert [(one.log_id, one.slot_key == -one.id) for one in page.items] == [
        (700_000_000, True),
        (5, True),
        (4, True),
    ]
    assert all(1 << 31 <= one.id < FIRST_LONG_ID for one in page.items[:2])


async def test_days_are_counted_with_them_also_those_that_were_counted_before(db, clock, plan, rows):
    """A node has counted yesterday for good, with a run of this gateway, before the log comes."""
    history, daily = HistoryStore(db, clock), DailyStore(db, clock)
    kept = Kept(7, 3, 0, None, 0, 0)
    yesterday = clock.ms // DAY_MS - 1
    noon = yesterday * DAY_MS + DAY_MS // 2
    own = {"id": FIRST_LONG_ID, "job_id": 7, "app_id": 3, "slot_key": noon, "state": 10}
    async with db.write() as conn:
        await conn.execute(
            insert(run).values(own | {"created_ms": noon, "due_ms": noon, "finished_ms": noon + 1})
        )
    await history.count(kept)
    logs = [a_log(1, noon), a_log(2, noon, handle_code=500), a_log(3, noon - DAY_MS)]
    await import_logs(FakeSource(clock, logs), db, clock, plan, days=9)
    await history.count(kept)
    found = {one.day: one.tally for one in await daily.read(DailyFilter(0, yesterday))}
    assert (found[yesterday].succeeded, found[yesterday].failed) == (2, 1)
    assert found[yesterday - 1].succeeded == 1


async def test_retention_takes_them_oldest_first(db, clock, plan, rows):
    logs = [a_log(n, clock.ms - (40 - n) * DAY_MS) for n in range(1, 40)]
    done = await import_logs(FakeSource(clock, logs), db, clock, plan, days=60, retention_days=30)
    assert (done.runs, done.old) == (39, 9)
    history = HistoryStore(db, clock)
    (kept,) = [one for one in await history.kept(range(128), 0, 10, deleted=False) if one.job_id == 7]
    portion = await history.remove(kept, kept.cut_ms(clock.ms, 30), 0)
    assert portion.removed == 9
    assert sorted(row["id"] for row in await rows(run)) == list(range(10, 40))


async def test_daily_reports_count_where_no_runs_are(db, clock, plan, rows):
    today = datetime.fromtimestamp(clock.ms // 1000, SHANGHAI).date()
    days = [SourceDay(today - timedelta(days=n), 1, 100 + n, 10 + n) for n in (500, 5, 4, 3, 2, 1, 0)]
    noon = int(datetime.combine(today - timedelta(days=2), datetime.min.time(), SHANGHAI).timestamp()) * 1000
    source = FakeSource(clock, [a_log(1, noon + 43_200_000)], days)
    daily = DailyStore(db, clock)

    async def counts():
        found = await daily.read(DailyFilter(0, 1 << 30))
        return {
            (date(1970, 1, 1) + timedelta(days=one.day) - today).days: (one.tally.succeeded, one.tally.failed)
            for one in found
        }

    for _ in range(2):
        done = await import_days(source, db, clock, plan)
        assert (done.days, done.covered, done.old) == (6, 0, 1)
        assert await counts() == {-n: (100 + n, 10 + n) for n in range(6)}
    await import_logs(source, db, clock, plan, days=2)
    before = {-n: (100 + n, 10 + n) for n in (3, 4, 5)}
    assert await counts() == before
    for _ in range(2):
        done = await import_days(source, db, clock, plan)
        # On the day on which the log begins, that has a run of the 115 that were counted.
        assert (done.days, done.covered, done.old, done.begun) == (4, 2, 1, today - timedelta(days=2))
        assert await counts() == before | {-2: (101, 12)}
        await import_logs(source, db, clock, plan, days=2)
    assert {row["job_id"] for row in await rows(run_daily)} == {-1}
    # Once its first rows are removed there, nobody can tell any more what they leave of it: it stays as it is.
    source.rows = [a_log(2, noon + 50_000_000)]
    done = await import_days(source, db, clock, plan)
    assert (done.days, done.covered, done.begun) == (3, 3, None)
    assert await counts() == before | {-2: (101, 12)}


async def test_days_before_the_first_row_of_the_log_are_those_of_the_daily_report(db, clock, plan, rows):
    """However many days were asked for: the old admin keeps its log for fewer."""
    today = datetime.fromtimestamp(clock.ms // 1000, SHANGHAI).date()
    days = [SourceDay(today - timedelta(days=n), 0, 1, 0) for n in range(26, 0, -1)]
    logs = [a_log(n, clock.ms - (7 - n) * DAY_MS) for n in range(1, 7)]
    source = FakeSource(clock, logs, days)
    await import_days(source, db, clock, plan)
    done = await import_logs(source, db, clock, plan, days=30)
    assert (done.runs, done.from_ms) == (6, (clock.ms - 6 * DAY_MS) // 1000 * 1000)
    assert len(await rows(run_daily)) == 20
    done = await import_days(source, db, clock, plan)
    assert (done.days, done.covered, done.begun) == (20, 6, None)
    assert len(await rows(run_daily)) == 20


@pytest.mark.parametrize(
    ("reported", "there", "rest"),
    [
        ((0, 5, 5), (0, 5, 5), None),
        ((0, 5, 5), (0, 6, 5), None),
        ((1, 5, 0), (0, 6, 0), None),  # what was running has ended
        ((2, 5, 0), (0, 6, 0), (1, 0, 0)),
        ((3, 9, 4), (1, 6, 2), (2, 3, 2)),
        ((5, 0, 0), (0, 0, 4), (1, 0, 0)),
    ],
)
def test_what_the_rows_of_a_day_leave_of_its_report(reported, there, rest):
    day = date(2026, 11, 20)
    assert _rest(SourceDay(day, *reported), SourceDay(day, *there)) == (rest and SourceDay(day, *rest))


class StraysFirst(FakeSource):
    """As a source finds the first id: among the rows that were triggered first."""

    first = 0

    async def log_bounds(self, since):
        return self.first, self.rows[-1].id


async def test_rows_with_small_ids_among_older_ones_come_along(db, clock, plan, rows):
    late = [a_log(n, clock.ms - 3_600_000) for n in range(1, 4)]
    old = [a_log(n, clock.ms - 90 * DAY_MS) for n in range(4, 8)]
    source = StraysFirst(clock, [*late, *old, *(a_log(n, clock.ms - DAY_MS) for n in range(1000, 1010))])
    source.first = 1000
    done = await import_logs(source, db, clock, plan, days=2)
    assert (done.runs, done.strays, done.first) == (17, 0, 1)
    assert {row["id"] for row in await rows(run)} >= {1, 2, 3, *range(1000, 1010)}


async def test_rows_whose_ids_are_far_from_all_others_are_counted(db, clock, plan, rows):
    far = 50_000_000
    source = StraysFirst(clock, [a_log(3, clock.ms - DAY_MS), a_log(far, clock.ms - DAY_MS)])
    source.first = far
    done = await import_logs(source, db, clock, plan, days=2)
    assert (done.runs, done.strays, done.first) == (1, 1, far)
    told = copied_logs(done, 2, {}).why
    assert "1 of these days with ids far below 50,000,000, that of the others: not taken over" in told


async def test_a_log_that_is_shorter_than_what_is_asked_for_covers_no_more_than_it_has(db, clock, plan):
    """The old admin removes its log by age, and keeps its daily report."""
    today = datetime.fromtimestamp(clock.ms // 1000, SHANGHAI).date()
    days = [SourceDay(today - timedelta(days=n), 0, 100, 0) for n in range(10)]
    source = FakeSource(clock, [a_log(1, clock.ms - 3 * DAY_MS)], days)
    await import_logs(source, db, clock, plan, days=60)
    done = await import_days(source, db, clock, plan)
    assert (done.days, done.covered, done.begun) == (7, 3, today - timedelta(days=3))


async def test_a_full_disk_is_one_clear_message(db, clock, plan, rows, monkeypatch):
    """As each database says it; the text of SQLite's own error, and MariaDB's number."""
    logs = [a_log(n, clock.ms - 3_600_000) for n in range(1, 10)]
    if db.is_sqlite:
        async with db.reader.connect() as conn:
            pages = (await conn.exec_driver_sql("PRAGMA page_count")).scalar()
        async with db.writer.connect() as conn:
            await conn.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        logs = [replace(one, handle_message="x" * 50_000) for one in logs]
    else:
        monkeypatch.setattr("gateway.store.import_logs._row", _refuse_as_full)
    with pytest.raises(TargetFull, match="no room left"):
        await import_logs(FakeSource(clock, logs), db, clock, plan, days=1)
    assert await rows(run) == []


def _refuse_as_full(*_):
    from pymysql.err import OperationalError

    raise OperationalError(1021, "Disk full (/tmp/#sql-temptable); waiting for someone to free some space...")


async def test_beside_nodes_at_work_it_waits_for_the_calm_part_of_a_second(db, clock, plan):
    async with db.write() as conn:
        await conn.execute(insert(node).values(name="node-1"))
    clock.ms = began = clock.ms // 1000 * 1000 + 900
    await import_logs(FakeSource(clock, [a_log(1, clock.ms - 3_600_000)]), db, clock, plan, days=1)
    assert clock.ms == (began if db.is_sqlite else began + 150)


async def test_nothing_before_the_plan_is_applied(db, clock):
    with pytest.raises(NotFound):
        await import_logs(FakeSource(clock), db, clock, a_plan(), days=1)
