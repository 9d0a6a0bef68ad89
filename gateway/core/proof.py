"""Proof: for a range of time, which slots a job should have had, and what became of each of them.

What was due is computed from the job's versions, what happened is read from the first rows of slots. Nothing of the planner
is used: only the schedules themselves, which are held to recorded answers of other implementations.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.calendar_days import Editions
from gateway.core.chain import delay_of, is_chained
from gateway.core.confine import Slots, is_slot, schedule_of
from gateway.core.daily import LATE_MS, day_of
from gateway.core.errors import InvalidValue
from gateway.core.expected import Interval, before, why_unproven
from gateway.core.states import OPEN, RunState
from gateway.core.versions import JobVersion

MOST_SLOTS = 100_000
"""Of one job; a longer range has to be asked for in pieces."""
MOST_SHOWN = 20
EDIT_MS = 5000
"""For so long after a change, what was claimed before it may still have been sent: the change had not been answered."""
_BEYOND = "not counted beyond"
_SKIPPED = frozenset({RunState.SKIPPED, RunState.EXPIRED})


@dataclass(frozen=True, slots=True)
class FirstRow:
    """The row of a slot, not of a retry or a shard. `ended_ms`: the end of its last attempt, 0 while one is open."""

    id: int
    slot_ms: int
    last_slot_ms: int
    slot_count: int
    state: RunState
    reason: str
    due_ms: int
    sent_ms: int
    ended_ms: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database knows of one job.

    `next_fire_at`: from there on nothing is planned yet; None if all is, or the job has no slots ahead. `cut_ms`: rows
    of slots before it may have been removed by age, as those of `removed_days` by hand. `deleted_ms` is 0 for a job
    that is there, -1 if it is not known when it was deleted. `editions`: the calendars of its versions as they were.
    """

    versions: Sequence[JobVersion]
    rows: Sequence[FirstRow]
    next_fire_at: int | None
    cut_ms: int
    removed_days: frozenset[int] = frozenset()
    deleted_ms: int = 0
    editions: Mapping[str, Editions] = field(default_factory=dict)


@dataclass(slots=True)
class Gaps:
    """Of a second_delay job: the pauses between the end of one run and the next."""

    runs: int = 0
    kept: int = 0
    too_short: int = 0
    longest_extra_ms: int = 0


@dataclass(slots=True)
class JobProof:
    job_id: int
    name: str = ""
    expected: int = 0
    fired: int = 0
    late: int = 0
    lateness_max_ms: int = 0
    lateness_ms: int = 0
    waiting: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    not_sent: Counter[str] = field(default_factory=Counter)
    missing: list[int] = field(default_factory=list)
    duplicate: list[int] = field(default_factory=list)
    unexpected: list[int] = field(default_factory=list)
    unproven: Counter[str] = field(default_factory=Counter)
    gaps: Gaps | None = None

    @property
    def is_right(self) -> bool:
        """Whether nothing speaks against it; what could not be proven says nothing."""
        wrong_gaps = self.gaps.too_short if self.gaps else 0
        return not (self.missing or self.duplicate or self.unexpected or wrong_gaps)


class EvidenceReader(Protocol):
    async def jobs(
        self, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
    ) -> list[int]:
        """Jobs with larger ids, deleted ones too as long as something of them is left."""
        ...

    async def of_job(self, job_id: int, from_ms: int, to_ms: int) -> Evidence:
        """Raises `NotFound`, and `InvalidValue` for a range with too many rows."""
        ...


class Proofs(Protocol):
    async def jobs(
        self, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
    ) -> list[int]:
        """As `EvidenceReader.jobs`."""
        ...

    async def prove(self, job_id: int, from_ms: int, to_ms: int) -> JobProof:
        """Raises `NotFound`, and `InvalidValue` for a range with too many slots."""
        ...


