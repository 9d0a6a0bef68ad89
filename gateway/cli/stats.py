"""Commands: counts of days."""

from __future__ import annotations

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api

_COLUMNS = (
    "day",
    "runs",
    "succeeded",
    "failed",
    "timed_out",
    "lost",
    "retrying",
    "skipped_slots",
    "late",
    "lateness_avg_ms",
    "duration_avg_ms",
)


@click.group()
def stats() -> None:
    """How runs went, from counts that outlive them."""


@stats.command()
@click.option("--job", "job_id", type=int, help="Of this job.")
@click.option("--app", help="Of this appname.")
@click.option("--from", "from_", help="The first day, such as 2026-11-21; 29 before the last if left out.")
@click.option("--to", help="The last day; today if left out.")
@calls_api
def daily(client: Client, from_: str | None, **given: str | int | None) -> None:
    """Count the runs that ended on each day of UTC."""
    days = client.call("GET", "/api/v1/stats/daily", query={**given, "from": from_})["days"]
    show.rows(client, days, _COLUMNS)
