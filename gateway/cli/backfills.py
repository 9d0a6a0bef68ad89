"""Commands: backfills."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api

_COLUMNS = (
    "id",
    "state",
    "from",
    "to",
    "total",
    "started",
    "max_parallel",
    "per_minute",
    "author",
    "created",
)


@click.group()
def backfills() -> None:
    """A past range of a job's slots, run now at a pace of its own."""


@backfills.command()
@click.argument("job_id", type=int)
@click.option("--from", "from_", required=True, help="ISO 8601 with an offset, or milliseconds.")
@click.option("--to", required=True, help="The first instant that does not belong to it any more.")
@click.option("--parallel", type=int, help="How many of its runs at once; one after another unless given.")
@click.option("--per-minute", type=int, help="How many of its runs start in a minute at most.")
@click.option("--newest-first", is_flag=True)
@click.option("--params", help="Instead of the job's own; ${data_time} stands for the slot.")
@click.option("--reason", help="For people.")
@click.option("--dry-run", is_flag=True, help="Count the slots, and start nothing.")
@calls_api
def create(
    client: Client,
    job_id: int,
    from_: str,
    to: str,
    parallel: int | None,
    per_minute: int | None,
    params: str | None,
    reason: str | None,
    *,
    newest_first: bool,
    dry_run: bool,
) -> None:
    """Run the slots of a job that lie in a range."""
    given = {"per_minute": per_minute, "params": params, "reason": reason, "max_parallel": parallel}
    body: dict[str, Any] = {"from": from_, "to": to, "dry_run": dry_run}
    body |= {name: value for name, value in given.items() if value is not None}
    if parallel is not None:
        body["overlap"] = "parallel"
    if newest_first:
        body["order"] = "newest_first"
    show.one(client, client.call("POST", f"/api/v1/jobs/{job_id}/backfills", body))


@backfills.command("list")
@click.argument("job_id", type=int)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Most to list.")
@calls_api
def list_backfills(client: Client, job_id: int, limit: int) -> None:
    """List the backfills of a job, newest first."""
    found = client.call("GET", f"/api/v1/jobs/{job_id}/backfills", query={"limit": limit})["items"]
    show.rows(client, found, _COLUMNS)


@backfills.command("show")
@click.argument("backfill_id", type=int)
@calls_api
def show_backfill(client: Client, backfill_id: int) -> None:
    """Show a backfill, with its runs by state."""
    show.one(client, client.call("GET", f"/api/v1/backfills/{backfill_id}"))


@backfills.command()
@click.argument("backfill_id", type=int)
@calls_api
def cancel(client: Client, backfill_id: int) -> None:
    """Make no more runs for a backfill; those that there are go on."""
    show.one(client, client.call("POST", f"/api/v1/backfills/{backfill_id}/cancel"))
