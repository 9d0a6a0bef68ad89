"""The log and the daily report of a source, in batches that can go on where they ended, and with the memory of one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Protocol, TypeVar

from gateway.core.acting import SYSTEM, acting_for, author
from gateway.core.clock import Clock
from gateway.core.daily import day_of
from gateway.core.retention import DAILY_DAYS, RUN_DAYS, calm_in_ms, cut_ms
from gateway.core.states import RunState
from gateway.core.zones import EPOCH_ORDINAL, resolve_zone
from gateway.store.engine import Database
from gateway.store.import_logs import LogImportStore, LogMark, OldDay, OldRun
from importer.apply import NAME, Progress, full_disks_told, quiet
from importer.errors import SourceLost
from importer.old_runs import SETTLED_MS, OldRuns
from importer.plan.values import Plan
from importer.source.values import LogBeginning, SignsOfLife, SourceDay, SourceJob, SourceLog
from importer.wall import WallClock

T = TypeVar("T")

BATCH = 1000
_READ_TRIES = 4
_MOST_NAMED = 1000
_NEVER = 1 << 30
# So many ids more are gone through for rows that stand among older ones; or as many as there are without them.
_MOST_STRAY_IDS = 1_000_000
_DAY_MS = 86_400_000
_SECOND = timedelta(seconds=1)
# No clock is so far ahead of another, whatever its zone: a time from then on is none that says when a row came.
_AHEAD = timedelta(days=3)


class LogSource(Protocol):
    """What is asked of a source here."""

    async def signs(self) -> SignsOfLife: ...

    async def log_bounds(self, since: datetime | None) -> tuple[int, int]: ...

    async def log_upto(self, log_id: int) -> datetime | None: ...

    async def log_beginning(self, since: datetime, first_id: int) -> LogBeginning: ...

    async def log_day(self, day: date) -> SourceDay | None: ...

    async def logs(self, after_id: int, upto_id: int, limit: int) -> list[SourceLog]: ...

    async def days(self) -> list[SourceDay]: ...


@dataclass(slots=True)
class LogsImported:
    """Of this call. `lost`: those among the runs that had no result when they were read. `renamed`: those with another id than there.

    `unknown` are rows of jobs that are not here, `unknown_jobs` the first thousand of their ids there; `timeless` rows
    have no time at all. `old`: runs that the retention of this gateway removes soon. `left`: so many ids are left for
    another call, for the old admin was still at work on the newest. `from_ms`: when the first row was triggered.
    `strays` rows of the days asked for were left out, for their ids are far smaller than `first`, that of the others;
    `unsearched`: such rows were not looked for. `emptied`: the log there has begun again, and this is the time, by the
    clock there, of the newest row that had come before. `shortened`: its last id is smaller than it was, and nothing tells
    that it has begun again.
    """

    runs: int = 0
    lost: int = 0
    renamed: int = 0
    unknown: int = 0
    unknown_jobs: set[int] = field(default_factory=set)
    timeless: int = 0
    old: int = 0
    left: int = 0
    from_ms: int = 0
    first: int = 0
    strays: int = 0
    unsearched: bool = False
    emptied: datetime | None = None
    shortened: bool = False

    @property
    def words(self) -> str:
        """Empty if nothing came."""
        if not self.runs:
            return ""
        return (
            f"{self.runs} runs of its log"
            + (f", {self.lost} of them without a result" if self.lost else "")
            + (", which had begun again there" if self.emptied else "")
        )


@dataclass(frozen=True, slots=True)
class DaysImported:
    """`covered`: days whose runs were imported instead. `old`: days that this gateway keeps no counts of any more.

    `begun`: the one among `days` on which the imported rows begin, counted by what they leave of its report.
    """

    days: int = 0
    covered: int = 0
    old: int = 0
    begun: date | None = None


async def import_logs(
    source: LogSource,
    db: Database,
    clock: Clock,
    plan: Plan,
    *,
    days: int,
    jobs: Sequence[SourceJob] = (),
    retention_days: int = RUN_DAYS,
    progress: Progress = quiet,
) -> LogsImported:
    """The log of today and of so many days before; after what earlier calls have brought, or before it.

    The plan must have been applied. `jobs` are those of the source, whose names the logs of 1.2 to 1.5 have. Raises
    `SourceError`, `TargetFull`, `StoreError`: the same call again goes on where this one ended.
    """
    with acting_for(NAME if author() == SYSTEM else author()):
        async with full_disks_told():
            work = _LogImport(source, db, clock, plan, jobs, retention_days, progress)
            return await work.run(days)


class _LogImport:
    def __init__(
        self,
        source: LogSource,
        db: Database,
        clock: Clock,
        plan: Plan,
        jobs: Sequence[SourceJob],
        retention_days: int,
        progress: Progress,
    ) -> None:
        self._source = source
        self._store = LogImportStore(db, clock)
        self._clock = clock
        self._name = plan.source
        self._wall = WallClock(resolve_zone(plan.timezone))
        names = {(one.group, one.name): one.id for one in jobs}
        attempts = {one.job.id: one.job.max_attempts for one in plan.jobs}
        self._rows = OldRuns(plan.source, self._wall, plan.job_ids, names, attempts)
        self._progress = progress
        self._done = LogsImported()
        self._retention_days = retention_days
        self._has_company = False
        self._now_ms = 0
        self._ahead = datetime.combine(date.max, time())
        self._total = 0
        self._seen = 0

    async def run(self, days: int) -> LogsImported:
        mark = await self._store.mark(self._name)
        self._has_company = await self._store.has_company()
        self._now_ms = (await self._asked(self._source.signs)).database_now_ms or self._clock.now_ms()
        today = datetime.combine(self._wall.date(self._now_ms), time())
        self._ahead = today + _AHEAD
        since = today - timedelta(days=days)
        first, last = await self._asked(lambda: self._source.log_bounds(since))
        if not last:
            self._done.from_ms = self._wall.ms(since)
            return self._done
        beginning = await self._asked(lambda: self._source.log_beginning(since, first))
        first = self._done.first = self._first(beginning, first, last)
        from_ms = self._wall.ms(beginning.triggered or since)
        self._done.from_ms = from_ms
        from_day = self._wall.date(from_ms).toordinal() - EPOCH_ORDINAL
        again = await self._begun_again(mark, last)
        mark = await self._store.begin(mark, first, last, from_ms, from_day, again)
        self._total = max(last - mark.mark, 0) + max(mark.first - first, 0)
        mark = await self._upwards(mark, last)
        mark = await self._downwards(mark, first)
        self._done.left = max(last - mark.mark, 0)
        await self._store.finish(mark, self._name, self._done.words, done=not self._done.left)
        return self._done

    def _first(self, beginning: LogBeginning, first: int, last: int) -> int:
        """A row may stand among those of years before; then what is between them is not brought along for its sake."""
        self._done.unsearched = not beginning.is_searched
        if beginning.strays and first - beginning.smallest_id <= max(_MOST_STRAY_IDS, last - first):
            return beginning.smallest_id
        self._done.strays = beginning.strays
        return first

    async def _begun_again(self, mark: LogMark, last: int) -> int:
        """The first row of a log that was emptied since and whose ids began again; 0 where it goes on.

        Where it goes on, no row up to the last that has come is newer than what has come, whatever was removed there.
        """
        if mark.newest is not None:
            after = mark.newest + _SECOND
            there = await self._asked(lambda: self._source.log_upto(mark.newest_id))
            if there is not None and after <= there.replace(tzinfo=None) < self._ahead:
                self._done.emptied = mark.newest
                first, _ = await self._asked(lambda: self._source.log_bounds(after))
                return first
        self._done.shortened = last < mark.mark and not mark.is_empty
        return 0

    def _newest(self, mark: LogMark, rows: Sequence[SourceLog]) -> LogMark:
        timed = [(one.id, one.triggered.replace(tzinfo=None)) for one in rows if one.triggered is not None]
        timed = [(log_id, at) for log_id, at in timed if at < self._ahead]
        if not timed:
            return mark
        newest = max(at for _, at in timed)
        return replace(mark, newest_id=timed[-1][0], newest=max(newest, mark.newest or newest))

    async def _upwards(self, mark: LogMark, last: int) -> LogMark:
        """The newest part, while the next batch is read."""
        ahead = asyncio.ensure_future(self._read(mark.mark, last))
        try:
            while mark.mark < last:
                rows = await ahead
                is_whole = len(rows) == BATCH
                if is_whole:
                    ahead = asyncio.ensure_future(self._read(rows[-1].id, last))
                settled = self._settled(rows)
                end = settled[-1].id if settled else mark.mark
                if len(settled) == len(rows) and not is_whole:
                    end = last
                if end > mark.mark:
                    mark = await self._write(mark, settled, self._newest(replace(mark, mark=end), settled))
                if len(settled) < len(rows):
                    await ahead  # a question that is broken off costs the connection
                    break
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        return mark

    async def _downwards(self, mark: LogMark, first: int) -> LogMark:
        """What is older than what is there, newest first, so that there is never a hole."""
        while first < mark.first:
            begin = max(first, mark.first - BATCH)
            rows = await self._read(begin - 1, mark.first - 1)
            mark = await self._write(mark, rows, replace(mark, first=begin))
        return mark

    def _settled(self, rows: list[SourceLog]) -> list[SourceLog]:
        """Up to the first of which more may be to come. Only the newest may be such."""
        if not rows or self._is_older(rows[-1], _DAY_MS):
            return rows
        # One without a time gets none any more if a later one has been there for so long.
        old = max((index for index, one in enumerate(rows) if self._is_older(one, SETTLED_MS)), default=0)
        for index, one in enumerate(rows):
            is_past = one.triggered is None and index < old
            if not is_past and not self._rows.is_settled(one, self._now_ms):
                return rows[:index]
        return rows

    def _is_older(self, log: SourceLog, age_ms: int) -> bool:
        return log.triggered is not None and self._now_ms - self._wall.ms(log.triggered) > age_ms

    async def _write(self, mark: LogMark, rows: list[SourceLog], wanted: LogMark) -> LogMark:
        runs: list[OldRun] = []
        for one in rows:
            made = self._rows.run(one)
            if made is not None:
                runs.append(made)
            else:
                self._left_out(one)
        if self._has_company:  # not when runs are claimed for the next second, nor when its own go out
            await self._clock.sleep(calm_in_ms(self._clock.now_ms()) / 1000)
        written = await self._store.append(mark, runs, wanted)
        cut = cut_ms(self._clock.now_ms(), self._retention_days)
        done = self._done
        done.runs += written.written
        done.unknown += written.of_deleted
        done.renamed += written.renamed
        done.lost += sum(one.state is RunState.LOST for one in runs)
        done.old += sum(one.finished_ms < cut for one in runs)
        self._seen += (wanted.mark - mark.mark) + (mark.first - wanted.first)
        self._progress("log", self._seen, max(self._total, self._seen))
        return written.mark

    def _left_out(self, log: SourceLog) -> None:
        if log.triggered is None and log.handled is None:
            self._done.timeless += 1
            return
        self._done.unknown += 1
        job_id = self._rows.old_job(log)
        if job_id is not None and len(self._done.unknown_jobs) < _MOST_NAMED:
            self._done.unknown_jobs.add(job_id)

    async def _read(self, after_id: int, upto_id: int) -> list[SourceLog]:
        return await self._asked(lambda: self._source.logs(after_id, upto_id, BATCH))

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await _patiently(self._clock, ask)


async def _patiently(clock: Clock, ask: Callable[[], Awaitable[T]]) -> T:
    """Again, for a while, where the connection has ended in the middle."""
    for attempt in range(1, _READ_TRIES):
        try:
            return await ask()
        except SourceLost:
            await clock.sleep(attempt)
    return await ask()


async def import_days(source: LogSource, db: Database, clock: Clock, plan: Plan) -> DaysImported:
    """The daily report, but for days whose runs are here; instead of what an earlier call has brought.

    Of the day on which the rows of the log begin, what they leave of its report: so it is counted as it was there.

    Raises `SourceError`, `TargetFull`, `StoreError`.
    """
    store = LogImportStore(db, clock)
    mark = await store.mark(plan.source)
    found = await _patiently(clock, source.days)
    wall = WallClock(resolve_zone(plan.timezone))
    begun = wall.date(mark.from_ms) if mark.from_ms else None
    covered_from = begun.toordinal() if begun is not None else _NEVER
    oldest = day_of(clock.now_ms()) - DAILY_DAYS + EPOCH_ORDINAL
    old = [one for one in found if one.day.toordinal() < oldest]
    wanted = [one for one in found if oldest <= one.day.toordinal() < covered_from]
    rest, keep = None, None
    if begun is not None and covered_from >= oldest:
        reported = [one for one in found if one.day == begun]
        there = await _rows_left(source, clock, wall, mark.from_ms)
        rest = _rest(reported[0], there) if reported and there is not None else None
        keep = covered_from - EPOCH_ORDINAL if there is None else None
    days = [*wanted, *([rest] if rest is not None else [])]
    async with full_disks_told():
        await store.write_days(mark.source_id, [_day(one) for one in days], keep)
    return DaysImported(
        len(days), len(found) - len(days) - len(old), len(old), None if rest is None else rest.day
    )


async def _rows_left(source: LogSource, clock: Clock, wall: WallClock, from_ms: int) -> SourceDay | None:
    """Counts of the day on which the imported rows begin; None when the first of them have been removed there since."""
    day = wall.date(from_ms)
    start = datetime.combine(day, time())
    beginning = await _patiently(clock, lambda: source.log_beginning(start, 0))
    if beginning.triggered is None or wall.ms(beginning.triggered) > from_ms:
        return None
    return await _patiently(clock, lambda: source.log_day(day))


def _rest(report: SourceDay, rows: SourceDay) -> SourceDay | None:
    """What a day's report counts beyond its rows; what was running for the one may have ended for the others."""
    left = report.running + report.succeeded + report.failed - rows.running - rows.succeeded - rows.failed
    if left <= 0:
        return None
    counts = []
    for reported, there in (
        (report.succeeded, rows.succeeded),
        (report.failed, rows.failed),
        (report.running, rows.running),
    ):
        counts.append(min(max(reported - there, 0), left))
        left -= counts[-1]
    succeeded, failed, running = counts
    return SourceDay(report.day, running, succeeded, failed)


def _day(one: SourceDay) -> OldDay:
    return OldDay(one.day.toordinal() - EPOCH_ORDINAL, one.succeeded, one.failed, one.running)
