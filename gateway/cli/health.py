"""Command: is the gateway well."""

from __future__ import annotations

import json

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import FAILED, Failure


@click.command()
@calls_api
def health(client: Client) -> int:
    """Whether the gateway schedules; the exit code is 1 if it does not."""
    status, text = client.ask("GET", "/readyz")
    try:
        answer = json.loads(text)
    except ValueError:
        raise Failure(f"this is not a gateway: it answered {status}") from None
    if client.as_json:
        show.as_json(answer)
    else:
        click.echo("\n".join([answer["status"], *answer["problems"]]))
    return 0 if status == 200 else FAILED
