"""Templates of jobs: defaults for what a new job leaves out, and the bounds that go with them."""

from __future__ import annotations

from typing import Any

from gateway.api.models.jobs import JobBody
from gateway.core.errors import InvalidValue

SAE_TIMEOUT_S = 3600
SAE_MAX_TIMEOUT_S = 604_800
SAE_ATTEMPTS = 4  # three retries
SAE_MAX_ATTEMPTS = 11


def filled(body: JobBody, within: str = "") -> JobBody:
    """The body with the defaults of its template. Raises `InvalidValue` for what the template does not allow."""
    if body.template is None:
        return body
    prefix = f"{within}." if within else ""
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
    return body.model_copy(update=changes)
