"""Handler: proof. The work of a call is bounded: it ends with the job that has used it up."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from gateway.api.intake import query_as
from gateway.api.models.proof import (
    MOST_DAYS,
    GapsAnswer,
    Instants,
    JobProofAnswer,
    ProofAnswer,
    ProofQuery,
    TotalAnswer,
)
from gateway.api.render import JSON
from gateway.api.services import SERVICES, Services
from gateway.core.clock import iso_utc
from gateway.core.daily import DAY_MS
from gateway.core.errors import InvalidValue, NotFound
from gateway.core.evidence import MOST_SLOTS
from gateway.core.proof import MOST_SHOWN, JobProof, Total


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    query = query_as(request, ProofQuery)
    now_ms = services.clock.now_ms()
    to_ms = min(now_ms if query.to is None else query.to, now_ms)
    from_ms = to_ms - DAY_MS if query.from_ is None else query.from_
    if from_ms >= to_ms:
        raise InvalidValue("from", iso_utc(from_ms), f"an instant before {iso_utc(to_ms)}")
    if to_ms - from_ms > MOST_DAYS * DAY_MS:
        raise InvalidValue("from", iso_utc(from_ms), f"at most {MOST_DAYS} days before {iso_utc(to_ms)}")
    if query.job_id is not None:
        found = [await services.proofs.prove(query.job_id, from_ms, to_ms)]
        last_id = None
    else:
        app_id = None if query.app is None else (await services.apps.get(query.app)).id
        after_id = _job_in(query.cursor)
        found, last_id = await _several(services, app_id, after_id, query.limit, from_ms, to_ms)
    total = Total()
    for one in found:
        total.add(one)
    answer = ProofAnswer(
        from_=iso_utc(from_ms),
        from_ms=from_ms,
        to=iso_utc(to_ms),
        to_ms=to_ms,
        total=TotalAnswer(**asdict(total)),
        items=[_answer(one) for one in found if not (query.wrong and one.is_right)],
        next_cursor=None if last_id is None else f"p{last_id:x}",
    )
    return web.Response(body=answer.model_dump_json(by_alias=True).encode(), content_type=JSON)


async def _several(
    services: Services, app_id: int | None, after_id: int, limit: int, from_ms: int, to_ms: int
) -> tuple[list[JobProof], int | None]:
    """Jobs one after the other, and the last of them if there are more."""
    job_ids = await services.proofs.jobs(app_id, after_id, limit, from_ms, to_ms)
    found: list[JobProof] = []
    slots = 0
    for job_id in job_ids:
        try:
            one = await services.proofs.prove(job_id, from_ms, to_ms)
        except NotFound:  # it was deleted at this moment, with all that was left of it
            continue
        except InvalidValue:
            one = JobProof(job_id)
            one.unproven[f"more than {MOST_SLOTS} slots: ask for this job and a shorter range"] += 1
            slots += MOST_SLOTS
        found.append(one)
        slots += one.expected
        if slots >= MOST_SLOTS:
            return found, job_id
    return found, job_ids[-1] if len(job_ids) == limit else None


def _job_in(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        if cursor[:1] == "p" and len(cursor) < 12:
            return int(cursor[1:], 16)
    except ValueError:
        pass
    raise InvalidValue("cursor", cursor, "the next_cursor of a page of this list")


def _answer(one: JobProof) -> JobProofAnswer:
    return JobProofAnswer(
        job_id=one.job_id,
        name=one.name,
        right=one.is_right,
        expected=one.expected,
        fired=one.fired,
        early=one.early,
        late=one.late,
        lateness_max_ms=one.lateness_max_ms,
        lateness_avg_ms=round(one.lateness_ms / one.fired, 1) if one.fired else None,
        waiting=one.waiting,
        skipped=dict(one.skipped),
        not_sent=dict(one.not_sent),
        missing=_instants(one.missing),
        duplicate=_instants(one.duplicate),
        unexpected=_instants(one.unexpected),
        unproven=dict(one.unproven),
        gaps=None if one.gaps is None else GapsAnswer(**asdict(one.gaps)),
    )


def _instants(found: list[int]) -> Instants:
    return Instants(count=len(found), first=[iso_utc(at) for at in found[:MOST_SHOWN]])
