"""Commands: pauses, of a job, of an app, of everything."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from gateway.cli import show
from gateway.cli.apps import apps
from gateway.cli.client import Client, calls_api
from gateway.cli.jobs import jobs

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("scope", "app", "job_id", "reason", "author", "created", "until")


def _pause_options(command: F) -> F:
    """Give a command the options of a pause, and the body they make as its `body`."""

    @click.option("--reason", default="", help="Why; whoever is refused reads it.")
    @click.option("--until", help="When it ends by itself: ISO 8601 with an offset, or milliseconds.")
    @click.option("--for", "for_s", help="Instead: how long it lasts, such as 2h.")
    @functools.wraps(command)
    def with_body(*args: Any, reason: str, until: str | None, for_s: str | None, **rest: Any) -> Any:
        given = {"reason": reason, "until": until, "for_s": for_s}
        return command(*args, body={name: one for name, one in given.items() if one is not None}, **rest)

    return with_body  # type: ignore[return-value]


@click.command()
@_pause_options
@calls_api
def pause(client: Client, body: dict[str, Any]) -> None:
    """Let nothing new start at all; what runs goes on."""
    _begin(client, "/api/v1", body)


@click.command()
@calls_api
def resume(client: Client) -> None:
    """End the pause of everything."""
    client.call("POST", "/api/v1/resume")


@jobs.command("pause")
@click.argument("job_id", type=int)
@_pause_options
@calls_api
def pause_job(client: Client, job_id: int, body: dict[str, Any]) -> None:
    """Let nothing new of a job start, by its slots or otherwise; what runs goes on."""
    _begin(client, f"/api/v1/jobs/{job_id}", body)


@jobs.command("resume")
@click.argument("job_id", type=int)
@calls_api
def resume_job(client: Client, job_id: int) -> None:
    """End the pause of a job; what waited goes on."""
    client.call("POST", f"/api/v1/jobs/{job_id}/resume")


@apps.command("pause")
@click.argument("appname")
@_pause_options
@calls_api
def pause_app(client: Client, appname: str, body: dict[str, Any]) -> None:
    """Let nothing new of an app's jobs start; what runs goes on."""
    _begin(client, f"/api/v1/apps/{quote(appname, safe='')}", body)


@apps.command("resume")
@click.argument("appname")
@calls_api
def resume_app(client: Client, appname: str) -> None:
    """End the pause of an app; what waited goes on."""
    client.call("POST", f"/api/v1/apps/{quote(appname, safe='')}/resume")


@click.command()
@calls_api
def pauses(client: Client) -> None:
    """List the pauses in force."""
    found = client.call("GET", "/api/v1/pauses")["items"]
    show.rows(client, found, _COLUMNS)


def _begin(client: Client, path: str, body: dict[str, Any]) -> None:
    made = client.call("POST", f"{path}/pause", body)
    show.row(client, made, _COLUMNS)
