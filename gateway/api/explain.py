"""Handler: why a job ran, waits or does not run."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.api.intake import query_as
from gateway.api.jobs import job_id_in
from gateway.api.models.explain import ExplainAnswer, ExplainQuery, FactAnswer
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES
from gateway.core.facts import Fact


async def of_job(request: web.Request) -> web.Response:
    job_id = job_id_in(request)
    query = query_as(request, ExplainQuery)
    at_ms, found = await request.app[SERVICES].explainer.explain(job_id, query.at)
    return json_answer(
        ExplainAnswer(
            job_id=job_id,
            verdict=found.verdict,
            answer=found.answer,
            run_id=found.run_id,
            facts=[_fact(fact) for fact in found.facts],
            **times(at=at_ms, slot=found.slot_ms),
        )
    )


def _fact(fact: Fact) -> FactAnswer:
    more: dict[str, Any] = {**fact.fields, **times(**fact.times)}
    return FactAnswer(kind=fact.kind, text=fact.text, **more)
