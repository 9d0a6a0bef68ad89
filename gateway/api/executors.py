"""Handlers: executors of an app, and what people set for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from gateway.api.intake import read_as
from gateway.api.models.executors import ExecutorAnswer, ExecutorBody, ExecutorList, PlacementFields
from gateway.api.render import json_answer, times
from gateway.api.services import SERVICES, Services
from gateway.core.generations import GENERATIONS
from gateway.core.model import App, Executor, Job
from gateway.core.placement import WEIGHT, ExecutorSetting, Placement, SettingChange, address_key


async def page(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    app = await services.apps.get(request.match_info["appname"])
    return json_answer(ExecutorList(items=await _answers(services, app)))


async def change(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    body = await read_as(request, ExecutorBody)
    app = await services.apps.get(request.match_info["appname"])
    await services.apps.set_executor(app, body.address, _change_of(body))
    await services.operations.app_changed(app.id)
    key = address_key(body.address)
    found = {address_key(one.address): one for one in await _answers(services, app, also=key)}
    return json_answer(found[key])


def _change_of(body: ExecutorBody) -> SettingChange:
    """What was given as null is back at its default; what was not given stays."""
    given = body.model_fields_set
    return SettingChange(
        labels=tuple(dict.fromkeys(body.labels or ())) if "labels" in given else None,
        weight=(WEIGHT if body.weight is None else body.weight) if "weight" in given else None,
        draining=bool(body.draining) if "draining" in given else None,
        note=(body.note or "") if "note" in given else None,
    )


async def _answers(services: Services, app: App, also: str = "") -> list[ExecutorAnswer]:
    """Those that are there, and those for which something is set; `also` is listed whatever there is."""
    live = {address_key(one.address): one for one in services.operations.live_executors(app.id)}
    settings = {one.address: one for one in await services.apps.settings_of(app.id)}
    running = await _running(services, app.id)
    keys: Iterable[str] = sorted({*live, *settings, *([also] if also else ())})
    return [
        _answer(
            key,
            live.get(key),
            settings.get(key) or ExecutorSetting(app.id, key),
            running.get(key, 0),
            app.dialect,
        )
        for key in keys
    ]


async def _running(services: Services, app_id: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for address, count in (await services.runs.running_by_address(app_id)).items():
        key = address_key(address)
        found[key] = found.get(key, 0) + count
    return found


def _answer(
    key: str, live: Executor | None, setting: ExecutorSetting, running: int, dialect: str
) -> ExecutorAnswer:
    """`dialect` is that of executors entered by hand."""
    dialect = live.dialect if live else dialect
    return ExecutorAnswer(
        address=live.address if live else key,
        state="online" if live else "offline",
        draining=bool(setting.draining_ms),
        labels=list(setting.labels),
        weight=setting.weight,
        note=setting.note,
        running=running,
        dialect=dialect or None,
        releases=GENERATIONS[dialect].releases if dialect in GENERATIONS else None,
        client=live.client if live else None,
        **times(
            draining_since=setting.draining_ms,
            last_beat=live.last_beat_ms if live else None,
            registered=live.registered_ms if live else None,
        ),
    )


# ------------------------------------------------------------ of jobs


def placement_of(body: PlacementFields) -> Placement:
    return Placement(body.label, body.label_fallback) if body.label else Placement()


def placement_fields(job: Job) -> dict[str, Any]:
    """The part of the body that would create it."""
    return {"label": job.placement.label or None, "label_fallback": job.placement.fallback}
