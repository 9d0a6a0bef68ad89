"""Handler: triggering a job. Programs call it thousands of times a second, so it does nothing it need not."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import parsed, read_body
from gateway.api.jobs import job_id_in
from gateway.api.models.jobs import TriggerBody
from gateway.api.render import JSON
from gateway.api.services import SERVICES
from gateway.core.model import TriggerKind

_PLAIN = TriggerBody()


async def trigger(request: web.Request) -> web.Response:
    body = await read_body(request)
    wanted = _PLAIN if body in (b"", b"{}") else parsed(body, TriggerBody)
    run_id = await request.app[SERVICES].operations.trigger(
        job_id_in(request),
        params=wanted.params,
        addresses=None if wanted.addresses is None else tuple(wanted.addresses),
        task_id=wanted.task_id,
        kind=TriggerKind.API,
    )
    return web.Response(status=202, body=b'{"run_id":%d}' % run_id, content_type=JSON)
