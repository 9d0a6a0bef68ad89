"""What was due, told from the schedules alone, against what executors received.

The gateway's counters are not asked. Its rows tell only which slot a log id stands for: `logDateTime` is the
instant of the claim where a claim came late, so lateness counted from it would hide just that.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fleet import COLUMNS
from wire import distribution

SCATTER = 7919  # a prime: neighbouring ids lie far apart in the period


class Row(NamedTuple):
    """Of the table `run`."""

    run_id: int
    job_id: int
    slot_ms: int
    state: int
    trigger_ms: int


class Receipt(NamedTuple):
    """Of a /run at an executor."""

    run_id: int
    job_id: int
    log_date_ms: int
    arrived_ns: int  # when the kernel had it
    read_ns: int  # when the fleet, one process for all executors, had worked off what came before it
    shard: int
    executor: int


@dataclass(frozen=True)
class Jobs:
    """Jobs with consecutive ids that are due every `every_s` seconds from `start_ms` on."""

    first_id: int
    last_id: int
    every_s: int
    spread: bool  # over the milliseconds of the period; otherwise all at its start
    start_ms: int = 0

    def starting(self, start_ms: int) -> Jobs:
        return replace(self, start_ms=start_ms)

    @property
    def phase_sql(self) -> str:
        """Of `job_id`, in the SQL of all databases."""
        return f"((job_id * {SCATTER}) % {self.every_s * 1000})" if self.spread else "0"

    def phase(self, job_id: int) -> int:
        return (job_id * SCATTER) % (self.every_s * 1000) if self.spread else 0

    def slots(self, from_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
        """(job, slot) of all that is due in the window, its end excluded."""
        every_ms = self.every_s * 1000
        for job_id in range(self.first_id, self.last_id + 1):
            first = self.start_ms + self.phase(job_id)
            skip = max(0, -(-(from_ms - first) // every_ms))
            for slot in range(first + skip * every_ms, until_ms, every_ms):
                yield job_id, slot


@dataclass(frozen=True)
class Verdict:
    """Of one window of slots. Times in ms from the slot's instant: `lateness` to the arrival at the executor,
    `lateness_read` to the moment when the fleet read it."""

    due: int
    received: int
    missed: int
    twice: int
    early: int
    without_row: int  # received, and not in the database: must never be
    slots_without_row: int
    lateness: dict[str, float | None]
    lateness_read: dict[str, float | None]
    lateness_of_log_date: dict[str, float | None]
    last_after_ms: float
    states: dict[int, int]

    @property
    def clean(self) -> bool:
        return not (self.missed or self.twice or self.early or self.without_row)

    def faults(self) -> str:
        """What must not be, in words; empty if nothing."""
        found = {
            "missed": self.missed,
            "twice": self.twice,
            "early": self.early,
            "sent without a row": self.without_row,
        }
        return ", ".join(f"{count:,} {what}" for what, count in found.items() if count)

    def ms(self, name: str) -> float:
        """A part of the distribution; infinite when nothing came."""
        value = self.lateness[name]
        return float("inf") if value is None else value


def receipts(raw: bytes) -> list[Receipt]:
    """Of the fleet's /records."""
    numbers = array("q")
    numbers.frombytes(raw)
    columns = (numbers[column::COLUMNS] for column in range(COLUMNS))
    return [Receipt(*record) for record in zip(*columns, strict=True)]


def judge(jobs: Jobs, from_ms: int, until_ms: int, got: list[Receipt], rows: Mapping[int, Row]) -> Verdict:
    """`got` and `rows` may hold more than the window: it is the slots due in it that count."""
    due = set(jobs.slots(from_ms, until_ms))
    times: Counter[tuple[int, int]] = Counter()
    late: list[float] = []
    late_read: list[float] = []
    late_by_log: list[float] = []
    without_row = 0
    for receipt in got:
        row = rows.get(receipt.run_id)
        if row is None or row.job_id != receipt.job_id:
            without_row += 1
            continue
        slot = row.job_id, row.slot_ms
        if slot in due:
            times[slot] += 1
            at_ms = receipt.arrived_ns / 1e6
            late.append(at_ms - row.slot_ms)
            late_read.append(receipt.read_ns / 1e6 - row.slot_ms)
            late_by_log.append(at_ms - receipt.log_date_ms)
    planned = {(row.job_id, row.slot_ms): row.state for row in rows.values()}
    states = Counter(planned[slot] for slot in due if slot in planned)
    return Verdict(
        due=len(due),
        received=times.total(),
        missed=len(due) - len(times),
        twice=times.total() - len(times),
        early=sum(ms < 0 for ms in late),
        without_row=without_row,
        slots_without_row=len(due) - states.total(),
        lateness=distribution(late),
        lateness_read=distribution(late_read),
        lateness_of_log_date=distribution(late_by_log),
        last_after_ms=round(max(late, default=float("inf")), 1),
        states=dict(sorted(states.items())),
    )


def as_detail(verdict: Verdict) -> dict[str, Any]:
    """For the JSON."""
    return dict(vars(verdict))
