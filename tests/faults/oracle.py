"""What was due, by arithmetic from the schedules, against what executors wrote into their own files.

The scheduler's rows say only which slot a run id stands for and, where nothing was executed, what became of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.faults.executors import Event

# Numbers of the states: part of the schema (docs/states.md), written down here once more on purpose.
STATES = {
    1: "planned",
    2: "queued",
    3: "dispatching",
    4: "running",
    5: "stopping",
    10: "succeeded",
    11: "failed",
    12: "timed_out",
    13: "lost",
    14: "stopped",
    15: "retrying",
    16: "skipped",
    17: "expired",
    18: "invalid",
}
OPEN = frozenset({"planned", "queued", "dispatching", "running", "stopping"})
LATE_MS = 1000
CLOCK_TOLERANCE_MS = 20  # two processes of one machine read the clock; a scheduler's own is smoothed


class Due(NamedTuple):
    """A job with a fixed phase: due at `anchor_ms + k * every_ms`, from `since_ms` on."""

    job_id: int
    every_ms: int
    anchor_ms: int
    app: str
    since_ms: int = 0

    def slots(self, from_ms: int, until_ms: int) -> range:
        from_ms = max(from_ms, self.since_ms)
        first = self.anchor_ms + -(-(from_ms - self.anchor_ms) // self.every_ms) * self.every_ms
        return range(first, until_ms, self.every_ms)


class Row(NamedTuple):
    """Of the table `run`; `last_slot_ms` and `slot_count` for slots skipped together."""

    run_id: int
    job_id: int
    slot_ms: int
    shard: int
    attempt: int
    state: str
    reason: str
    due_ms: int
    sent_ms: int
    finished_ms: int
    last_slot_ms: int
    slot_count: int
    address: str


ROW_SQL = (
    "SELECT id, job_id, slot_key, shard, attempt, state, reason, due_ms, sent_ms, finished_ms, last_slot_ms, "
    "slot_count, address FROM run"
)


def row_of(columns: Sequence[object]) -> Row:
    values = list(columns)
    values[5] = STATES.get(int(str(values[5])), f"state {values[5]}")
    values[6] = values[6] or ""
    return Row(*values)  # type: ignore[arg-type]


@dataclass
class Verdict:
    """Of the slots of one window. Times in seconds."""

    due: int = 0
    executed: int = 0
    duplicates: int = 0  # executions of a slot beyond its first
    missing: int = 0  # due, and neither executed nor ended with a reason
    early: int = 0
    extra: int = 0  # executed though not due, or without a row
    unkept: int = 0  # results answered with code 200 whose run has not ended by them
    states: dict[str, int] = field(default_factory=dict)  # of due slots that were not executed, by their end
    unended: int = 0  # executed, and the row still open or given up: the result has not come
    silence_s: float = 0.0  # longest pause between two starts, whatever the job
    worst_job_s: float = 0.0  # longest pause of one job, beyond its period
    late: int = 0
    latest_s: float = 0.0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def example(self, what: str, text: str) -> None:
        shown = self.examples.setdefault(what, [])
        if len(shown) < 5:
            shown.append(text)

    @property
    def ended_otherwise(self) -> int:
        return sum(self.states.values())

    def broken(self) -> list[str]:
        """What is promised never to be, under whatever fault."""
        counts = {
            "executed twice": self.duplicates,
            "missing": self.missing,
            "early": self.early,
            "executed though not due": self.extra,
            "acknowledged and not kept": self.unkept,
        }
        return [f"{count} {what}" for what, count in counts.items() if count]


def judge(
    jobs: Iterable[Due],
    from_ms: int,
    until_ms: int,
    rows: Mapping[int, Row],
    events: Iterable[Event],
    *,
    fault_ms: int | None = None,
    ahead_ms: int = 0,
) -> Verdict:
    """Judge the slots from `from_ms` on, `until_ms` excluded; silence is measured from `fault_ms` on.

    `ahead_ms`: by how much the scheduler's reference clock was set forward meanwhile; so much is not early.
    """
    found = Verdict()
    jobs = list(jobs)
    known = {job.job_id: job for job in jobs}
    events = [event for event in events if event.run_id]
    starts = [event for event in events if event.event == "start"]
    begun: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in starts:
        row = rows.get(event.run_id)
        if row is None:
            found.extra += 1
            found.example("extra", f"run {event.run_id} has no row: {event}")
            continue
        if row.job_id not in known or row.slot_ms < 0:
            continue  # of a trigger
        begun[row.job_id, row.slot_ms].append(event)
    for (job_id, slot_ms), executions in begun.items():
        if len(executions) > 1:
            found.duplicates += len(executions) - 1
            found.example("twice", f"job {job_id} slot {slot_ms}: {executions}")
        job = known[job_id]
        if (slot_ms - job.anchor_ms) % job.every_ms:
            found.extra += len(executions)
            found.example("extra", f"job {job_id} was not due at {slot_ms}: {executions}")
        early = slot_ms - executions[0].at_ms - ahead_ms
        if early > CLOCK_TOLERANCE_MS:
            found.early += 1
            found.example("early", f"job {job_id} slot {slot_ms}: {early} ms early, {executions[0]}")
    _account(found, jobs, from_ms, until_ms, rows, begun)
    _results(found, until_ms, rows, events)
    _silence(found, known, rows, starts, from_ms if fault_ms is None else fault_ms, until_ms)
    return found


def _account(
    found: Verdict,
    jobs: Iterable[Due],
    from_ms: int,
    until_ms: int,
    rows: Mapping[int, Row],
    begun: Mapping[tuple[int, int], list[Event]],
) -> None:
    """Each due slot is executed, or its row says why not."""
    first_rows: dict[tuple[int, int], Row] = {}
    shared: dict[int, list[Row]] = defaultdict(list)
    for row in rows.values():
        if row.attempt == 1 and row.shard <= 0:
            first_rows[row.job_id, row.slot_ms] = row
            if row.slot_count > 1:
                shared[row.job_id].append(row)
    states: Counter[str] = Counter()
    for job in jobs:
        for slot_ms in job.slots(from_ms, until_ms):
            found.due += 1
            key = job.job_id, slot_ms
            row = first_rows.get(key) or next(
                (row for row in shared[job.job_id] if row.slot_ms <= slot_ms <= row.last_slot_ms), None
            )
            if executions := begun.get(key):
                found.executed += 1
                late_ms = executions[0].at_ms - slot_ms
                found.latest_s = max(found.latest_s, late_ms / 1000)
                if late_ms > LATE_MS:
                    found.late += 1
                    found.example("late", f"job {job.job_id} slot {slot_ms}: {late_ms} ms, {row}")
                if row is not None and (row.state in OPEN or row.state == "lost"):
                    found.unended += 1
                    found.example("unended", str(row))
            elif row is None:
                found.missing += 1
                found.example("missing", f"job {job.job_id} slot {slot_ms} has no row")
            elif row.state in OPEN or row.state == "succeeded" or not row.reason:
                found.missing += 1
                found.example("missing", f"not executed: {row}")
            else:
                states[row.state] += 1
                found.example(row.state, str(row))
    found.states = dict(states)


def _results(found: Verdict, until_ms: int, rows: Mapping[int, Row], events: Iterable[Event]) -> None:
    """What was acknowledged is in the database: the run ended by a result, not given up.

    What was acknowledged a moment ago may still be in a spool.
    """
    for event in events:
        if event.event != "acked" or event.at_ms >= until_ms:
            continue
        row = rows.get(event.run_id)
        if row is not None and row.slot_ms >= until_ms:
            continue
        if row is None or row.state in OPEN or row.state in {"lost", "skipped"}:
            found.unkept += 1
            found.example("unkept", f"{event}: {row}")


def _silence(
    found: Verdict,
    jobs: Mapping[int, Due],
    rows: Mapping[int, Row],
    starts: Iterable[Event],
    from_ms: int,
    until_ms: int,
) -> None:
    by_job: dict[int, list[int]] = {job_id: [from_ms, until_ms] for job_id in jobs}
    for event in starts:
        row = rows.get(event.run_id)
        if row is not None and row.job_id in by_job and from_ms <= event.at_ms <= until_ms:
            by_job[row.job_id].append(event.at_ms)
    for job_id, times in by_job.items():
        times.sort()
        longest = max(later - earlier for earlier, later in pairwise(times))
        found.worst_job_s = max(found.worst_job_s, (longest - jobs[job_id].every_ms) / 1000)
    everything = sorted(at for times in by_job.values() for at in times)
    found.silence_s = max((later - earlier for earlier, later in pairwise(everything)), default=0) / 1000
