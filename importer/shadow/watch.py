"""The whole installation in the shadow: looks go in, tallies come out. Pure: time is what the looks say.

What is kept grows with the number of jobs and with what is due within the settle time, never with the length of the watch.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from importer.shadow import words
from importer.shadow.pulse import Pulse
from importer.shadow.track import EDIT_MS, Track
from importer.shadow.values import PRE_READ_MS, Kind, Look, Row, SeenJob, Sign

# An edit says when it was by the old admin's clock: so far from two looks it is not believed.
_SKEW_MS = 60_000
# Rows of the log that are so far ahead of the look that reads them are not on the clock that was taken.
_FUTURE_MS = 3_600_000
# In so many looks one after another nobody saves a job without changing it.
_MOST_TOUCHES = 3
_ALIVE = frozenset({Kind.SCHEDULE, Kind.MISFIRE})
# What is read ahead was decided before the watch began.
START_MS = PRE_READ_MS + 2000


class Watch:
    """From `start_ms` on. `settle_ms`: how old a slot must be before it is judged.

    `past`: the jobs as they are now are laid over a log that was written before.
    """

    def __init__(self, start_ms: int, settle_ms: int, *, past: bool = False) -> None:
        self.start_ms = start_ms
        self.settle_ms = settle_ms
        self.past = past
        self.pulse = Pulse()
        self.tracks: dict[int, Track] = {}
        self.looks = 0
        self.rows = 0
        self.judged_ms = start_ms
        self.complete_ms = start_ms
        self._seen_ms = start_ms
        self._gone: set[int] = set()
        # Jobs by their next slots; what is not planned any more is passed over.
        self._due: list[tuple[int, int]] = []
        self._planned: dict[int, int] = {}
        self._open: set[int] = set()

    def observe(self, look: Look) -> None:
        """Take in a look; judge what is old enough."""
        for job in look.jobs:
            self._gone.discard(job.id)
            track = self.tracks.get(job.id)
            if track is None:
                self._meet(job, look.at_ms)
            else:
                self._change(track, job, look.at_ms)
        for job_id, sign in look.signs.items():
            if (track := self.tracks.get(job_id)) is not None:
                track.see(sign, look.at_ms)
        for job_id in [one for one in self.tracks if one not in look.signs and one not in self._gone]:
            self._lose(self.tracks[job_id], look.at_ms)
        self._seen_ms = look.at_ms
        self.looks += 1
        self.take(look.rows, look.complete_ms)

    def take(self, rows: Iterable[Row], complete_ms: int) -> None:
        """Rows in the order of their ids; whatever the log says of instants before `complete_ms` has been given."""
        for row in rows:
            self.rows += 1
            track = self.tracks.get(row.job_id)
            if row.at_ms < self.start_ms or row.at_ms > self._seen_ms + _FUTURE_MS:
                continue
            is_alive = row.kind in _ALIVE
            if track is not None:
                self._extend(track, row.at_ms)
                is_alive = track.feed(row) or is_alive
            if is_alive:
                self.pulse.started(row.at_ms)
        self.complete_ms = max(self.complete_ms, complete_ms)
        while self._due and self._due[0][0] <= self.complete_ms:
            next_ms, job_id = heapq.heappop(self._due)
            if self._planned.get(job_id) != next_ms:
                continue
            del self._planned[job_id]
            self._extend(self.tracks[job_id], self.complete_ms)
            self._plan(self.tracks[job_id])
        self._settle(self.complete_ms - self.settle_ms)

    def grey(self, from_ms: int, to_ms: int, why: str) -> None:
        """What disagrees in that stretch is unclear, for all jobs."""
        self.pulse.ignore(from_ms, to_ms)
        for track in self.tracks.values():
            track.grey(from_ms, to_ms, why)

    def finish(self) -> None:
        """No more rows will come."""
        for track in self.tracks.values():
            track.finish()

    def waiting(self) -> int:
        """Slots that are due and too young to be judged."""
        return sum(self.tracks[job_id].waiting() for job_id in self._open)

    def _settle(self, upto_ms: int) -> None:
        if upto_ms <= self.judged_ms:
            return
        for job_id in list(self._open):
            track = self.tracks[job_id]
            track.settle(upto_ms)
            if track.is_idle:
                self._open.discard(job_id)
        self.pulse.settle(upto_ms)
        self.judged_ms = upto_ms

    def _extend(self, track: Track, upto_ms: int) -> None:
        for at_ms in track.extend(upto_ms):
            self.pulse.due(at_ms)
        self._open.add(track.id)

    def _plan(self, track: Track) -> None:
        next_ms = track.next_ms
        if next_ms is not None and self._planned.get(track.id) != next_ms:
            self._planned[track.id] = next_ms
            heapq.heappush(self._due, (next_ms, track.id))

    def _meet(self, job: SeenJob, at_ms: int) -> None:
        track = self.tracks[job.id] = Track(job, self.settle_ms, self.pulse.is_silent)
        updated_ms = job.sign.updated_ms or 0
        if not self.looks:
            track.begin(self.start_ms, phase_known=not self.past)
            if self.past and not job.sign.running:
                track.grey(self.start_ms, at_ms, words.STOPPED_NOW)
            elif updated_ms > self.start_ms - EDIT_MS:
                track.grey(self.start_ms, min(updated_ms, at_ms) + EDIT_MS, words.EDITED)
        else:
            when_ms = self._when(None, updated_ms, at_ms)
            track.begin((self._seen_ms if when_ms is None else when_ms) + PRE_READ_MS, fresh=True)
            track.grey(self._seen_ms, (at_ms if when_ms is None else when_ms) + EDIT_MS, words.MADE)
        track.see(job.sign, at_ms)
        self._plan(track)

    def _change(self, track: Track, job: SeenJob, at_ms: int) -> None:
        before, after = track.sign, job.sign
        same = track.version.key == job.version.key
        when_ms = self._when(before.updated_ms, after.updated_ms, at_ms)
        end_ms, start_ms = (at_ms, self._seen_ms) if when_ms is None else (when_ms, when_ms)
        track.name, track.app = job.name, job.app
        if same and before.running == after.running:
            # Of some forks the server touches the row at each run: that is no edit.
            track.touches = track.touches + 1 if self._seen_ms <= track.touched_ms else 1
            track.touched_ms = at_ms
            if track.touches <= _MOST_TOUCHES:
                track.grey(self._seen_ms, end_ms + EDIT_MS, words.EDITED)
            return
        unmarked = before.running and before.updated_ms == after.updated_ms
        if same and unmarked and job.version.stops_marked:
            track.end(end_ms + PRE_READ_MS)  # what it had read ahead it still fires
            track.stopped = words.stopped(at_ms - self._seen_ms)
            track.sign = after
            self._open.add(track.id)
            return
        track.end(end_ms)
        track.grey(self._seen_ms, end_ms + EDIT_MS, words.STARTED if same else words.EDITED)
        track.version, track.sign, track.stopped = job.version, after, ""
        track.begin(start_ms + PRE_READ_MS, fresh=True)
        self._plan(track)
        self._open.add(track.id)

    def _lose(self, track: Track, at_ms: int) -> None:
        self._gone.add(track.id)
        self._open.add(track.id)
        track.end(at_ms)
        track.sign = Sign(running=False)
        # What was not judged yet: its rows are gone as well.
        track.grey(self.judged_ms, at_ms + EDIT_MS, words.DELETED)

    def _when(self, before_ms: int | None, after_ms: int | None, at_ms: int) -> int | None:
        """When a job was edited since the last look, if its row says so credibly."""
        if after_ms is None or after_ms == before_ms:
            return None
        return after_ms if self._seen_ms - _SKEW_MS <= after_ms <= at_ms + _SKEW_MS else None
