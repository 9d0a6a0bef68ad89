"""Command: proof."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import FAILED

_COLUMNS = (
    "job_id",
    "name",
    "right",
    "expected",
    "fired",
    "early",
    "late",
    "lateness_max_ms",
    "waiting",
    "skipped",
    "not_sent",
    "missing",
    "duplicate",
    "unexpected",
    "unproven",
    "gaps_too_short",
)


@click.command()
@click.option("--job", "job_id", type=int, help="Of this job; all if left out.")
@click.option("--app", help="Of this appname.")
@click.option("--from", "from_", help="ISO 8601 with an offset; 24 h before the end if left out.")
@click.option("--to", help="ISO 8601 with an offset; now if left out.")
@click.option("--wrong", is_flag=True, help="Only jobs that something speaks against.")
@calls_api
def proof(client: Client, from_: str | None, *, wrong: bool, **given: str | int | None) -> int:
    """Prove that no slot was lost or doubled; the exit code is 1 if one was."""
    total: dict[str, Any] = {}
    items: list[dict[str, Any]] = []
    query = {**given, "from": from_, "wrong": "true" if wrong else None}
    cursor = None
    while True:
        answer = client.call("GET", "/api/v1/proof", query={**query, "cursor": cursor})
        # The same end for all pages, whatever the time is by then.
        query |= {"from": answer["from_ms"], "to": answer["to_ms"]}
        items += answer["items"]
        for name, value in answer["total"].items():
            total[name] = max(total.get(name, 0), value) if "max" in name else total.get(name, 0) + value
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    if client.as_json:
        show.as_json({"total": total, "items": items})
    else:
        show.table([*map(_line, items), {"job_id": "total", "right": not total["wrong"], **total}], _COLUMNS)
    return FAILED if total["wrong"] else 0


def _line(item: dict[str, Any]) -> dict[str, Any]:
    """Counts only: `--json` has the reasons and the instants."""
    sums = {name: sum(item[name].values()) for name in ("skipped", "not_sent", "unproven")}
    counts = {name: item[name]["count"] for name in ("missing", "duplicate", "unexpected")}
    gaps = {"gaps_too_short": item["gaps"]["too_short"] if item["gaps"] else None}
    return {**item, **sums, **counts, **gaps}
