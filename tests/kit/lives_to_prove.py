"""Made-up lives of a job, and what a proof says of them."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.evidence import Evidence, FirstRow
from gateway.core.expected import intervals
from gateway.core.judge import Judge
from gateway.core.model import Job, Task
from gateway.core.proof import JobProof
from gateway.core.states import RunState
from gateway.core.timing import PLAIN, Timing
from gateway.core.versions import JobVersion

T = 1_795_000_000_000
S = 1000


def a_version(
    number: int,
    at_ms: int,
    every_s: int = 10,
    *,
    enabled: bool = True,
    anchor_ms: int = T,
    kind: str = "fixed_rate",
    timing: Timing = PLAIN,
) -> JobVersion:
    schedule = {"kind": kind, "expression": every_s}
    job = Job(1, 1, 1, 1, number, "job", enabled=enabled, schedule=schedule, task=Task("h"), timing=timing)
    return JobVersion(replace(job, anchor_ms=anchor_ms, created_ms=T, updated_ms=at_ms), "alice", at_ms)


def a_chain(
    number: int, at_ms: int, delay_s: int = 5, *, enabled: bool = True, timing: Timing = PLAIN
) -> JobVersion:
    return a_version(number, at_ms, delay_s, enabled=enabled, kind="second_delay", timing=timing)


def a_row(slot_ms: int, state: RunState = RunState.SUCCEEDED, **more) -> FirstRow:
    sent_ms = slot_ms + 3 if state not in (RunState.SKIPPED, RunState.QUEUED, RunState.PLANNED) else 0
    fields = {
        "id": slot_ms,
        "slot_ms": slot_ms,
        "last_slot_ms": slot_ms,
        "slot_count": 1,
        "state": state,
        "reason": "misfire: found 61.2 s late" if state is RunState.SKIPPED else "",
        "due_ms": slot_ms,
        "sent_ms": sent_ms,
        "ended_ms": slot_ms + 50,
    }
    return FirstRow(**(fields | more))


def proof_of(versions, rows, *, from_ms=T, to_ms=T + 100 * S, now_ms=T + 1000 * S, **more) -> JobProof:
    evidence = Evidence(versions, rows, **({"next_fire_at": None, "cut_ms": 0} | more))
    found = intervals(versions, evidence.deleted_ms, from_ms, to_ms)
    judge = Judge(1, evidence, found, now_ms)
    for _ in judge.steps():
        pass
    proof = judge.verdict()
    told = proof.fired + proof.waiting + len(proof.missing)
    assert proof.expected == told + sum((proof.skipped + proof.not_sent + proof.unproven).values())
    return proof
