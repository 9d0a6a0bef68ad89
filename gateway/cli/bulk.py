"""Command: many jobs at once, a few hundred a call."""

from __future__ import annotations

from collections import Counter
from typing import IO, Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.jobs import json_of
from gateway.cli.root import FAILED, WRONG_INPUT, Failure

_AT_ONCE = 500
_COLUMNS = ("id", "result", "error")


@click.command()
@click.argument("action", type=click.Choice(["enable", "disable", "delete", "change"]))
@click.argument("ids", type=int, nargs=-1)
@click.option("--app", help="Instead of ids: the appname.")
@click.option("--name", help="Instead of ids: a part of the name, in any case.")
@click.option("--enabled/--disabled", default=None, help="Instead of ids: only those.")
@click.option(
    "--change",
    "change",
    type=click.File(encoding="utf-8"),
    help="For change: a JSON merge patch (- for standard input).",
)
@click.option("--keep-history", is_flag=True, help="For delete.")
@click.option("--dry-run", is_flag=True, help="Tell what would become of each, and change nothing.")
@calls_api
def bulk(
    client: Client,
    action: str,
    ids: tuple[int, ...],
    app: str | None,
    name: str | None,
    change: IO[str] | None,
    *,
    enabled: bool | None,
    keep_history: bool,
    dry_run: bool,
) -> int:
    """Enable, disable, delete or change the jobs of these IDS, or all that the options name.

    The exit code is 1 if any of them failed.
    """
    body: dict[str, Any] = {"action": action}
    if change is not None:
        body["change"] = json_of(change)
    if keep_history:
        body["keep_history"] = True
    chosen = {"app": app, "name": name, "enabled": enabled}
    chosen = {field: value for field, value in chosen.items() if value is not None}
    if bool(ids) == bool(chosen):
        raise Failure("ids: either ids, or options that name jobs, are needed", WRONG_INPUT)
    wanted = list(ids)
    if chosen:
        asked = {"action": "disable", "filter": chosen, "dry_run": True}
        wanted = [item["id"] for item in client.call("POST", "/api/v1/jobs/bulk", asked)["items"]]
    items: list[dict[str, Any]] = []
    for start in range(0, len(wanted), _AT_ONCE):
        some = body | {"ids": wanted[start : start + _AT_ONCE], "dry_run": dry_run}
        items += client.call("POST", "/api/v1/jobs/bulk", some)["items"]
    counts = Counter(item["result"] for item in items)
    if client.as_json:
        numbers = {result: counts[result] for result in ("changed", "unchanged", "failed")}
        show.as_json({"dry_run": dry_run, **numbers, "items": items})
    else:
        failed = [item for item in items if item["result"] == "failed"]
        if failed:
            show.table(failed, _COLUMNS)
        would = "would be " if dry_run else ""
        click.echo(
            f"{counts['changed']} {would}changed, {counts['unchanged']} unchanged, {len(failed)} failed"
        )
    return FAILED if counts["failed"] else 0
