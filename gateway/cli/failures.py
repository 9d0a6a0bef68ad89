"""Commands: failures, and what people do about runs that have ended."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import WRONG_INPUT, Failure

_COLUMNS = ("id", "job_id", "app", "state", "attempt", "due", "result_code", "rerun_id", "reason", "message")
_RESULTS = ("run_id", "new_run_id", "error")


@click.group()
def failures() -> None:
    """Runs whose last attempt has failed."""


@failures.command("list")
@click.option("--job", "job_id", type=int, help="Of this job.")
@click.option("--app", help="Of this appname.")
@click.option("--state", help="By comma, of failed, timed_out, lost.")
@click.option("--from", "from_", help="Due at or after: ISO 8601 with an offset.")
@click.option("--to", help="Due before.")
@click.option("--with-rerun", is_flag=True, help="Also those that were run again already.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most to list.")
@calls_api
def list_failures(client: Client, limit: int, from_: str | None, *, with_rerun: bool, **given: Any) -> None:
    """List failures that nobody has dealt with, newest first."""
    query = {**given, "from": from_, "again": "with" if with_rerun else None}
    found = list(client.items("/api/v1/failures", query=query, limit=limit))
    show.rows(client, found, _COLUMNS)


@failures.command()
@click.argument("run_ids", type=int, nargs=-1)
@click.option("--all", "fitting", is_flag=True, help="All that fit the options below.")
@click.option("--job", "job_id", type=int, help="Of this job.")
@click.option("--app", help="Of this appname.")
@click.option("--state", help="By comma, of failed, timed_out, lost.")
@click.option("--from", "from_", help="Due at or after: ISO 8601 with an offset.")
@click.option("--to", help="Due before.")
@click.option("--limit", type=click.IntRange(1, 10_000), help="With --all: the most to run again.")
@click.option("--without-children", is_flag=True, help="Their ends start no children.")
@click.option("--whole", is_flag=True, help="All shards of a parent, not only those that failed.")
@calls_api
def redrive(
    client: Client,
    run_ids: tuple[int, ...],
    from_: str | None,
    limit: int | None,
    *,
    fitting: bool,
    without_children: bool,
    whole: bool,
    **given: Any,
) -> None:
    """Run failures again, each once."""
    chosen = {name: value for name, value in {**given, "from": from_}.items() if value is not None}
    if bool(run_ids) == fitting or (run_ids and chosen):
        raise Failure("RUN_IDS: give the ids of runs, or --all with what they must fit", WRONG_INPUT)
    body: dict[str, Any] = {"children": not without_children, "only_failed": not whole}
    if not fitting:
        body["ids"] = list(run_ids)
        answer = client.call("POST", "/api/v1/failures/redrive", body)
        results = answer["results"]
    else:
        results = _all_fitting(client, body | {"filter": chosen}, limit)
    show.rows(client, results, _RESULTS)
    if not_again := sum(one["error"] is not None for one in results):
        raise Failure(f"{not_again} of {len(results)} were not run again")


def _all_fitting(client: Client, body: dict[str, Any], limit: int | None) -> list[Any]:
    results: list[Any] = []
    while limit is None or len(results) < limit:
        if limit is not None:
            body["limit"] = min(limit - len(results), 10_000)
        answer = client.call("POST", "/api/v1/failures/redrive", body)
        results += answer["results"]
        body["cursor"] = answer["next_cursor"]
        if body["cursor"] is None:
            break
    return results


@click.command()
@click.argument("run_id", type=int)
@click.option("--without-children", is_flag=True, help="Its end starts no children.")
@click.option("--only-failed", is_flag=True, help="Of a parent of shards: those that did not succeed.")
@calls_api
def rerun(client: Client, run_id: int, *, without_children: bool, only_failed: bool) -> None:
    """Run a run again that has ended."""
    body = {"children": not without_children, "only_failed": only_failed}
    answer = client.call("POST", f"/api/v1/runs/{run_id}/rerun", body)
    show.as_json(answer) if client.as_json else click.echo(answer["run_id"])


@click.command("mark-succeeded")
@click.argument("run_id", type=int)
@click.option("--reason", required=True, help="Kept with the run.")
@calls_api
def mark_succeeded(client: Client, run_id: int, reason: str) -> None:
    """Say that a failed run needs nothing more; its children on success start."""
    answer = client.call("POST", f"/api/v1/runs/{run_id}/mark-succeeded", {"reason": reason})
    show.one(client, answer)
