"""The loop around a watch: what is read at each look, when rows count as whole, and what happens when the source is gone."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.zones import resolve_zone
from importer.errors import SourceError, SourceLost
from importer.plan.around import Around
from importer.shadow.follow import Follower, Pace, look_back
from importer.shadow.reading import Reader
from importer.source.values import LogHead, SourceJob, SourceMoment, SourceSign
from tests.kit.model_admin import multiples, slots_between

T0 = 1_790_000_400_000
CRON = "Trigger Type：Cron trigger<br>"
ZONE = resolve_zone("UTC")


class Clock:
    """Goes on by what is waited for."""

    def __init__(self):
        self.ms = T0

    def now_ms(self):
        return self.ms

    def wall_ms(self):
        return self.ms

    def monotonic(self):
        return self.ms / 1000

    async def sleep(self, seconds):
        self.ms += round(seconds * 1000)

    async def wait(self, event, seconds):
        self.ms += round(seconds * 1000)
        return event.is_set()


class Source:
    """In memory; `written` are rows with the instant from which they are seen."""

    name = "old@db:3306"

    def __init__(self, clock, period_s=60):
        self.clock = clock
        self.next_after = multiples(period_s)
        self.job = SourceJob(
            7, "1", description="a", schedule_type="CRON", schedule_conf="0 * * * * ?", trigger_status=1
        )
        self.updated = datetime(2026, 1, 1)
        self.running = True
        self.written = []
        self.fails = {}
        self.page_fails = set()
        self.pages = 0
        self.laid_out = 0
        self.looks = 0
        self.asked = []

    def log(self, at_ms, *, seen_ms=None, message=CRON):
        moment = datetime.fromtimestamp(at_ms / 1000, UTC).replace(tzinfo=None)
        self.written.append((seen_ms or at_ms, LogHead(len(self.written) + 1, moment, 7, message=message)))

    def _visible(self):
        return [row for seen, row in self.written if seen <= self.clock.ms]

    async def look(self):
        self.laid_out += 1

    async def moment(self):
        self.looks += 1
        if error := self.fails.get(self.looks):
            raise error
        next_ms = self.next_after(self.clock.ms + 5000)
        sign = SourceSign(
            7, is_running=self.running, last_ms=next_ms - 60_000, next_ms=next_ms, updated=self.updated
        )
        ids = [row.id for row in self._visible()] or [0]
        return SourceMoment(
            self.clock.ms, max(ids), (sign, SourceSign(8, is_running=False)), first_log_id=min(ids)
        )

    async def schedules(self, ids):
        self.asked.append(list(ids))
        return [self.job] if 7 in ids else []

    async def log_heads(self, after_id, upto_id, limit):
        self.pages += 1
        if self.pages in self.page_fails:
            raise SourceLost("the connection was lost in the middle")
        return [row for row in self._visible() if after_id < row.id <= upto_id][:limit]

    async def log_bounds(self, since):
        rows = [row.id for row in self._visible() if row.triggered >= since]
        return (min(rows), max(rows)) if rows else (0, 0)

    async def oldest_log(self):
        return self._visible()[0].triggered if self._visible() else None


def follower(source, clock, for_s=900, only=frozenset()):
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=ZONE, now_ms=T0))
    return Follower(source, reader, clock, Pace(30, 120_000, for_s), only)


async def followed(source, clock, **more):
    one, looks = follower(source, clock, **more), []
    await one.run(asyncio.Event(), lambda watch: looks.append(watch.judged_ms))
    return one, one.watch.tracks[7].result(one.watch.judged_ms), looks


async def test_rows_that_appear_late_and_out_of_order_are_all_read_once():
    clock = Clock()
    source = Source(clock)
    for n, slot in enumerate(slots_between(source.next_after, T0, T0 + 900_000)):
        # Each third one is committed after the next look has seen a larger id.
        source.log(slot, seen_ms=slot + (9000 if n % 3 == 0 else 500))
        source.log(slot + 1000, message="Trigger Type：Manual trigger<br>")
    one, tally, _ = await followed(source, clock)
    judged = slots_between(source.next_after, one.watch.start_ms, one.watch.judged_ms)
    assert tally.agreed == len(judged) > 10
    assert not tally.differs
    assert tally.others["manual"] >= len(judged)


async def test_an_unchanged_job_is_read_once_and_an_edited_one_again():
    clock = Clock()
    source = Source(clock)
    one = follower(source, clock)

    def tell(watch):
        if clock.ms == T0 + 300_000:
            source.updated = datetime.fromtimestamp(clock.ms / 1000 + 10, UTC).replace(tzinfo=None)

    await one.run(asyncio.Event(), tell)
    assert source.asked == [[7, 8], [7]]


async def test_a_source_that_is_away_for_a_while_is_read_on_and_said():
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0, T0 + 900_000):
        source.log(slot)
    source.fails = {5: SourceLost("gone"), 6: SourceError("cannot be reached")}
    one, tally, _ = await followed(source, clock)
    assert not tally.differs
    assert tally.agreed > 10
    assert len(one.notes) == 1


@pytest.mark.parametrize("fails", [{2}, {3}, {5}, {5, 7, 9}])
async def test_a_look_that_ends_between_two_pages_of_the_log_loses_no_row(monkeypatch, fails):
    monkeypatch.setattr("importer.shadow.follow.PAGE", 2)
    clock = Clock()
    source = Source(clock)
    source.page_fails = fails
    slots = slots_between(source.next_after, T0 + 60_000, T0 + 900_000)
    for slot in slots:
        source.log(slot)
        for _ in range(3):
            source.log(slot, message="Trigger Type：Manual trigger<br>")
    one, tally, _ = await followed(source, clock)
    assert source.pages > max(fails)
    assert len(one.notes) == 1
    assert not tally.differs
    assert not tally.unclear
    assert tally.agreed > 10
    assert tally.others["manual"] == 3 * len(slots)


async def test_what_cannot_be_read_at_first_ends_it():
    clock = Clock()
    source = Source(clock)
    source.fails = {1: SourceError("the table is gone")}
    one = follower(source, clock)
    with pytest.raises(SourceError, match="the table is gone"):
        await one.run(asyncio.Event(), lambda watch: None)
    assert one.watch is None


async def test_what_cannot_be_read_any_more_ends_it_after_a_while_with_what_was_found():
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0, T0 + 900_000):
        source.log(slot)
    source.fails = {look: SourceError("the table is gone") for look in range(11, 100)}
    one = follower(source, clock, for_s=3600)
    with pytest.raises(SourceError, match="the table is gone"):
        await one.run(asyncio.Event(), lambda watch: None)
    assert clock.ms == T0 + 270_000 + 630_000  # ten minutes after the last look that succeeded
    assert source.laid_out > 10  # its tables are looked at anew
    tally = one.watch.tracks[7].result(one.watch.judged_ms)
    assert tally.agreed
    assert not tally.differs


async def test_a_row_that_is_touched_at_each_run_is_not_edited_each_time():
    """A fork whose update_time the server sets by itself."""
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0, T0 + 1_800_000):
        if slot != T0 + 900_000 - (T0 + 900_000) % 60_000:
            source.log(slot)
    one = follower(source, clock, for_s=1500)

    def tell(watch):
        source.updated = datetime.fromtimestamp(clock.ms / 1000, UTC).replace(tzinfo=None)

    await one.run(asyncio.Event(), tell)
    tally = one.watch.tracks[7].result(one.watch.judged_ms)
    assert tally.missing.total() == 1
    assert not tally.unclear


async def test_rows_that_were_deleted_meanwhile_make_that_stretch_unclear():
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0, T0 + 900_000):
        source.log(slot)

    one = follower(source, clock)

    def tell(watch):
        if clock.ms == T0 + 420_000:
            source.written = [row for row in source.written if row[0] > clock.ms]

    await one.run(asyncio.Event(), tell)
    tally = one.watch.tracks[7].result(one.watch.judged_ms)
    assert not tally.missing
    assert any("deleted" in why for why in tally.unclear)
    assert any("deleted" in note for note in one.notes)


async def test_a_log_that_is_emptied_while_ids_go_on_makes_that_stretch_unclear():
    """Nobody sees the ids go back: rows that were read count, and those that were not are in doubt."""
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0, T0 + 900_000):
        source.log(slot)
    one = follower(source, clock)

    def tell(watch):
        if clock.ms == T0 + 420_000:
            source.written = [row for row in source.written if row[0] > clock.ms - 20_000]

    await one.run(asyncio.Event(), tell)
    tally = one.watch.tracks[7].result(one.watch.judged_ms)
    assert not tally.missing
    assert any("deleted" in note for note in one.notes)


async def test_a_database_that_hangs_keeps_nobody_from_stopping():
    clock = Clock()
    source = Source(clock)
    one, stopped = follower(source, clock), asyncio.Event()
    hangs = asyncio.Event()

    async def log_heads(*_):
        hangs.set()
        await asyncio.Event().wait()

    source.log(T0 + 60_000)
    source.log_heads = log_heads
    work = asyncio.ensure_future(one.run(stopped, lambda watch: None))
    await hangs.wait()
    stopped.set()
    await work
    assert one.watch.judged_ms >= T0


@pytest.mark.parametrize(("off_s", "way"), [(-28_800, "behind"), (28_800, "ahead of"), (0, "")])
async def test_times_in_the_log_on_another_clock_are_said(off_s, way):
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(multiples(10), T0, T0 + 900_000):
        source.log(slot + off_s * 1000, seen_ms=slot)
    one, _, _ = await followed(source, clock)
    if not off_s:
        assert not one.notes
        return
    assert one.watch.waiting() < 10  # rows of tomorrow make no slots up to then
    (note,) = one.notes
    seconds = re.search(f"about ([0-9,]+) s {way} the clock of the database", note)[1]
    assert abs(int(seconds.replace(",", "")) - abs(off_s)) <= 30  # to the length of a look


async def test_more_rows_than_one_look_may_read_wait_for_the_next(monkeypatch):
    monkeypatch.setattr("importer.shadow.follow.PAGE", 3)
    monkeypatch.setattr("importer.shadow.follow.MOST_ROWS", 3)
    clock = Clock()
    source = Source(clock)
    by_hand = 0
    for slot in slots_between(source.next_after, T0 + 60_000, T0 + 900_000):
        for _ in range(8 if slot < T0 + 200_000 else 0):
            source.log(slot - 1000, message="Trigger Type：Manual trigger<br>")
            by_hand += 1
        source.log(slot)
    one, tally, _ = await followed(source, clock)
    assert not tally.differs
    assert tally.agreed > 8
    assert tally.others["manual"] == by_hand == 24
    assert one.watch.judged_ms > T0 + 500_000


async def test_only_the_jobs_that_were_asked_for_are_read():
    clock = Clock()
    source = Source(clock)
    one = follower(source, clock, for_s=200, only=frozenset({8}))
    await one.run(asyncio.Event(), lambda watch: None)
    assert source.asked == [[8]]


async def past(source, reader, start_ms, end_ms):
    """The last watch that was told of, and what was said."""
    told, notes = [], []
    await look_back(
        source, reader, start_ms, end_ms, 120_000, frozenset(), asyncio.Event(), told.append, notes
    )
    return told[-1], notes


async def test_a_past_range_is_judged_at_once_and_begins_where_the_log_begins():
    clock = Clock()
    source = Source(clock)
    slots = slots_between(source.next_after, T0 - 3_600_000, T0)
    for slot in slots:
        if slot != slots[30]:
            source.log(slot)
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=ZONE, now_ms=T0))
    watch, notes = await past(source, reader, T0 - 7_200_000, None)
    tally = watch.tracks[7].result(watch.judged_ms)
    assert watch.start_ms == slots[0]
    assert notes
    assert tally.missing.total() == 1
    assert tally.agreed == len(slots_between(source.next_after, slots[0], watch.judged_ms)) - 1


async def test_a_past_range_of_an_empty_log_says_nothing_of_any_slot():
    source = Source(Clock())
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=ZONE, now_ms=T0))
    watch, notes = await past(source, reader, T0 - 3_600_000, None)
    assert notes == ["the log is empty: nothing is judged"]
    assert not watch.tracks[7].result(watch.judged_ms).missing


@pytest.mark.parametrize("fails", [1, 2])
async def test_a_past_range_whose_source_goes_away(monkeypatch, fails):
    """A page is asked for once more; if that fails as well, what was told until then is what was found."""
    monkeypatch.setattr("importer.shadow.follow.PAGE", 10)
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0 - 3_600_000, T0):
        source.log(slot)
    source.page_fails = set(range(3, 3 + fails))
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=ZONE, now_ms=T0))
    told = []
    work = look_back(
        source, reader, T0 - 3_600_000, None, 120_000, frozenset(), asyncio.Event(), told.append, []
    )
    if fails == 1:
        await work
        assert told[-1].tracks[7].result(told[-1].judged_ms).agreed > 50
    else:
        with pytest.raises(SourceLost):
            await work
        assert 10 < told[-1].tracks[7].result(told[-1].judged_ms).agreed < 30
    assert not told[-1].tracks[7].result(told[-1].judged_ms).differs


async def test_a_past_range_ends_where_it_was_asked_to():
    clock = Clock()
    source = Source(clock)
    for slot in slots_between(source.next_after, T0 - 3_600_000, T0):
        source.log(slot)
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=ZONE, now_ms=T0))
    start, end = T0 - 3_000_000, T0 - 1_200_000
    watch, notes = await past(source, reader, start, end)
    assert watch.judged_ms == end
    assert watch.tracks[7].result(end).agreed == 30
    assert not watch.tracks[7].result(end).differs
    assert not notes


async def looked_back(source, **more):
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=ZONE, now_ms=T0))
    start = T0 - 3_000_000
    watch, _ = await past(source, reader, start, T0 - 600_000)
    return watch.tracks[7].result(watch.judged_ms)


async def test_of_a_job_that_was_edited_in_a_past_range_what_is_before_is_unclear():
    clock = Clock()
    source = Source(clock)
    edited = T0 - 1_500_000
    source.updated = datetime.fromtimestamp(edited / 1000, UTC).replace(tzinfo=None)
    slots = slots_between(source.next_after, T0 - 3_600_000, T0)
    holes = {slots[30], slots[45]}  # before and after the edit
    for slot in slots:
        if slot not in holes:
            source.log(slot)
    tally = await looked_back(source)
    assert tally.unclear.total() == 1
    assert tally.missing.total() == 1
    assert tally.agreed == 38


async def test_of_a_job_that_is_stopped_now_past_runs_are_unclear():
    clock = Clock()
    source = Source(clock)
    source.running = False
    for slot in slots_between(source.next_after, T0 - 3_600_000, T0):
        source.log(slot)
    tally = await looked_back(source)
    assert tally.unclear.total() == 43  # all rows that were read
    assert not tally.differs
    assert not tally.agreed


@pytest.mark.parametrize("rows", [True, False])
async def test_a_fixed_rate_has_the_phase_of_its_first_row_in_a_past_range(rows):
    clock = Clock()
    source = Source(clock)
    source.job = replace(source.job, schedule_type="FIX_RATE", schedule_conf="60")
    for slot in slots_between(source.next_after, T0 - 3_600_000, T0) if rows else ():
        source.log(slot + 17_000)
    tally = await looked_back(source)
    assert not tally.differs
    assert bool(tally.agreed) is rows
    assert bool(tally.unclear) is not rows
    assert tally.lateness[0] == tally.agreed


async def test_the_hour_that_comes_twice_is_unclear_in_a_past_range():
    zone = resolve_zone("Europe/Berlin")
    begin = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp() * 1000)
    clock = Clock()
    clock.ms = begin + 8 * 3_600_000
    source = Source(clock)
    source.job = replace(source.job, schedule_conf="0 30 * * * ?")
    source.next_after = lambda at: multiples(3600)(at - 1_800_000) + 1_800_000
    for slot in slots_between(source.next_after, begin, clock.ms):
        local = datetime.fromtimestamp(slot / 1000 + zone.offset_s(slot // 1000), UTC).replace(tzinfo=None)
        if slot != begin + 9_000_000:  # 02:30, the first time
            source.written.append((slot, LogHead(len(source.written) + 1, local, 7, message=CRON)))
    reader = Reader(Around(first=(2, 4, 0), last=(2, 4, 2), zone=zone, now_ms=begin))
    watch, _ = await past(source, reader, begin, None)
    tally = watch.tracks[7].result(watch.judged_ms)
    assert tally.unclear.total() == 1
    assert not tally.differs
    assert tally.agreed == 7
