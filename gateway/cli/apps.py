"""Commands: apps."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api

_COLUMNS = ("appname", "title", "address_mode", "addresses", "created")


@click.group()
def apps() -> None:
    """Groups of executors that can run the same jobs."""


@apps.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most to list.")
@calls_api
def list_apps(client: Client, limit: int) -> None:
    """List apps."""
    found = list(client.items("/api/v1/apps", query={}, limit=limit))
    show.as_json(found) if client.as_json else show.table(found, _COLUMNS)


@apps.command("show")
@click.argument("appname")
@calls_api
def show_app(client: Client, appname: str) -> None:
    """Show an app."""
    _show(client, client.call("GET", _path(appname)))


@apps.command()
@click.argument("appname")
@click.option("--title", default="", help="What people read.")
@click.option(
    "--address", "addresses", multiple=True, help="A fixed address (repeat it); makes the app manual."
)
@calls_api
def create(client: Client, appname: str, title: str, addresses: tuple[str, ...]) -> None:
    """Create an app."""
    mode = "manual" if addresses else "auto"
    body = {"appname": appname, "title": title, "address_mode": mode, "addresses": list(addresses)}
    _show(client, client.call("POST", "/api/v1/apps", body))


@apps.command()
@click.argument("appname")
@click.option("--title", help="What people read.")
@click.option(
    "--address", "addresses", multiple=True, help="A fixed address (repeat it); makes the app manual."
)
@click.option("--auto", is_flag=True, help="Back to the executors that register.")
@calls_api
def update(
    client: Client, appname: str, title: str | None, addresses: tuple[str, ...], *, auto: bool
) -> None:
    """Change an app."""
    body: dict[str, Any] = {}
    if title is not None:
        body["title"] = title
    if addresses:
        body |= {"address_mode": "manual", "addresses": list(addresses)}
    if auto:
        body["address_mode"] = "auto"
    _show(client, client.call("PATCH", _path(appname), body))


@apps.command()
@click.argument("appname")
@calls_api
def delete(client: Client, appname: str) -> None:
    """Delete an app that has no jobs."""
    client.call("DELETE", _path(appname))


@apps.command()
@click.argument("appname")
@calls_api
def executors(client: Client, appname: str) -> None:
    """List the live executors of an app."""
    found = client.call("GET", f"{_path(appname)}/executors")["items"]
    columns = ("address", "state", "dialect", "client", "last_beat", "registered")
    show.as_json(found) if client.as_json else show.table(found, columns)


def _path(appname: str) -> str:
    return f"/api/v1/apps/{quote(appname, safe='')}"


def _show(client: Client, app: Any) -> None:
    show.as_json(app) if client.as_json else show.record(app)
