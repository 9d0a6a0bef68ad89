"""Command: events."""

from __future__ import annotations

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api

_COLUMNS = ("at", "level", "source_type", "source", "name", "reason", "author", "text")


@click.command()
@click.option("--level", help="One or more of info, warn, error, by comma.")
@click.option("--source-type", help="job, app, run, executor, node, calendar, token, namespace or system.")
@click.option("--source", help="The id of a job, an appname, an executor's address, a name.")
@click.option("--reason", help="One word, such as changed or run_lost.")
@click.option("--author", help="The name of a token, or system.")
@click.option("--text", help="A part of the text or of the source's name.")
@click.option("--from", "from_", help="At or after: ISO 8601 with an offset.")
@click.option("--to", help="Before.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most to list.")
@calls_api
def events(client: Client, limit: int, from_: str | None, **given: str | None) -> None:
    """What people changed and what the scheduler noticed, newest first."""
    found = list(client.items("/api/v1/events", query={**given, "from": from_}, limit=limit))
    show.rows(client, found, _COLUMNS)
