"""Endpoints: users of the admin web endpoints."""

from __future__ import annotations

from gateway.api import users
from gateway.api.models.users import PasswordBody, UserAnswer, UserBody, UserChange, UserList
from gateway.api.routes.route import V1, Route

_USER = f"{V1}/users/{{username}}"

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        f"{V1}/users",
        users.create,
        "Create a user of the admin web endpoints",
        {201: UserAnswer},
        UserBody,
        problems=(409,),
    ),
    Route("GET", f"{V1}/users", users.page, "List users", {200: UserList}),
    Route(
        "PATCH",
        _USER,
        users.patch,
        "Change the role or the apps of a user",
        {200: UserAnswer},
        UserChange,
        patch=True,
        problems=(404,),
    ),
    Route(
        "PUT",
        f"{_USER}/password",
        users.set_password,
        "Set a user's password, which ends all sessions",
        {200: UserAnswer},
        PasswordBody,
        problems=(404,),
    ),
    Route("DELETE", _USER, users.remove, "Remove a user, whose sessions end", {204: None}, problems=(404,)),
)
