"""Looks at a source again and again and shows the watch what it sees. Reads only; a look is a handful of short statements."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.core.clock import Clock, at_offset
from importer.errors import SourceError, SourceLost
from importer.shadow import words
from importer.shadow.reading import Reader
from importer.shadow.values import Look, Row
from importer.shadow.watch import START_MS, Watch
from importer.source.source import Source
from importer.source.values import LogHead, SourceMoment, SourceSign
from importer.source.watching import ids_by_name

PAGE = 1000
# Rows of the log in one look: what is more waits for the next.
MOST_ROWS = 20_000
# For so long a source may be away, as for maintenance, once it was seen.
PATIENCE_S = 600
# A row may appear, and get its text, a moment after others with larger ids.
_LAG_MS = 15_000
# Clocks that are so far apart in so many looks one after another are said.
_SKEW_MS = 30_000
_ENOUGH_LOOKS = 3
_MOST_NOTES = 20
_CHUNK_DISORDER_MS = 60_000


@dataclass(frozen=True, slots=True)
class Pace:
    """`for_s`: how long to watch; None for as long as nobody stops it."""

    every_s: float
    settle_ms: int
    for_s: float | None = None

    @property
    def lag_ms(self) -> int:
        return min(_LAG_MS, self.settle_ms // 4)


class Follower:
    """`only`: ids of the jobs to watch; all if it is empty."""

    def __init__(
        self, source: Source, reader: Reader, clock: Clock, pace: Pace, only: frozenset[int] = frozenset()
    ) -> None:
        self._source = source
        self._reader = reader
        self._clock = clock
        self._pace = pace
        self._only = only
        self._before: dict[int, SourceSign] = {}
        self._ends: deque[tuple[int, int]] = deque()
        self._mark = 0
        self._first = 0
        self._whole_ms = 0
        self._off_looks = 0
        self.notes: list[str] = []
        self.reads = 0
        self.watch: Watch | None = None

    async def run(self, stopped: asyncio.Event, tell: Callable[[Watch], None]) -> None:
        """Until it is stopped, or its time is over.

        Raises `SourceError` when the first look fails, or when none has succeeded for `PATIENCE_S`.
        """
        began = seen = self._clock.monotonic()
        failed = False
        while not stopped.is_set():
            now = self._clock.monotonic()
            due = now + self._pace.every_s
            try:
                if failed:  # its tables may be others by now
                    await self._source.look()
                if not await self._looked(stopped):
                    return
            except SourceError as error:
                if self.watch is None or now - seen > PATIENCE_S:
                    raise
                if not failed:
                    self._note(f"the source could not be read for a while: {error}")
                failed = True
            else:
                seen, failed = now, False
            if self.watch is not None:
                tell(self.watch)
            now = self._clock.monotonic()
            if self._pace.for_s is not None:
                if now >= began + self._pace.for_s:
                    return
                due = min(due, began + self._pace.for_s)
            await self._clock.wait(stopped, max(due - now, 0))

    async def _looked(self, stopped: asyncio.Event) -> bool:
        """False if it was stopped meanwhile: a database that hangs keeps nobody waiting."""
        look, stop = asyncio.ensure_future(self._look()), asyncio.ensure_future(stopped.wait())
        try:
            await asyncio.wait((look, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not look.done():
                look.cancel()
            await asyncio.wait((look, stop))
        if look.cancelled():
            return False
        look.result()
        return True

    async def _look(self) -> None:
        moment = self._chosen(await self._source.moment())
        changed = self._changed(moment)
        jobs = await self._source.schedules(changed) if changed else []
        signs = {sign.job_id: sign for sign in moment.signs}
        if self.watch is None:
            self.watch = Watch(moment.now_ms + min(START_MS, self._pace.settle_ms), self._pace.settle_ms)
            self._mark, self._first = moment.last_log_id, moment.first_log_id
        self._reader.ids_by_name |= ids_by_name(jobs)
        rows, complete_ms = await self._rows(moment, self.watch)
        self.watch.observe(
            Look(
                moment.now_ms,
                {job_id: self._reader.sign(sign) for job_id, sign in signs.items()},
                [self._reader.job(job, signs[job.id]) for job in jobs if job.id in signs],
                rows,
                complete_ms,
            )
        )
        self._before = signs

    def _chosen(self, moment: SourceMoment) -> SourceMoment:
        if not self._only:
            return moment
        return replace(moment, signs=tuple(sign for sign in moment.signs if sign.job_id in self._only))

    def _changed(self, moment: SourceMoment) -> list[int]:
        """Jobs of which more has changed than what the scheduler itself writes at each run."""
        return [
            sign.job_id
            for sign in moment.signs
            if (old := self._before.get(sign.job_id)) is None
            or (old.is_running, old.updated, old.cron) != (sign.is_running, sign.updated, sign.cron)
        ]

    async def _rows(self, moment: SourceMoment, watch: Watch) -> tuple[list[Row], int]:
        """New rows of the log, up to where it ended at a look that is old enough."""
        is_anew = moment.last_log_id < self._mark
        # All that was read is gone, so what came after it and was not read yet may be gone as well.
        if is_anew or 0 < self._first <= self._mark < moment.first_log_id:
            self._note("rows of the old admin's log were deleted while it was watched")
            watch.grey(watch.judged_ms, moment.now_ms, words.LOST_LOG)
        if is_anew:
            self._mark = moment.last_log_id
            self._ends.clear()
        self._first = moment.first_log_id
        self._ends.append((moment.now_ms, moment.last_log_id))
        old_ms = moment.now_ms - self._pace.lag_ms
        while len(self._ends) > 1 and self._ends[1][0] <= old_ms:
            self._ends.popleft()
        end_ms, upto_id = self._ends[0]
        if end_ms > old_ms:
            return [], watch.complete_ms
        # A look that ends between two pages has shown nobody its rows: the next one begins where it began.
        mark, rows = self._mark, list[Row]()
        while mark < upto_id and len(rows) < MOST_ROWS:
            heads = await self._source.log_heads(mark, upto_id, PAGE)
            mark = heads[-1].id if len(heads) == PAGE else upto_id
            rows += self._reader.rows(heads, moment.now_ms)
            self.reads += 1
        self._mark = mark
        if mark < upto_id:
            return rows, watch.complete_ms
        self._ends.popleft()
        self._compare_clocks(rows, end_ms)
        self._whole_ms = end_ms
        return rows, end_ms

    def _compare_clocks(self, rows: Sequence[Row], end_ms: int) -> None:
        """Rows that were written between two instants name times between them, if both clocks are right."""
        if not rows or not self._whole_ms:
            return
        newest_ms = max(row.at_ms for row in rows)
        off_ms = min(newest_ms - self._whole_ms, 0) or max(newest_ms - end_ms, 0)
        self._off_looks = self._off_looks + 1 if abs(off_ms) > _SKEW_MS else 0
        if self._off_looks == _ENOUGH_LOOKS:
            way = "behind" if off_ms < 0 else "ahead of"
            self._note(
                f"the times in the log are about {abs(off_ms) // 1000:,} s {way} the clock of the database: the old admin "
                "has another time zone than was taken (--timezone), or its clock is wrong; nothing above is to be trusted"
            )

    def _note(self, text: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)


async def look_back(
    source: Source,
    reader: Reader,
    start_ms: int,
    end_ms: int | None,
    settle_ms: int,
    only: frozenset[int],
    stopped: asyncio.Event,
    tell: Callable[[Watch], None],
    notes: list[str],
) -> None:
    """Lay the jobs as they are now over a past range of the log; what is to be said of it goes to `notes`.

    Raises `SourceError`; what was told until then is what was found.
    """
    moment = await source.moment()
    signs = {sign.job_id: sign for sign in moment.signs if not only or sign.job_id in only}
    jobs = await source.schedules(list(signs))
    reader.ids_by_name |= ids_by_name(jobs)
    oldest = reader.around.ms(await source.oldest_log())
    if not oldest:
        notes.append("the log is empty: nothing is judged")
        start_ms = moment.now_ms
    elif oldest > start_ms:
        notes.append(
            "the first row of the log is of a later time than was asked for: nothing before it is judged"
        )
        start_ms = oldest
    watch = Watch(start_ms, settle_ms, past=True)
    watch.observe(
        Look(
            moment.now_ms,
            {job_id: reader.sign(sign) for job_id, sign in signs.items()},
            [reader.job(job, signs[job.id]) for job in jobs],
        )
    )
    whole_ms = moment.now_ms - _LAG_MS
    upto_ms = whole_ms if end_ms is None else min(end_ms + settle_ms, whole_ms)
    local = at_offset(start_ms, reader.around.zone.offset_s(start_ms // 1000)).replace(tzinfo=None)
    first_id, last_id = await source.log_bounds(local)
    mark = first_id - 1
    while mark < last_id and not stopped.is_set():
        heads = await _page(source, mark, last_id)
        mark = heads[-1].id if len(heads) == PAGE else last_id
        rows = reader.rows(heads)
        _grey_doubled(watch, reader)
        newest = max((row.at_ms for row in rows), default=0)
        watch.take(_within(rows, upto_ms), min(newest - _CHUNK_DISORDER_MS, upto_ms))
        tell(watch)
        if rows and min(row.at_ms for row in rows) > upto_ms + _CHUNK_DISORDER_MS:
            break
    if not stopped.is_set():
        watch.take((), upto_ms)
        watch.finish()
    tell(watch)


async def _page(source: Source, after_id: int, upto_id: int) -> list[LogHead]:
    """Once more if the connection ends on the way."""
    try:
        return await source.log_heads(after_id, upto_id, PAGE)
    except SourceLost:
        await source.look()
        return await source.log_heads(after_id, upto_id, PAGE)


def _within(rows: Sequence[Row], upto_ms: int) -> list[Row]:
    return [row for row in rows if row.at_ms <= upto_ms]


def _grey_doubled(watch: Watch, reader: Reader) -> None:
    for start_ms, end_ms in reader.doubled:
        watch.grey(start_ms, end_ms, words.DOUBLED)
    reader.doubled.clear()
