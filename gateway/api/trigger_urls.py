"""Handlers: the addresses that start a job. Calls of them are answered by `hooks`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.api.intake import path_id, read_as
from gateway.api.jobs import job_id_in
from gateway.api.models.base import MAX_ID
from gateway.api.models.trigger_urls import (
    NewUrlAnswer,
    RestrictionAnswer,
    UrlAnswer,
    UrlBody,
    UrlList,
    UrlRulesBody,
)
from gateway.api.render import json_answer, nothing, times
from gateway.api.services import SERVICES, Services
from gateway.core.errors import Conflict, NotFound
from gateway.core.trigger_url import Caller, Restriction, Rules, Said, TriggerUrl, UrlKind, caller_of

PATH = "/t/"


async def create(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, UrlBody)
    kind = UrlKind(body.kind)
    if kind is UrlKind.PRIVATE and not services.hooks.private_url:
        raise Conflict(
            "this gateway has no private listener: a private URL needs the setting private_trigger_listen"
        )
    url, secret = await services.trigger_urls.create(job_id_in(request), kind, _rules(body))
    return json_answer(_new(request, services, url, secret), 201)


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    job = await services.jobs.get(job_id_in(request))
    found = await services.trigger_urls.of_job(job.id)
    return json_answer(UrlList(items=[UrlAnswer(**_fields(url)) for url in found]))


async def change(request: web.Request) -> web.Response:
    body = await read_as(request, UrlRulesBody)
    changed = await request.app[SERVICES].trigger_urls.change(
        job_id_in(request), _url_id(request), _rules(body)
    )
    return json_answer(UrlAnswer(**_fields(changed)))


async def rotate(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    url, secret = await services.trigger_urls.rotate(job_id_in(request), _url_id(request))
    return json_answer(_new(request, services, url, secret))


async def delete(request: web.Request) -> web.Response:
    await request.app[SERVICES].trigger_urls.delete(job_id_in(request), _url_id(request))
    return nothing()


def caller_in(request: web.Request) -> Caller:
    """Who makes this call, as far as trusted proxies say so."""
    headers = request.headers
    said = Said(
        ",".join(headers.getall("X-Forwarded-For", ())),
        ",".join(headers.getall("X-Forwarded-Proto", ())),
        headers.get("Origin") or headers.get("Referer") or "",
    )
    return caller_of(request.scheme, request.remote, said, request.app[SERVICES].hooks.trusted)


def _url_id(request: web.Request) -> int:
    url_id = path_id(request, "url_id")
    if url_id > MAX_ID:
        raise NotFound("trigger URL", url_id)
    return url_id


def _rules(body: UrlRulesBody) -> Rules:
    restriction = body.restriction
    return Rules(
        tuple(body.methods),
        tuple(body.schemes),
        Restriction(restriction.kind),
        tuple(restriction.domains or restriction.cidrs),
    )


def _new(request: web.Request, services: Services, url: TriggerUrl, secret: str) -> NewUrlAnswer:
    base = services.hooks.private_url
    if url.kind is UrlKind.PUBLIC:
        # As this caller reaches us: only it sees the answer.
        base = f"{caller_in(request).scheme}://{request.host}"
    return NewUrlAnswer(path=PATH + secret, url=base + PATH + secret, **_fields(url))


def _fields(url: TriggerUrl) -> dict[str, Any]:
    rules = url.rules
    allowed = list(rules.allowed)
    return {
        "id": url.id,
        "job_id": url.job_id,
        "kind": url.kind.value,
        "methods": list(rules.methods),
        "schemes": list(rules.schemes),
        "restriction": RestrictionAnswer(
            kind=rules.restriction.value,
            domains=allowed if rules.restriction is Restriction.DOMAIN else [],
            cidrs=allowed if rules.restriction is Restriction.CIDR else [],
        ),
        "author": url.author,
        **times(created=url.created_ms, rotated=url.rotated_ms),
    }
