"""Commands: runs."""

from __future__ import annotations

import time

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api

_COLUMNS = (
    "id",
    "job_id",
    "app",
    "state",
    "trigger",
    "attempt",
    "due",
    "lateness_ms",
    "result_code",
    "address",
    "reason",
)
_POLL_S = 1.0


@click.group()
def runs() -> None:
    """Decided executions, newest first."""


@runs.command("list")
@click.option("--job", "job_id", type=int, help="Of this job.")
@click.option("--app", help="Of this appname.")
@click.option("--state", help="One or more states or statuses, by comma.")
@click.option(
    "--trigger", help="Why it exists: schedule, manual, api, retry, misfire, child, shard, imported, …"
)
@click.option("--author", help="Who asked for it: the name of a token.")
@click.option("--parent", "parent_id", type=int, help="The run that caused it.")
@click.option("--from", "from_", help="Due at or after: ISO 8601 with an offset.")
@click.option("--to", help="Due before.")
@click.option("--task-id", help="All attempts of the submission of this name.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most to list.")
@calls_api
def list_runs(client: Client, limit: int, from_: str | None, **given: str | int | None) -> None:
    """List runs."""
    found = list(client.items("/api/v1/runs", query={**given, "from": from_}, limit=limit))
    show.rows(client, found, _COLUMNS)


@runs.command()
@click.argument("run_id", type=int)
@calls_api
def remove(client: Client, run_id: int) -> None:
    """Remove a run that has ended, with all attempts and shards of its slot; counts of days stay."""
    client.call("DELETE", _path(run_id))


@runs.command("remove-all")
@click.option("--job", "job_id", type=int, help="Of this job.")
@click.option("--app", help="Of this appname.")
@click.option("--state", help="One or more final states or statuses, by comma.")
@click.option("--from", "from_", help="Due at or after: ISO 8601 with an offset.")
@click.option("--to", help="Due before.")
@calls_api
def remove_all(client: Client, from_: str | None, **given: str | int | None) -> None:
    """Remove all runs that have ended and fit."""
    body = {name: value for name, value in {**given, "from": from_}.items() if value is not None}
    removed, cursor = 0, None
    while True:
        answer = client.call("POST", "/api/v1/runs/remove", body, query={"cursor": cursor})
        removed, cursor = removed + answer["removed"], answer["next_cursor"]
        if cursor is None:
            break
    show.as_json({"removed": removed}) if client.as_json else click.echo(f"{removed} removed")


@runs.command("show")
@click.argument("run_id", type=int)
@calls_api
def show_run(client: Client, run_id: int) -> None:
    """Show a run."""
    run = client.call("GET", _path(run_id))
    show.one(client, run)


@runs.command()
@click.argument("run_id", type=int)
@calls_api
def stop(client: Client, run_id: int) -> None:
    """Stop a run; runs of the same job on that executor go with it."""
    answer = client.call("POST", f"{_path(run_id)}/stop", {})
    show.one(client, answer)


@runs.command()
@click.argument("run_id", type=int)
@calls_api
def front(client: Client, run_id: int) -> None:
    """Have a waiting run start before all others of its app."""
    show.one(client, client.call("POST", f"{_path(run_id)}/move-to-front", {}))


@runs.command()
@click.argument("run_id", type=int)
@calls_api
def bypass(client: Client, run_id: int) -> None:
    """Let a waiting run start whatever the limits."""
    show.one(client, client.call("POST", f"{_path(run_id)}/bypass-limits", {}))


@runs.command()
@click.argument("run_id", type=int)
@click.option("--from-line", type=click.IntRange(1), default=1, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Until the run has ended.")
@calls_api
def log(client: Client, run_id: int, from_line: int, *, follow: bool) -> None:
    """Print the log of a run, as its executor keeps it."""
    while True:
        page = client.call("GET", f"{_path(run_id)}/log", query={"from_line": from_line})
        if client.as_json:
            show.as_json(page)
        elif page["content"]:
            click.echo(page["content"], nl=not page["content"].endswith("\n"))
        moved = page["to_line"] >= from_line
        from_line = max(from_line, page["to_line"] + 1)
        if page["is_end"] or not (moved or follow):
            return
        if not moved:
            time.sleep(_POLL_S)


def _path(run_id: int) -> str:
    return f"/api/v1/runs/{run_id}"
