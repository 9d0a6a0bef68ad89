"""Commands: users of the admin web endpoints."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api

_old_cookie = click.option(
    "--old-cookie",
    is_flag=True,
    help="Take the cookie that an old xxl-job-admin makes of the password's MD5 for a login.",
)
_from_stdin = click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from standard input, not a prompt.",
)
_role = click.Choice(["admin", "normal"])


@click.group()
def users() -> None:
    """Who may use the admin web endpoints, as xxl-job-admin's scripts do."""


@users.command("list")
@calls_api
def list_users(client: Client) -> None:
    """List users."""
    found = client.call("GET", "/api/v1/users")["items"]
    show.rows(client, found, ("username", "role", "apps", "old_cookie"))


@users.command()
@click.argument("username")
@click.option("--role", type=_role, default="normal", show_default=True)
@click.option("--app", "apps", multiple=True, help="An app that a normal user may use (repeat it).")
@_old_cookie
@_from_stdin
@calls_api
def add(
    client: Client, username: str, role: str, apps: tuple[str, ...], *, old_cookie: bool, from_stdin: bool
) -> None:
    """Make a user; the password is asked for."""
    body = {"username": username, "role": role, "apps": list(apps), "old_cookie": old_cookie}
    body["password"] = _password(from_stdin=from_stdin)
    _show(client, client.call("POST", "/api/v1/users", body))


@users.command()
@click.argument("username")
@_old_cookie
@_from_stdin
@calls_api
def passwd(client: Client, username: str, *, old_cookie: bool, from_stdin: bool) -> None:
    """Set a password, which is asked for; all sessions of the user end."""
    body = {"password": _password(from_stdin=from_stdin), "old_cookie": old_cookie}
    _show(client, client.call("PUT", f"{_path(username)}/password", body))


@users.command()
@click.argument("username")
@click.option("--role", type=_role)
@click.option("--app", "apps", multiple=True, help="Instead of those so far (repeat it).")
@click.option("--no-apps", is_flag=True, help="None any more.")
@calls_api
def update(client: Client, username: str, role: str | None, apps: tuple[str, ...], *, no_apps: bool) -> None:
    """Change the role or the apps of a user."""
    body: dict[str, Any] = {} if role is None else {"role": role}
    if apps or no_apps:
        body["apps"] = list(apps)
    _show(client, client.call("PATCH", _path(username), body))


@users.command()
@click.argument("username")
@calls_api
def remove(client: Client, username: str) -> None:
    """Remove a user, whose sessions end."""
    client.call("DELETE", _path(username))


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _path(username: str) -> str:
    return f"/api/v1/users/{quote(username, safe='')}"


def _show(client: Client, answer: dict[str, Any]) -> None:
    for warning in answer.pop("warnings"):
        click.echo(f"warning: {warning}", err=True)
    show.one(client, answer)
