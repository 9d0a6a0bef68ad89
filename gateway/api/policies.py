"""Between bodies and values of the core: what follows the end of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.api.models.jobs import JobBody
from gateway.api.models.outcomes import RETRY_INTERVAL_S, RetryAnswer, RetryBody
from gateway.core.children import Child
from gateway.core.errors import InvalidValue
from gateway.core.model import Job, Route
from gateway.core.named_shards import NamedShard
from gateway.core.retry import AT_ONCE, FAILURES, Retry, outcomes_of


def retry_of(body: RetryBody) -> tuple[int, Retry]:
    """All attempts, and the waits between them."""
    on = FAILURES if body.on is None else outcomes_of(list(body.on))
    jitter = body.jitter or 0.0
    if body.intervals_s is not None:
        attempts = len(body.intervals_s) + 1 if body.max_attempts is None else body.max_attempts
        return attempts, Retry(intervals_ms=tuple(body.intervals_s), jitter=jitter, on=on)
    attempts = 1 if body.max_attempts is None else body.max_attempts
    initial_ms = body.initial_interval_s
    asked = (body.backoff_coefficient, body.maximum_interval_s, body.jitter)
    if initial_ms is None and any(asked):
        initial_ms = min(RETRY_INTERVAL_S * 1000, body.maximum_interval_s or RETRY_INTERVAL_S * 1000)
    if not initial_ms:
        return attempts, Retry(on=on)
    return attempts, Retry(
        initial_ms=initial_ms,
        coefficient=body.backoff_coefficient or AT_ONCE.coefficient,
        maximum_ms=body.maximum_interval_s or 0,
        jitter=jitter,
        on=on,
    )


def retry_answer(job: Job) -> RetryAnswer:
    retry = job.retry
    return RetryAnswer(
        max_attempts=job.max_attempts,
        intervals_s=[_seconds(one) for one in retry.intervals_ms] or None,
        initial_interval_s=_seconds(retry.initial_ms) if retry.initial_ms else None,
        backoff_coefficient=retry.coefficient if retry.initial_ms else None,
        maximum_interval_s=_seconds(retry.maximum_ms) if retry.maximum_ms else None,
        jitter=retry.jitter,
        on=sorted(state.word for state in retry.on),
    )


def retry_fields(job: Job) -> dict[str, Any]:
    """The body that would create it."""
    values = retry_answer(job).model_dump()
    if not job.retry.jitter:
        del values["jitter"]
    return {name: value for name, value in values.items() if value is not None}


def children_of(body: JobBody) -> tuple[Child, ...]:
    return tuple(Child(one.job, one.on) for one in body.children)


def child_fields(job: Job) -> dict[str, Any]:
    """The part of the body that would create it."""
    children = [{"job": child.job_id, "on": child.on.value} for child in job.children]
    return {"children": children, "join": job.join.value}


def shards_of(body: JobBody, within: str) -> tuple[NamedShard, ...]:
    """Raises `InvalidValue` for shards of a broadcast, which has one for each executor."""
    if body.shards and body.route is Route.SHARDING_BROADCAST:
        field = f"{within}.route" if within else "route"
        expected = "another route: shards with names are spread over the executors, not sent to all of them"
        raise InvalidValue(field, body.route.value, expected)
    return tuple(NamedShard(one.name, one.params) for one in body.shards)


def shard_fields(job: Job) -> dict[str, Any]:
    return {"shards": [asdict(one) for one in job.shards]}


def patience_fields(job: Job) -> dict[str, Any]:
    """What is said of runs that do not end."""
    return {
        "deadline_s": job.deadline_s or None,
        "on_deadline": job.on_deadline.value,
        "lost_after_s": job.lost_after_s,
        "hold_limit_on_lost": job.hold_limit_on_lost,
    }


def contact_fields(job: Job) -> dict[str, Any]:
    """Who answers for it."""
    return asdict(job.contact)


def _seconds(ms: int) -> float:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000
