"""Handler: deleting a job, and what becomes of its runs that are running."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import query_as
from gateway.api.jobs import job_id_in
from gateway.api.models.jobs import DeleteAnswer, DeleteQuery
from gateway.api.render import json_answer, nothing
from gateway.api.services import SERVICES, Services
from gateway.core.errors import Conflict, NotFound, Unreachable
from gateway.core.listing import RunFilter
from gateway.core.states import RunState

_RUNNING = frozenset({RunState.DISPATCHING, RunState.RUNNING, RunState.STOPPING})
_MOST = 500


async def delete(request: web.Request) -> web.Response:
    """What waits ends with the job, in one transaction; what runs is left alone, or stopped afterwards."""
    services = request.app[SERVICES]
    job_id = job_id_in(request)
    query = query_as(request, DeleteQuery)
    await services.jobs.delete(job_id, keep_history=query.keep_history)
    await services.operations.jobs_changed([job_id])
    return nothing() if query.running == "finish" else json_answer(await _stopped(services, job_id))


async def _stopped(services: Services, job_id: int) -> DeleteAnswer:
    found = await services.runs.page(RunFilter(job_id=job_id, states=_RUNNING), cursor=None, limit=_MOST)
    stopping: dict[int, None] = {}
    still_running: list[int] = []
    unreachable: set[str] = set()
    for run in found.items:
        if run.id in stopping:
            continue  # it went with another: a kill takes all of a job on that executor
        if run.address and run.address in unreachable:
            still_running.append(run.id)  # it did not answer a moment ago
            continue
        try:
            report = await services.operations.stop(run.id)
        except Unreachable:
            unreachable.add(run.address)
            still_running.append(run.id)
        except (Conflict, NotFound):
            continue  # it has just ended by itself
        else:
            stopping.update(dict.fromkeys((run.id, *report.also_stopped)))
    return DeleteAnswer(stopping=sorted(stopping), still_running=sorted(set(still_running) - set(stopping)))
