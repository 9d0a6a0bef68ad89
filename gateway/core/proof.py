"""Proof: for a range of time, which slots a job should have had, and what became of each of them.

What was due is computed from the job's versions, what happened is read from the first rows of slots. Nothing of the planner
is used: only the schedules themselves, which are held to recorded answers of other implementations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.daily import LATE_MS
from gateway.core.evidence import FirstRow
from gateway.core.states import OPEN, RunState

MOST_SHOWN = 20
BY_AGE = "removed by age"
BY_HAND = "removed by hand that day"
ON_ITS_WAY = "on its way as the job was changed"
MAXIMUM = "perhaps beyond the job's maximum of fires"
DELETED = "it is not known when the job was deleted"
_SKIPPED = frozenset({RunState.SKIPPED, RunState.EXPIRED})


@dataclass(slots=True)
class Gaps:
    """Of a second_delay job: the pauses between the end of one run and the start of the next."""

    runs: int = 0
    kept: int = 0
    too_short: int = 0
    unproven: int = 0
    longest_extra_ms: int = 0


@dataclass(slots=True)
class JobProof:
    job_id: int
    name: str = ""
    expected: int = 0
    fired: int = 0
    early: int = 0
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
        return not (self.missing or self.duplicate or self.unexpected or self.early or wrong_gaps)

    def take(self, row: FirstRow) -> None:
        """What became of a slot that has this row."""
        self.expected += 1
        if row.sent_ms:
            lateness_ms = max(row.sent_ms - row.due_ms, 0)
            self.fired += 1
            self.early += row.began_ms < row.slot_ms
            self.late += lateness_ms > LATE_MS
            self.lateness_ms += lateness_ms
            self.lateness_max_ms = max(self.lateness_max_ms, lateness_ms)
        elif row.state in OPEN:
            self.waiting += 1
        elif row.state in _SKIPPED:
            self.skipped[word(row.reason)] += 1
        else:
            self.not_sent[f"{row.state.word}: {word(row.reason)}"] += 1

    def miss(self, slot_ms: int) -> None:
        self.expected += 1
        self.missing.append(slot_ms)

    def wait(self) -> None:
        self.expected += 1
        self.waiting += 1

    def doubt(self, why: str) -> None:
        """Nothing can be said of a slot."""
        self.expected += 1
        self.unproven[why] += 1


class Proofs(Protocol):
    async def jobs(
        self, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
    ) -> list[int]:
        """As `core.evidence.EvidenceReader.jobs`."""
        ...

    async def prove(self, job_id: int, from_ms: int, to_ms: int) -> JobProof:
        """Raises `NotFound`, and `InvalidValue` for a range with too many slots."""
        ...


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
    early: int = 0
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
        self.early += one.early
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
