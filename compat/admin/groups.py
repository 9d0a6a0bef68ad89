"""`/jobgroup/*`: apps, which XXL-JOB calls executors or groups."""

from __future__ import annotations

import re
from dataclasses import replace

from compat import dialects
from compat.admin.calls import Call
from compat.admin.paging import MOST_SEARCH, window_of
from compat.admin.parameters import Parameters
from compat.admin.replies import Json, Rows
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.model import DEFAULT_NAMESPACE, AddressMode, App
from gateway.core.placement import address_key
from gateway.core.positions import AppSearch

_APPNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MOST_TITLE = 128
_MOST_ADDRESSES = 1000
_MODES = {0: AddressMode.AUTO, 1: AddressMode.MANUAL}


async def page(call: Call) -> Json:
    """A normal user sees its own."""
    given = call.given
    search = AppSearch(
        app_ids=None if call.user.is_admin else call.user.app_ids,
        appname=(given.text("appname", "appName", most=MOST_SEARCH) or "").strip(),
        title=(given.text("title", "name", most=MOST_SEARCH) or "").strip(),
    )
    found = await call.ports.positions.apps(search, window_of(given))
    return Rows(found.total, [row(call, one) for one in found.items])


async def save(call: Call) -> Json:
    call.require_admin()
    app = _app_of(call.given, App(0, DEFAULT_NAMESPACE, "", "", AddressMode.AUTO, (), 0, 0))
    made = await call.ports.apps.create(app)
    await call.ports.operations.app_changed(made.id)


async def update(call: Call) -> Json:
    call.require_admin()
    old = await app_by_id(call, await call.app_id("id"))
    changed = _app_of(call.given, old)
    if changed.appname != old.appname:
        raise InvalidValue("appname", changed.appname, f"{old.appname!r}: it cannot be changed")
    app, moved = await call.ports.apps.update(changed)
    await call.ports.operations.app_changed(app.id, moved)


async def remove(call: Call) -> Json:
    call.require_admin()
    ids = call.given.ids()
    for other, app_id in (await call.ports.apps.ids_of(ids)).items():
        if other != app_id:
            raise Conflict(
                f"{other} is another id of the executor (jobGroup) {app_id}, which goes by its own"
            )
    for app_id in ids:
        await call.ports.apps.delete(app_id)
        await call.ports.operations.app_changed(app_id)


async def load(call: Call) -> Json:
    app_id = await call.app_id("id")
    call.require_app(app_id)
    return row(call, await app_by_id(call, app_id))


async def app_by_id(call: Call, app_id: int) -> App:
    """Raises `NotFound`."""
    names = await call.ports.apps.names([app_id])
    app = await call.ports.apps.get(names[app_id]) if app_id in names else None
    if app is None or app.id != app_id:
        raise NotFound("executor (jobGroup)", app_id)
    return app


async def known_addresses(call: Call, app: App) -> frozenset[str]:
    """As keys: those that are alive, those that people have listed, those that people have said something about."""
    found = {one.address for one in call.ports.operations.live_executors(app.id)}
    found.update(app.addresses)
    found.update(one.address for one in await call.ports.apps.settings_of(app.id))
    return frozenset(map(address_key, found))


def row(call: Call, app: App) -> Json:
    """The addresses of an app that registers are those that are alive, null when none is.

    One without a title is shown under its name, which clients look for among both.
    """
    addresses = list(app.addresses)
    if app.address_mode is AddressMode.AUTO:
        addresses = sorted(one.address for one in call.ports.operations.live_executors(app.id))
    return {
        "id": app.id,
        "appname": app.appname,
        "title": app.title or app.appname,
        "addressType": 1 if app.address_mode is AddressMode.MANUAL else 0,
        "addressList": ",".join(addresses) or None,
        "updateTime": call.style.date(app.updated_ms),
        "registryList": addresses or None,
    }


def _app_of(given: Parameters, base: App) -> App:
    appname = (given.text("appname", "appName") or "").strip()
    if not _APPNAME.fullmatch(appname):
        raise InvalidValue("appname", appname, "1 to 64 letters, digits, '.', '_' or '-'")
    title = (given.text("title", "name") or "").strip()
    if not base.title and base.id and title in ("", base.appname):
        title = ""  # as it was shown
    elif not title or len(title) > _MOST_TITLE or "<" in title or ">" in title:
        raise InvalidValue("title", title, f"1 to {_MOST_TITLE} characters without '<' and '>'")
    mode = _MODES.get(given.number("addressType", 0))
    if mode is None:
        raise InvalidValue("addressType", given.text("addressType"), "0 (they register) or 1 (addressList)")
    addresses = addresses_of(given.text("addressList") or "", "addressList") if mode is _MODES[1] else ()
    if mode is AddressMode.MANUAL and not addresses:
        raise InvalidValue("addressList", "", "at least one address, since addressType is 1")
    return replace(base, appname=appname, title=title, address_mode=mode, addresses=addresses)


def addresses_of(text: str, field: str) -> tuple[str, ...]:
    """Separated by commas; one without a scheme is http, as old admins kept them. Raises `InvalidValue`."""
    found: dict[str, None] = {}
    for one in filter(None, map(str.strip, text.split(","))):
        try:
            found[dialects.normal_address(one if "://" in one else f"http://{one}")] = None
        except InvalidValue as error:
            raise InvalidValue(field, one, error.expected) from None
    if len(found) > _MOST_ADDRESSES:
        raise Conflict(f"{field}: at most {_MOST_ADDRESSES} addresses")
    return tuple(found)
