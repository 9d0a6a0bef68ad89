"""Proof of a second_delay job: each run must follow from the end of the one before it, and begin no earlier.

Two things are told apart. A gap is judged by when runs really ended and began. Whether a slot is the right one, and none is
missing, is judged by what the version in force makes of the end before it: such a job has one course only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateway.core import evidence as known
from gateway.core.chain import delay_of, is_chained
from gateway.core.confine import Slots, is_slot, schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.evidence import EDIT_MS, Evidence, FirstRow
from gateway.core.expected import Interval, had_slot, why_unproven
from gateway.core.fires import Fires
from gateway.core.model import Job
from gateway.core.proof import BY_AGE, BY_HAND, DELETED, MAXIMUM, ON_ITS_WAY, Gaps, JobProof

MOVED = "perhaps moved to the end of an excluded stretch, since it could not be planned before"
UNPLANNED = "not planned yet as the job was changed"


class Place(NamedTuple):
    """How far a chain is. `ends`: the instants of which one is where its delay counts from; 0 before its first run.

    Its last row, of `run_id`, has ended at `at_ms`. Unless it `is_known`, a row is open or not there that would tell.
    """

    ends: tuple[int, ...] = (0,)
    at_ms: int = 0
    is_known: bool = True
    run_id: int = 0


LOST_TRACK = Place(is_known=False)


class Rules(NamedTuple):
    """What a version says of its slots. `why` nobody can tell, empty if that is known."""

    job: Job
    why: str
    schedule: Slots | None
    delay_ms: int

    @classmethod
    def of(cls, job: Job) -> Rules:
        why = why_unproven(job)
        return cls(job, why, None if why else schedule_of(job), delay_of(job))

    def allows(self, slot_ms: int) -> bool:
        return self.schedule is None or is_slot(self.job, self.schedule, slot_ms)


class ChainJudge:
    """Is given the intervals of a job in their order; `seen` are slots that other schedules of the job have had, `had` its own."""

    def __init__(self, proof: JobProof, evidence: Evidence, fires: Fires, seen: set[int]) -> None:
        self.had: set[int] = set()
        self._proof = proof
        self._gaps = Gaps()
        self._evidence = evidence
        self._fires = fires
        self._seen = seen
        self._rows = sorted(evidence.rows, key=lambda row: (_at(row), row.id))
        self._next = 0
        self._ran: FirstRow | None = None
        self._is_open = False
        self._owed = 0
        self._place = Place()
        self._last_rules: Rules | None = None
        before = evidence.before
        begun = [one.job for one in evidence.versions if before and one.created_ms <= before.slot_ms]
        if before is not None and begun and is_chained(begun[-1]):
            self._follow(before)
        elif all(one.number != 1 for one in evidence.versions):
            self._place = LOST_TRACK

    def steps(self, interval: Interval, following: Interval | None) -> Iterator[None]:
        """Of a version that is a second_delay, and whose follows it in the range."""
        self._proof.gaps = self._gaps
        while (row := self._row_of(interval)) is not None:
            if _at(row) == interval.until_ms and self._is_left(row, interval, following):
                break
            self._next += 1
            self._take(interval, row)
            yield
        due = self._due(interval)
        if (
            due
            and due[-1] < interval.until_ms
            and due[-1] == self._slots(interval.job, interval.since_ms)[-1]
        ):
            if following is not None and following.job.enabled and is_chained(following.job):
                self._owed = due[-1]  # unless it was planned by then, it is what follows
            elif self._place.run_id == self._evidence.open_at.get(interval.until_ms, -1):
                self._place = LOST_TRACK  # that the run before it had ended was learned only after the change
            else:
                self._miss(interval.job, due[-1], interval.until_ms, is_last=following is None)
        if self._owed and following is None:
            self._proof.doubt(UNPLANNED)
        yield

    def pass_over(self, interval: Interval) -> None:
        """Of a version that is none: what was on its way as the job was changed may have moved the chain."""
        old = self._evidence.job_before(interval)
        was_chained = old is not None and is_chained(old)
        while (row := self._row_of(interval)) is not None and row.slot_ms < interval.until_ms:
            self._next += 1
            if was_chained and row.slot_ms - interval.since_ms <= EDIT_MS:
                self._place = LOST_TRACK

    def _row_of(self, interval: Interval) -> FirstRow | None:
        """The next row that belongs to it."""
        while self._next < len(self._rows):
            row = self._rows[self._next]
            at_ms = max(_at(row), min(interval.after_ms + 1, row.slot_ms))
            if at_ms > interval.until_ms:
                return None
            if interval.holds_of_chain(at_ms) and row.slot_ms not in self._seen:
                return row
            self._next += 1
        return None

    def _is_left(self, row: FirstRow, interval: Interval, following: Interval | None) -> bool:
        """Whether a row at the instant of a change is the next version's."""
        return (
            following is not None
            and following.since_ms == row.slot_ms
            and is_chained(following.job)
            and row.slot_ms not in (self._due(interval) or ())
        )

    # ------------------------------------------------------------ what is due

    def _rules(self, job: Job) -> Rules:
        """Read once for all rows of a version."""
        if self._last_rules is None or self._last_rules.job is not job:
            self._last_rules = Rules.of(job)
        return self._last_rules

    def _due(self, interval: Interval) -> list[int] | None:
        """The instants of which one is the next slot, if it is not after the interval. None if nobody can tell."""
        job, place = interval.job, self._place
        if not place.is_known or self._rules(job).why:
            return None
        if not job.enabled or self._fires.is_over:
            return []
        found = self._slots(job, interval.since_ms)
        later = [slot for slot in found if slot > interval.after_ms or slot == interval.since_ms]
        if found and not later:
            return None
        return [slot for slot in later if place.at_ms < slot <= interval.until_ms and slot not in self.had]

    def _slots(self, job: Job, since_ms: int) -> list[int]:
        _, _, schedule, delay_ms = self._rules(job)
        found: set[int] = set()
        if schedule is None:
            return []
        for end_ms in self._place.ends:
            slot = schedule.first_after(max(end_ms + delay_ms, since_ms))
            if slot in self._seen:  # at the very instant of the change to this kind
                slot = schedule.first_after(slot + 1)
            if slot is not None:
                found.add(slot)
        return sorted(found)

    # ------------------------------------------------------------ a row

    def _take(self, interval: Interval, row: FirstRow) -> None:
        proof, job = self._proof, interval.job
        if proof.expected >= known.MOST_SLOTS:
            raise InvalidValue("to", row.slot_ms, f"a range with at most {known.MOST_SLOTS} slots of a job")
        if row.slot_ms in self.had:
            proof.duplicate.append(row.slot_ms)
            return
        due = self._due(interval)
        fits = due is not None and row.slot_ms in due
        old = None if fits else self._old(interval, row)
        if old is not None and not is_chained(old):
            if row.counts:
                proof.doubt(ON_ITS_WAY)
            return
        self._gaps.runs += 1
        self._fires.add()
        why = ON_ITS_WAY if old else self._rules(job).why
        if why and row.counts:
            proof.doubt(why)
        else:
            proof.take(row)
        is_short = row.counts and self._judge_gap(old or job, row, due if fits else None)
        if fits and self._owed:
            proof.doubt(UNPLANNED)
        # Whatever had ended before its slot was decided by what held then.
        elif not (fits or why) and _at(row) == row.slot_ms:
            if not self._rules(job).allows(row.slot_ms):
                proof.unexpected.append(row.slot_ms)
            elif not is_short:
                self._judge_slot(interval, row, due)
        self._owed = 0
        self._follow(row)

    def _old(self, interval: Interval, row: FirstRow) -> Job | None:
        """The version before, if the row is of a slot that it had, and it was changed only just before that."""
        if row.slot_ms - interval.since_ms > EDIT_MS:
            return None
        old = self._evidence.job_before(interval)
        if old is None or not had_slot(old, row.slot_ms):
            return None
        if is_chained(old) and self._place.is_known and row.slot_ms not in self._slots(old, old.updated_ms):
            return None
        return old

    def _judge_gap(self, job: Job, row: FirstRow, due: list[int] | None) -> bool:
        """Whether it is too short."""
        gaps, ran = self._gaps, self._ran
        if self._is_open:
            gaps.too_short += 1
            return True
        if row.began_ms and due is not None:
            gaps.longest_extra_ms = max(
                gaps.longest_extra_ms, row.began_ms - job.timing.due_ms(job.id, row.slot_ms)
            )
        if ran is None or not row.began_ms:
            return False
        if ran.is_belated:
            gaps.unproven += 1
        elif row.began_ms - ran.ended_ms < self._rules(job).delay_ms:
            gaps.too_short += 1
            return True
        elif self._place.is_known:
            gaps.kept += 1
        else:
            gaps.unproven += 1
        return False

    def _judge_slot(self, interval: Interval, row: FirstRow, due: list[int] | None) -> None:
        """Of one that the bounds allow, and that is not what was due."""
        if due is None:
            if not interval.job.enabled:
                self._proof.unexpected.append(row.slot_ms)
            return
        passed = [slot for slot in (self._owed, *due) if 0 < slot < row.slot_ms]
        if not passed:
            self._proof.unexpected.append(row.slot_ms)
        elif self._rules(interval.job).allows(row.slot_ms - 1):
            self._miss(interval.job, passed[0], row.slot_ms)
        else:  # its bounds begin to allow it there
            self._proof.doubt(MOVED)

    def _miss(self, job: Job, slot_ms: int, until_ms: int, *, is_last: bool = False) -> None:
        """A slot has no row. `until_ms`: no other of the chain is known up to there."""
        proof, evidence = self._proof, self._evidence
        if is_last and evidence.next_fire_at is not None and slot_ms >= evidence.next_fire_at:
            proof.wait()
        elif slot_ms < evidence.cut_ms:
            proof.doubt(BY_AGE)
        elif evidence.is_removed(slot_ms, until_ms):
            proof.doubt(BY_HAND)
        elif self._fires.is_unsure:
            proof.doubt(MAXIMUM)
        elif is_last and evidence.deleted_ms < 0:
            proof.doubt(DELETED)
        elif is_last and (job.timing.exclusions or job.timing.calendars or job.timing.window.end_ms):
            proof.doubt(MOVED)
        else:
            proof.miss(slot_ms)
        self._fires.add(is_certain=not self._fires.is_unsure)
        self._place = LOST_TRACK

    def _follow(self, row: FirstRow) -> None:
        """The chain is at this row."""
        place = self._place
        self.had.add(row.slot_ms)
        if row.began_ms:
            self._ran = row
        if row.is_belated:
            self._place = LOST_TRACK
        elif not row.ended_ms:
            self._is_open, self._place = True, LOST_TRACK
        elif row.began_ms:
            self._place = Place((row.ended_ms,), row.ended_ms, run_id=row.id)
        elif place.is_known:
            # Not every slot that was skipped has moved the chain.
            self._place = Place((*place.ends[-2:], row.ended_ms), row.ended_ms, run_id=row.id)


def _at(row: FirstRow) -> int:
    """Its slot; of one that had ended before it came to that, the end."""
    return row.slot_ms if row.began_ms or not row.ended_ms else min(row.slot_ms, row.ended_ms)
