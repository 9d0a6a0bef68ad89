"""Handlers: triggering a job. Programs call them thousands of times a second, so they do nothing they need not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from gateway.api.intake import checked, object_in, parsed, read_body
from gateway.api.jobs import job_id_in
from gateway.api.models.submissions import MAX_NAME, MAX_SUBMISSIONS, TriggerBody
from gateway.api.problems import FieldError, InvalidInput, errors_of
from gateway.api.render import JSON
from gateway.api.services import SERVICES
from gateway.core.acting import author
from gateway.core.clock import Clock
from gateway.core.errors import AlreadySubmitted, GatewayError, InvalidValue
from gateway.core.idempotency import IdempotencyKey
from gateway.core.model import DEFAULT_NAMESPACE
from gateway.core.submission import NOW, Submission, Submitted

KEY = "Idempotency-Key"
_PLAIN = TriggerBody()
_MANY = TypeAdapter(list[TriggerBody])
_AT_ONCE = 250  # bodies checked before others get their turn
_ANSWERED_AT_ONCE = 1000


async def trigger(request: web.Request) -> web.Response:
    body = await read_body(request)
    wanted = NOW if body in (b"", b"{}") else submission_of(parsed(body, TriggerBody))
    services = request.app[SERVICES]
    operations = services.operations
    await services.quotas.take(DEFAULT_NAMESPACE, author())
    if KEY not in request.headers:
        run_id = await operations.trigger(job_id_in(request), wanted)
    else:
        key = key_of(request, request.path, body)
        (outcome,) = await operations.submit(job_id_in(request), [wanted], key=key)
        run_id = run_id_of(outcome, wanted)
    return web.Response(status=202, body=b'{"run_id":%d}' % run_id, content_type=JSON)


async def trigger_batch(request: web.Request) -> web.Response:
    """Each submission is taken or refused for itself; the answer comes when all that were taken are durable."""
    services = request.app[SERVICES]
    job_id = job_id_in(request)
    body = await read_body(request)
    key = key_of(request, request.path, body) if KEY in request.headers else None
    given = _submissions_in(body)
    found = await _checked(given, services.clock)
    good = [one for one in found if isinstance(one, Submission)]
    if good:
        await services.quotas.take(DEFAULT_NAMESPACE, author(), len(good))
    outcomes = iter(await services.operations.submit(job_id, good, key=key) if good else ())
    accepted = 0
    texts: list[str] = []
    for start in range(0, len(found), _ANSWERED_AT_ONCE):
        await services.clock.sleep(0)
        results = [
            _result(index, one, next(outcomes) if isinstance(one, Submission) else one)
            for index, one in enumerate(found[start : start + _ANSWERED_AT_ONCE], start)
        ]
        accepted += sum(one["status"] == 202 for one in results)
        texts.append(json.dumps(results, default=str)[1:-1])
    text = f'{{"accepted": {accepted}, "results": [{", ".join(texts)}]}}'
    return web.Response(status=202, body=text.encode(), content_type=JSON)


def submission_of(body: TriggerBody) -> Submission:
    if body is _PLAIN:
        return NOW
    return Submission(
        params=body.params,
        addresses=None if body.addresses is None else tuple(body.addresses),
        task_id=body.task_id,
        run_at_ms=body.run_at,
        delay_ms=body.delay_s or 0,
        ttl_ms=body.ttl_s or 0,
        priority=body.priority,
    )


def key_of(request: web.Request, what: str, body: bytes, *, space: str = "") -> IdempotencyKey:
    """The caller's name for this call of `what`. Names of one `space` differ from all others. Raises `InvalidInput`."""
    text = request.headers[KEY]
    most = MAX_NAME - len(space)
    if not (0 < len(text) <= most and text.isascii() and text.isprintable() and " " not in text):
        expected = f"1 to {most} visible ASCII characters without blanks"
        raise InvalidInput([FieldError(KEY, text, expected)])
    return IdempotencyKey(space + text, hashlib.sha256(what.encode() + b"\n" + body).hexdigest())


def _submissions_in(body: bytes) -> list[object]:
    whole = object_in(body)
    given = whole.get("submissions")
    if unknown := sorted(set(whole) - {"submissions"}):
        raise InvalidInput([FieldError(unknown[0], whole[unknown[0]], "a known field: submissions")])
    if not isinstance(given, list) or not given:
        raise InvalidInput([FieldError("submissions", given, "a list of at least one submission")])
    if len(given) > MAX_SUBMISSIONS:
        raise InvalidInput(
            [FieldError("submissions", f"{len(given)} items", f"at most {MAX_SUBMISSIONS} items")]
        )
    return given


async def _checked(given: Sequence[object], clock: Clock) -> list[Submission | GatewayError]:
    """Checked in slices, so that a large batch does not hold up runs that are due."""
    found: list[Submission | GatewayError] = []
    for start in range(0, len(given), _AT_ONCE):
        if start:
            await clock.sleep(0)
        chunk = given[start : start + _AT_ONCE]
        try:
            found += [submission_of(body) for body in _MANY.validate_python(chunk)]
        except ValidationError:
            found += [_one(value, f"submissions[{start + index}]") for index, value in enumerate(chunk)]
    return found


def _one(value: object, within: str) -> Submission | GatewayError:
    try:
        return submission_of(checked(value, TriggerBody, within=within))
    except InvalidInput as error:
        return error


def run_id_of(outcome: Submitted | InvalidValue, wanted: Submission) -> int:
    if isinstance(outcome, InvalidValue):
        raise outcome
    if not outcome.is_new:
        raise AlreadySubmitted(wanted.task_id or "", outcome.first_id)
    return outcome.run_id


def _result(
    index: int, wanted: Submission | GatewayError, outcome: Submitted | GatewayError
) -> dict[str, object]:
    if isinstance(outcome, InvalidValue):
        outcome = InvalidValue(f"submissions[{index}].{outcome.field}", outcome.value, outcome.expected)
    if isinstance(outcome, GatewayError):
        return {"status": 422, "detail": str(outcome), "errors": errors_of(outcome)}
    result: dict[str, object] = {"status": 202, "run_id": outcome.first_id}
    task_id = wanted.task_id if isinstance(wanted, Submission) else None
    if task_id is not None:
        result["task_id"] = task_id
        if not outcome.is_new:
            result |= {"status": 409, "detail": str(AlreadySubmitted(task_id, outcome.first_id))}
    return result
