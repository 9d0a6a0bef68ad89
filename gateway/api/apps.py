"""Handlers: apps."""

from __future__ import annotations

from aiohttp import web

from gateway.api.intake import checked, query_as, read_as, read_object
from gateway.api.models.apps import AppBody, AppList, AppQuery
from gateway.api.patching import merged
from gateway.api.render import app_answer, json_answer, nothing
from gateway.api.services import SERVICES, Services
from gateway.core.errors import InvalidValue
from gateway.core.model import DEFAULT_NAMESPACE, AddressMode, App


async def create(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    app = await services.apps.create(app_of(await read_as(request, AppBody)))
    await services.operations.app_changed(app.id)
    return json_answer(app_answer(app), 201)


async def page(request: web.Request) -> web.Response:
    query = query_as(request, AppQuery)
    services = request.app[SERVICES]
    found = await services.apps.page(cursor=query.cursor, limit=query.limit)
    others = await services.apps.other_ids([app.id for app in found.items])
    items = [app_answer(app, others.get(app.id, ())) for app in found.items]
    return json_answer(AppList(items=items, next_cursor=found.next_cursor))


async def get(request: web.Request) -> web.Response:
    return await _answer(request.app[SERVICES], await _named(request))


async def patch(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    change = await read_object(request)
    old = await _named(request)
    present = {
        "appname": old.appname,
        "title": old.title,
        "address_mode": old.address_mode.value,
        "max_running": old.max_running,
        "starts_per_second": old.starts_per_second,
        "int_log_ids": old.int_ids,
        "dialect": None if change.get("address_mode") == "auto" else old.dialect or None,
        "tokenless_from": list(old.tokenless_from),
        "addresses": [] if change.get("address_mode") == "auto" else list(old.addresses),
    }
    body = checked(merged(present, change), AppBody)
    if body.appname != old.appname:
        raise InvalidValue("appname", body.appname, f"{old.appname!r}: it cannot be changed")
    app, moved = await services.apps.update(app_of(body, old))
    await services.operations.app_changed(app.id, moved)
    return await _answer(services, app)


async def delete(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    app = await _named(request)
    await services.apps.delete(app.id)
    await services.operations.app_changed(app.id)
    return nothing()


async def _answer(services: Services, app: App) -> web.Response:
    others = await services.apps.other_ids([app.id])
    return json_answer(app_answer(app, others.get(app.id, ())))


async def _named(request: web.Request) -> App:
    return await request.app[SERVICES].apps.get(request.match_info["appname"])


def app_of(body: AppBody, old: App | None = None) -> App:
    return App(
        id=old.id if old else 0,
        namespace_id=DEFAULT_NAMESPACE,
        appname=body.appname,
        title=body.title,
        address_mode=AddressMode(body.address_mode),
        addresses=tuple(dict.fromkeys(body.addresses)),
        created_ms=old.created_ms if old else 0,
        updated_ms=0,
        max_running=body.max_running,
        starts_per_second=None if body.starts_per_second is None else float(body.starts_per_second),
        int_ids=body.int_log_ids,
        dialect=body.dialect or "",
        tokenless_from=tuple(dict.fromkeys(body.tokenless_from)),
    )
