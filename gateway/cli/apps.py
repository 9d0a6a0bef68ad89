"""Commands: apps."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.core.generations import GENERATIONS

_COLUMNS = ("appname", "title", "address_mode", "addresses", "max_running", "starts_per_second", "created")
_NONE = "none"


def _limit(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    """A number, or `none` to lift the limit; the server says what it may be."""
    if value is None or value == _NONE:
        return value
    try:
        return int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not valid: a number, or none for no limit") from None


def limit_options(command: Any) -> Any:
    rate, most = "Most starts in any second, or none.", "Most runs at once, over all jobs, or none."
    command = click.option("--starts-per-second", callback=_limit, help=rate)(command)
    return click.option("--max-running", callback=_limit, help=most)(command)


def _limits(max_running: Any, starts_per_second: Any) -> dict[str, Any]:
    given = {"max_running": max_running, "starts_per_second": starts_per_second}
    return {name: None if value == _NONE else value for name, value in given.items() if value is not None}


@click.group()
def apps() -> None:
    """Groups of executors that can run the same jobs."""


@apps.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most to list.")
@calls_api
def list_apps(client: Client, limit: int) -> None:
    """List apps."""
    found = list(client.items("/api/v1/apps", query={}, limit=limit))
    show.rows(client, found, _COLUMNS)


@apps.command("show")
@click.argument("appname")
@calls_api
def show_app(client: Client, appname: str) -> None:
    """Show an app."""
    show.one(client, client.call("GET", _path(appname)))


def old_options(command: Any) -> Any:
    """What executors before 2.2.0 need."""
    options = (
        click.option(
            "--dialect",
            type=click.Choice([*GENERATIONS, "none"]),
            help="Generation of executors at the fixed addresses that do not register: `form14` 1.4, `form15` 1.5, `netcom16` 1.6 to 1.7.1.",
        ),
        click.option(
            "--tokenless-from",
            "tokenless_from",
            multiple=True,
            help="Address or network of executors up to 1.8.0, let in without a token (repeat it); `none`: none.",
        ),
        click.option(
            "--int-log-ids/--long-log-ids",
            "int_log_ids",
            default=None,
            help="Log ids of 32 bits, for up to 2.1.0.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _old(dialect: str | None, tokenless_from: tuple[str, ...], int_log_ids: bool | None) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if dialect is not None:
        body["dialect"] = None if dialect == "none" else dialect
    if tokenless_from:
        body["tokenless_from"] = [] if tokenless_from == ("none",) else list(tokenless_from)
    if int_log_ids is not None:
        body["int_log_ids"] = int_log_ids
    return body


@apps.command()
@click.argument("appname")
@click.option("--title", default="", help="What people read.")
@click.option(
    "--address", "addresses", multiple=True, help="A fixed address (repeat it); makes the app manual."
)
@limit_options
@old_options
@calls_api
def create(
    client: Client,
    appname: str,
    title: str,
    addresses: tuple[str, ...],
    max_running: Any,
    starts_per_second: Any,
    dialect: str | None,
    tokenless_from: tuple[str, ...],
    *,
    int_log_ids: bool | None,
) -> None:
    """Create an app."""
    mode = "manual" if addresses else "auto"
    body = {"appname": appname, "title": title, "address_mode": mode, "addresses": list(addresses)}
    body |= _limits(max_running, starts_per_second) | _old(dialect, tokenless_from, int_log_ids)
    show.one(client, client.call("POST", "/api/v1/apps", body))


@apps.command()
@click.argument("appname")
@click.option("--title", help="What people read.")
@click.option(
    "--address", "addresses", multiple=True, help="A fixed address (repeat it); makes the app manual."
)
@click.option("--auto", is_flag=True, help="Back to the executors that register.")
@limit_options
@old_options
@calls_api
def update(
    client: Client,
    appname: str,
    title: str | None,
    addresses: tuple[str, ...],
    max_running: Any,
    starts_per_second: Any,
    dialect: str | None,
    tokenless_from: tuple[str, ...],
    *,
    auto: bool,
    int_log_ids: bool | None,
) -> None:
    """Change an app; `none` lifts a limit."""
    body = _limits(max_running, starts_per_second) | _old(dialect, tokenless_from, int_log_ids)
    if title is not None:
        body["title"] = title
    if addresses:
        body |= {"address_mode": "manual", "addresses": list(addresses)}
    if auto:
        body["address_mode"] = "auto"
    show.one(client, client.call("PATCH", _path(appname), body))


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
    """List the executors of an app, and those for which something is set."""
    found = client.call("GET", f"{_path(appname)}/executors")["items"]
    columns = (
        *("address", "state", "draining", "running", "labels", "weight", "dialect", "releases", "client"),
        *("last_beat", "registered", "note"),
    )
    show.rows(client, found, columns)


@apps.command("executor-set")
@click.argument("appname")
@click.argument("address")
@click.option("--label", "labels", multiple=True, help="All its labels (repeat it; '' for none).")
@click.option("--weight", type=int, help="Its share of the runs of jobs with the route WEIGHTED; 0 for none.")
@click.option("--drain/--undrain", "draining", default=None, help="No new runs; those that run finish.")
@click.option("--note", help="Why, for people.")
@calls_api
def executor_set(
    client: Client,
    appname: str,
    address: str,
    labels: tuple[str, ...],
    weight: int | None,
    note: str | None,
    *,
    draining: bool | None,
) -> None:
    """Set labels, weight, draining or a note of an executor; what is left out stays."""
    given = {"weight": weight, "draining": draining, "note": note}
    body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if labels:
        body["labels"] = [label for label in labels if label]
    show.one(client, client.call("PATCH", f"{_path(appname)}/executors", {"address": address, **body}))


@apps.command()
@click.argument("appname")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="How many to show."
)
@calls_api
def queue(client: Client, appname: str, limit: int) -> None:
    """List the runs of an app that wait for a place, the next one first."""
    found = client.call("GET", f"{_path(appname)}/queue", query={"limit": limit})
    if client.as_json:
        show.as_json(found)
        return
    most = "any number" if found["max_running"] is None else found["max_running"]
    click.echo(f"{found['running']} of {most} under way, {found['waiting']} waiting")
    columns = ("position", "run_id", "job_id", "priority", "due", "waited_ms", "predicted_start", "reason")
    show.table(found["items"], columns)


def _path(appname: str) -> str:
    return f"/api/v1/apps/{quote(appname, safe='')}"