class Judge:
    """Takes the expected slots of one job in order, then gives the verdict."""

    def __init__(self, job_id: int, evidence: Evidence, found: Sequence[Interval], now_ms: int) -> None:
        self.proof = JobProof(job_id, evidence.versions[-1].job.name if evidence.versions else "")
        self._evidence = evidence
        self._intervals = found
        self._now_ms = now_ms
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

    def take(self, interval: Interval, slot_ms: int) -> None:
        """One expected slot."""
        proof = self.proof
        proof.expected += 1
        if proof.expected > MOST_SLOTS:
            raise InvalidValue("to", slot_ms, f"a range with at most {MOST_SLOTS} slots of a job")
        rows = self._rows.get(slot_ms, [])
        if rows:
            self._seen.add(slot_ms)
            if len(rows) > 1:
                proof.duplicate.append(slot_ms)
            self._judge(rows[0])
            return
        group = self._group_of(slot_ms)
        if group is not None:
            self._covered[group.id] += 1
            proof.skipped[word(group.reason)] += 1
            return
        why = self._why_no_row(interval, slot_ms)
        if why == "":
            proof.missing.append(slot_ms)
        elif why == "waiting":
            proof.waiting += 1
        else:
            proof.unproven[why] += 1

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

    def _judge(self, row: FirstRow) -> None:
        proof = self.proof
        if row.slot_count > 1:
            self._covered[row.id] += 1
        if row.sent_ms:
            lateness_ms = max(row.sent_ms - row.due_ms, 0)
            proof.fired += 1
            proof.late += lateness_ms > LATE_MS
            proof.lateness_ms += lateness_ms
            proof.lateness_max_ms = max(proof.lateness_max_ms, lateness_ms)
        elif row.state in OPEN:
            proof.waiting += 1
        elif row.state in _SKIPPED:
            proof.skipped[word(row.reason)] += 1
        else:
            proof.not_sent[f"{row.state.word}: {word(row.reason)}"] += 1

    def _why_no_row(self, interval: Interval, slot_ms: int) -> str:
        """Empty if there is no excuse."""
        evidence = self._evidence
        if slot_ms > self._now_ms or (evidence.next_fire_at is not None and slot_ms >= evidence.next_fire_at):
            return "waiting"
        if slot_ms < evidence.cut_ms:
            return "removed by age"
        if any(_BEYOND in row.reason and row.last_slot_ms < slot_ms <= row.ended_ms for row in self._groups):
            return "too many slots were skipped at once to be counted"
        if evidence.removed_days & {day_of(slot_ms), day_of(slot_ms) + 1}:
            return "removed by hand that day"
        if interval.job.timing.window.max_fires and slot_ms > self._last_row_ms:
            return "beyond the job's maximum of fires"
        if evidence.deleted_ms < 0 and slot_ms > self._last_row_ms:
            return "it is not known when the job was deleted"
        return ""

    def verdict(self) -> JobProof:
        """When all expected slots have been taken."""
        proof = self.proof
        for slot_ms in sorted(self._rows.keys() - self._seen):
            interval = next((one for one in self._intervals if one.holds(slot_ms)), None)
            if interval is None or is_chained(interval.job):
                continue
            if why := why_unproven(interval.job):
                proof.unproven[why] += 1
            elif any(row.sent_ms or row.state in OPEN for row in self._rows[slot_ms]):
                if self._was_on_its_way(interval, slot_ms):
                    proof.unproven["on its way as the job was changed"] += 1
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
        self._judge_chains()
        return proof

    def _was_on_its_way(self, interval: Interval, slot_ms: int) -> bool:
        """Whether the version before had this slot, and had been changed only just before it."""
        if slot_ms - interval.since_ms > EDIT_MS:
            return False
        old = before(interval, self._evidence.versions, self._evidence.editions)
        if old is None or not old.enabled or is_chained(old) != is_chained(interval.job) or why_unproven(old):
            return False
        return is_slot(old, schedule_of(old), slot_ms)

    def _judge_chains(self) -> None:
        chained = [_Stretch.of(one) for one in self._intervals if is_chained(one.job)]
        if not chained:
            return
        gaps = self.proof.gaps = Gaps()
        rows = sorted(self._evidence.rows, key=lambda row: row.slot_ms)
        last: FirstRow | None = None
        for row in rows:
            held = [one for one in chained if one.may_hold(row.slot_ms)]
            if not held:
                last = None
                continue
            gaps.runs += 1
            self.proof.expected += 1
            self._judge_bounds(held, row)
            if last is not None:
                # While one is open, no other may have begun.
                gap_ms = row.slot_ms - last.ended_ms if last.ended_ms else -1
                delay_ms = min(one.delay_ms for one in held)
                if gap_ms < delay_ms:
                    gaps.too_short += 1
                else:
                    gaps.kept += 1
                    extra_ms = row.slot_ms - held[-1].first_from(last.ended_ms + delay_ms)
                    gaps.longest_extra_ms = max(gaps.longest_extra_ms, extra_ms)
            last = row

    def _judge_bounds(self, held: Sequence[_Stretch], row: FirstRow) -> None:
        """A chain's run, which must not be of an instant that its bounds exclude."""
        may_start = row.sent_ms or row.state in OPEN
        if may_start and (why := next((one.why for one in held if one.why), "")):
            self.proof.unproven[why] += 1
        elif may_start and not any(one.allows(row.slot_ms) for one in held):
            if self._was_on_its_way(held[0].interval, row.slot_ms):
                self.proof.unproven["on its way as the job was changed"] += 1
            else:
                self.proof.unexpected.append(row.slot_ms)
                self._judge(row)
        else:
            self._judge(row)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """An interval of a chain. `why`: why its bounds are not known, if they are not."""

    interval: Interval
    schedule: Slots | None
    why: str
    delay_ms: int

    @classmethod
    def of(cls, interval: Interval) -> _Stretch:
        why = why_unproven(interval.job)
        schedule = None if why else schedule_of(interval.job)
        return cls(interval, schedule, why, delay_of(interval.job))

    def may_hold(self, slot_ms: int) -> bool:
        """At the instant of a change a chain goes on by what it was before, or by what it is from then on."""
        return self.interval.holds(slot_ms) or self.interval.since_ms == slot_ms

    def allows(self, slot_ms: int) -> bool:
        return self.schedule is not None and is_slot(self.interval.job, self.schedule, slot_ms)

    def first_from(self, over_ms: int) -> int:
        """The first instant from that one on that its bounds allow, as far as they are known."""
        found = None if self.schedule is None else self.schedule.first_after(over_ms)
        return over_ms if found is None else found


