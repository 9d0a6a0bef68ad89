"""`/user/*`: users, for admins."""

from __future__ import annotations

from dataclasses import replace

from compat.admin.calls import Call
from compat.admin.generations import Generation
from compat.admin.paging import window_of
from compat.admin.replies import Json, Rows
from gateway.core.errors import Conflict, InvalidValue
from gateway.core.users import Role, User, app_ids_of, app_ids_text, require_password, require_username


async def page(call: Call) -> Json:
    call.require_admin()
    name, role = (call.given.text("username") or "").strip().lower(), call.given.number("role", -1)
    found = [
        user
        for user in await call.ports.users.all_users()
        if name in user.username.lower() and role in (-1, int(user.role))
    ]
    window = window_of(call.given)
    shown = found[window.start : window.start + window.length]
    return Rows(len(found), [_row(call, user) for user in shown])


async def add(call: Call) -> Json:
    call.require_admin()
    username = (call.given.text("username") or "").strip()
    password = call.given.text("password") or ""
    require_username(username)
    require_password(password)
    user = User(0, username, _role(call), await _app_ids(call))
    await call.ports.users.create(user, password)


async def update(call: Call) -> Json:
    """The password only if there is one. Not oneself, so that no admin locks everybody out."""
    call.require_admin()
    user = await call.ports.users.by_id(call.given.number("id"))
    _require_other(call, user.id)
    password = call.given.text("password") or ""
    if password:
        require_password(password)
    changed = await call.ports.users.update(replace(user, role=_role(call), app_ids=await _app_ids(call)))
    if password:
        await call.ports.users.set_password(changed, password)


async def remove(call: Call) -> Json:
    call.require_admin()
    ids = call.given.ids()
    for user_id in ids:
        _require_other(call, user_id)
    for user_id in ids:
        await call.ports.users.remove(user_id)


def _require_other(call: Call, user_id: int) -> None:
    if user_id == call.user.id:
        raise Conflict("nobody changes or removes the account they are logged in with")


def _role(call: Call) -> Role:
    number = call.given.number("role", 0)
    if number not in list(Role):
        raise InvalidValue("role", number, "1 for admin, 0 for normal")
    return Role(number)


async def _app_ids(call: Call) -> frozenset[int]:
    text = (call.given.text("permission") or "").replace(" ", "")
    for one in filter(None, text.split(",")):
        if not (one.isascii() and one.isdigit() and len(one) < 10):
            raise InvalidValue("permission", one[:100], "ids of executors (jobGroup), separated by commas")
    wanted = frozenset((await call.ports.apps.ids_of(app_ids_of(text))).values())
    missing = wanted - set(await call.ports.apps.names(wanted))
    if missing:
        raise InvalidValue("permission", min(missing), f"ids of executors: there is no {min(missing)}")
    return wanted


def _row(call: Call, user: User) -> Json:
    row = {
        "id": user.id,
        "username": user.username,
        "password": None,
        "role": int(user.role),
        "permission": app_ids_text(user.app_ids) or None,
    }
    return row if call.style.generation is Generation.G2 else row | {"token": None}
