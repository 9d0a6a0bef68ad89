"""Goes through what a job should have had, beside what there is, and gives the verdict of a proof."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from gateway.core import evidence as known
from gateway.core.chain import is_chained
from gateway.core.chain_proof import ChainJudge
from gateway.core.confine import schedule_of
from gateway.core.errors import InvalidValue
from gateway.core.evidence import EDIT_MS, Evidence, FirstRow
from gateway.core.expected import Interval, had_slot, why_unproven
from gateway.core.fires import Fires
from gateway.core.proof import BY_AGE, BY_HAND, DELETED, MAXIMUM, ON_ITS_WAY, JobProof, word

_BEYOND = "not counted beyond"
_WAITING = "waiting"


class Judge:
    """Of one job. The slots are gone through in steps, so that whoever asks can let others have their turn."""

    def __init__(self, job_id: int, evidence: Evidence, found: Sequence[Interval], now_ms: int) -> None:
        self.proof = JobProof(job_id, evidence.versions[-1].job.name if evidence.versions else "")
        self._evidence = evidence
        self._intervals = found
        self._now_ms = now_ms
        self._fires = Fires(evidence.versions, evidence.fired)
        self._rows: dict[int, list[FirstRow]] = {}
        groups: list[FirstRow] = []
        for row in evidence.rows:
            self._rows.setdefault(row.slot_ms, []).append(row)
            if row.slot_count > 1:
                groups.append(row)
        self._groups = sorted(groups, key=lambda row: row.slot_ms)
        self._starts = [row.slot_ms for row in self._groups]
        self._widest = max((row.last_slot_ms - row.slot_ms for row in self._groups), default=0)
        self._covered: Counter[int] = Counter()
        self._seen: set[int] = set()
        self._last_row_ms = max((row.last_slot_ms or row.slot_ms for row in evidence.rows), default=0)
        self._chain = ChainJudge(self.proof, evidence, self._fires, self._seen)

    def steps(self) -> Iterator[None]:
        """One at a time; the verdict may be asked for after the last."""
        for interval, following in zip_longest(self._intervals, self._intervals[1:]):
            self._fires.reach(interval.job)
            if is_chained(interval.job):
                yield from self._chain.steps(interval, following)
                continue
            if why_unproven(interval.job):
                self._fires.lose_count()
            elif interval.job.enabled:
                for slot_ms in self._slots(interval):
                    self._take(slot_ms)
                    yield
            self._chain.pass_over(interval)

    def _slots(self, interval: Interval) -> Iterator[int]:
        schedule = schedule_of(interval.job)
        slot_ms = schedule.next_after(interval.after_ms)
        while slot_ms is not None and slot_ms <= interval.until_ms and not self._fires.is_over:
            yield slot_ms
            slot_ms = schedule.next_after(slot_ms)

    def _take(self, slot_ms: int) -> None:
        """One expected slot."""
        proof = self.proof
        if proof.expected >= known.MOST_SLOTS:
            raise InvalidValue("to", slot_ms, f"a range with at most {known.MOST_SLOTS} slots of a job")
        rows = self._rows.get(slot_ms, [])
        if rows:
            self._seen.add(slot_ms)
            if len(rows) > 1:
                proof.duplicate.append(slot_ms)
            self._covered[rows[0].id] += rows[0].slot_count > 1
            proof.take(rows[0])
            self._fires.add()
            return
        group = self._group_of(slot_ms)
        if group is not None:
            self._covered[group.id] += 1
            proof.expected += 1
            proof.skipped[word(group.reason)] += 1
            self._fires.add()
            return
        why = self._why_no_row(slot_ms)
        self._fires.add(is_certain=not self._fires.is_unsure)
        if why == "":
            proof.miss(slot_ms)
        elif why == _WAITING:
            proof.wait()
        else:
            proof.doubt(why)

    def _group_of(self, slot_ms: int) -> FirstRow | None:
        """The row of slots skipped together that stands for this one."""
        index = bisect_right(self._starts, slot_ms) - 1
        while index >= 0:
            group = self._groups[index]
            if group.last_slot_ms >= slot_ms and self._covered[group.id] < group.slot_count:
                return group
            if slot_ms - group.slot_ms > self._widest:
                break
            index -= 1
        return None

    def _why_no_row(self, slot_ms: int) -> str:
        """Empty if there is no excuse."""
        evidence = self._evidence
        if slot_ms > self._now_ms or (evidence.next_fire_at is not None and slot_ms >= evidence.next_fire_at):
            return _WAITING
        if slot_ms < evidence.cut_ms:
            return BY_AGE
        if any(_BEYOND in row.reason and row.last_slot_ms < slot_ms <= row.ended_ms for row in self._groups):
            return "too many slots were skipped at once to be counted"
        if evidence.is_removed(slot_ms, slot_ms):
            return BY_HAND
        if self._fires.is_unsure:
            return MAXIMUM
        if evidence.deleted_ms < 0 and slot_ms > self._last_row_ms:
            return DELETED
        return ""

    def verdict(self) -> JobProof:
        """When all steps have been taken."""
        proof = self.proof
        for slot_ms in sorted(self._rows.keys() - self._seen - self._chain.had):
            interval = next((one for one in self._intervals if one.holds(slot_ms)), None)
            if interval is None or is_chained(interval.job):
                continue
            if why := why_unproven(interval.job):
                proof.doubt(why)
            elif any(row.counts for row in self._rows[slot_ms]):
                if self._was_on_its_way(interval, slot_ms):
                    proof.doubt(ON_ITS_WAY)
                else:
                    proof.unexpected.append(slot_ms)
        for row in self._groups:
            # A group that reaches over an end of the range, or was not counted to its end, cannot be compared.
            inside = any(
                one.after_ms < row.slot_ms and row.last_slot_ms <= one.until_ms for one in self._intervals
            )
            short = row.slot_count - self._covered[row.id]
            if inside and short > 0 and _BEYOND not in row.reason and row.slot_ms in self._seen:
                proof.unexpected.append(row.slot_ms)
        return proof

    def _was_on_its_way(self, interval: Interval, slot_ms: int) -> bool:
        """Whether the version before had this slot, and had been changed only just before it."""
        if slot_ms - interval.since_ms > EDIT_MS:
            return False
        return had_slot(self._evidence.job_before(interval), slot_ms)