def word(reason: str) -> str:
    """A reason without what differs from row to row."""
    text = reason.split(":", maxsplit=1)[0].split(" (", maxsplit=1)[0].strip() or "no reason"
    at = next((index for index, character in enumerate(text) if character.isdigit()), len(text))
    return text[:at].strip()[:80] or text[:80]


@dataclass(slots=True)
class Total:
    """The sums of several jobs."""

    jobs: int = 0
    wrong: int = 0
    expected: int = 0
    fired: int = 0
    late: int = 0
    lateness_max_ms: int = 0
    waiting: int = 0
    skipped: int = 0
    not_sent: int = 0
    missing: int = 0
    duplicate: int = 0
    unexpected: int = 0
    unproven: int = 0
    gaps_too_short: int = 0

    def add(self, one: JobProof) -> None:
        self.jobs += 1
        self.wrong += not one.is_right
        self.expected += one.expected
        self.fired += one.fired
        self.late += one.late
        self.lateness_max_ms = max(self.lateness_max_ms, one.lateness_max_ms)
        self.waiting += one.waiting
        self.skipped += _sum(one.skipped)
        self.not_sent += _sum(one.not_sent)
        self.missing += len(one.missing)
        self.duplicate += len(one.duplicate)
        self.unexpected += len(one.unexpected)
        self.unproven += _sum(one.unproven)
        self.gaps_too_short += one.gaps.too_short if one.gaps else 0


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())
