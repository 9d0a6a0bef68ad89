"""Handlers: the nodes of this database."""

from __future__ import annotations

from aiohttp import web

from gateway.api.models.system import NodeAnswer, NodeList
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES
from gateway.core.cluster import NodeRecord
from gateway.core.errors import NotFound


async def page(request: web.Request) -> web.Response:
    found = await request.app[SERVICES].nodes.all_nodes()
    return json_answer(NodeList(nodes=[_answer(record) for record in found]))


async def drain(request: web.Request) -> web.Response:
    return await _set_draining(request, draining=True)


async def resume(request: web.Request) -> web.Response:
    return await _set_draining(request, draining=False)


async def _set_draining(request: web.Request, *, draining: bool) -> web.Response:
    name = request.match_info["name"]
    nodes = request.app[SERVICES].nodes
    await nodes.drain(name, draining=draining)
    for record in await nodes.all_nodes():
        if record.name == name:
            return json_answer(_answer(record))
    raise NotFound("node", name)


def _answer(record: NodeRecord) -> NodeAnswer:
    return NodeAnswer(
        name=record.name,
        state=record.state,
        parts=record.parts,
        control_address=record.address,
        version=record.version,
        clock_offset_ms=record.clock_offset_ms,
        clock_right=record.fit,
        **times(started=record.started_ms, seen=record.seen_ms),
    )
