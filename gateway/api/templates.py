"""Templates of jobs: defaults for what a new job leaves out, and the bounds that go with them."""

from __future__ import annotations

from typing import Any

from gateway.api.models.jobs import JobBody
from gateway.api.models.schedules import ScheduleBody
from gateway.core.errors import InvalidValue
from gateway.core.overlap import Overlap

SAE_TIMEOUT_S = 3600
SAE_MAX_TIMEOUT_S = 604_800
SAE_ATTEMPTS = 4  # three retries
SAE_MAX_ATTEMPTS = 11

SCHEDULERX_DEADLINE_S = 7200
SCHEDULERX_INTERVAL_MS = 30_000


def filled(body: JobBody, within: str = "") -> JobBody:
    """The body with the defaults of its template. Raises `InvalidValue` for what the template does not allow."""
    if body.template is None:
        return body
    is_sae = body.template == "sae_job"
    changes = _of_sae(body, f"{within}." if within else "") if is_sae else _of_schedulerx(body)
    return body.model_copy(update=changes)


def _of_sae(body: JobBody, prefix: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "timeout_s" not in body.model_fields_set:
        changes["timeout_s"] = SAE_TIMEOUT_S
    elif body.timeout_s > SAE_MAX_TIMEOUT_S:
        raise InvalidValue(
            f"{prefix}timeout_s", body.timeout_s, f"0 to {SAE_MAX_TIMEOUT_S} with template sae_job"
        )
    attempts = body.retry.max_attempts
    if attempts is None and body.retry.intervals_s is None:
        changes["retry"] = body.retry.model_copy(update={"max_attempts": SAE_ATTEMPTS})
    elif attempts is not None and attempts > SAE_MAX_ATTEMPTS:
        raise InvalidValue(
            f"{prefix}retry.max_attempts", attempts, f"1 to {SAE_MAX_ATTEMPTS} with template sae_job"
        )
    if body.overlap is Overlap.QUEUE:
        expected = "'allow', 'skip' or 'replace' with template sae_job"
        raise InvalidValue(f"{prefix}overlap", body.overlap.value, expected)
    return changes


def _of_schedulerx(body: JobBody) -> dict[str, Any]:
    """Its timeout tells of a long run and, unless asked, kills none: here that is the deadline."""
    changes: dict[str, Any] = {}
    if body.overlap is None and body.max_concurrency is None:
        changes["max_concurrency"] = 1
    if "deadline_s" not in body.model_fields_set:
        changes["deadline_s"] = SCHEDULERX_DEADLINE_S
    retry = body.retry
    waits_are_given = retry.intervals_s is not None or retry.initial_interval_s is not None
    if (retry.max_attempts or 1) > 1 and not waits_are_given:
        changes["retry"] = retry.model_copy(update={"initial_interval_s": SCHEDULERX_INTERVAL_MS})
    if isinstance(body.schedule, list):
        changes["schedule"] = [_ruled(one) for one in body.schedule]
    else:
        changes["schedule"] = _ruled(body.schedule)
    return changes


def _ruled(schedule: ScheduleBody) -> ScheduleBody:
    if schedule.kind != "second_delay":
        return schedule
    return schedule.model_copy(update={"rule": "schedulerx"})
