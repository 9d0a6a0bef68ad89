"""Command: why a job ran, waits or does not run."""

from __future__ import annotations

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api


@click.command()
@click.argument("job_id", type=int)
@click.option(
    "--at",
    help="The instant: 'yyyy-MM-dd HH:mm:ss' in the job's time zone, ISO 8601 or milliseconds; now if left out.",
)
@calls_api
def explain(client: Client, job_id: int, at: str | None) -> None:
    """Why a job ran, runs late, waits or does not run at an instant, past or future."""
    answer = client.call("GET", f"/api/v1/jobs/{job_id}/explain", query={"at": at})
    if client.as_json:
        show.as_json(answer)
        return
    click.echo(answer["answer"])
    for fact in answer["facts"]:
        click.echo(f"  {fact['kind'].replace('_', ' ')}: {fact['text']}")
