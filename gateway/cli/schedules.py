"""Commands: schedules."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.jobs import job_fields


@click.group()
def schedules() -> None:
    """What a schedule would do, without a job."""


@schedules.command()
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--from", "from_", help="ISO 8601 with an offset; now if left out.")
@click.option("--show-in", help="In which zone to show times.")
@job_fields
@calls_api
def preview(client: Client, body: dict[str, Any], count: int, from_: str | None, show_in: str | None) -> None:
    """When a schedule would fire, with all that bounds it: the options are those of a job."""
    wanted = {name: body[name] for name in _FIELDS if name in body}
    wanted |= {"count": count, "from": from_, "timezone": show_in}
    given = {name: value for name, value in wanted.items() if value is not None}
    answer = client.call("POST", "/api/v1/schedules/preview", given)
    show.as_json(answer) if client.as_json else show.fires(answer)


_FIELDS = ("schedule", "window", "exclusions", "calendar", "jitter_s", "data_offset_s")
