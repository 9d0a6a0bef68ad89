"""Command: simulate."""

from __future__ import annotations

import json
from typing import IO, Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import WRONG_INPUT, Failure

_FIRES = ("due", "job_id", "job", "app", "trigger", "wait_s", "state", "slots", "reason")
_APPS = (
    "app",
    "max_running",
    "starts_per_second",
    "fires",
    "started",
    "skipped",
    "queue_max",
    "queue_max_at",
)
_MORE = ("wait_max_s", "running_max")


@click.command()
@click.option(
    "--from", "from_", help="The beginning: ISO 8601 with an offset, or milliseconds; now if left out."
)
@click.option("--to", required=True, help="The end.")
@click.option("--app", help="Only jobs of this appname.")
@click.option("--job", "job_ids", type=int, multiple=True, help="Only this job (repeat it).")
@click.option(
    "--file",
    "file",
    type=click.File(encoding="utf-8"),
    help="A JSON list of jobs that are not stored, as for `jobs batch` (- for standard input).",
)
@click.option("--duration", help="How long each run takes; as the last ones of its job did if left out.")
@click.option("--max-running", multiple=True, metavar="APP=N", help="Try this limit of an app (repeat it).")
@click.option("--starts-per-second", multiple=True, metavar="APP=N", help="Try this start rate of an app.")
@click.option("--outage", multiple=True, metavar="FROM/TO", help="The gateway is not there meanwhile.")
@click.option("--fires", type=click.IntRange(0, 5000), default=100, show_default=True, help="Runs to list.")
@calls_api
def simulate(
    client: Client,
    from_: str | None,
    file: IO[str] | None,
    max_running: tuple[str, ...],
    starts_per_second: tuple[str, ...],
    outage: tuple[str, ...],
    **given: Any,
) -> None:
    """What would happen in a range of time: fires, queues, limits. Nothing is touched."""
    body = {
        "from": from_,
        "to": given["to"],
        "app": given["app"],
        "job_ids": list(given["job_ids"]) or None,
        "jobs": None if file is None else _jobs_of(file),
        "duration_s": given["duration"],
        "limits": _limits(max_running, starts_per_second),
        "outages": [_span(text) for text in outage],
        "fires": given["fires"],
    }
    body = {name: value for name, value in body.items() if value is not None}
    answer = client.call("POST", "/api/v1/simulate", body)
    show.as_json(answer) if client.as_json else _print(answer)


def _print(answer: Any) -> None:
    if answer["fires"]:
        show.table([{**fire, "wait_s": _seconds(fire["wait_ms"])} for fire in answer["fires"]], _FIRES)
        if answer["more_fires"]:
            click.echo("… and more: --fires lists them, --app and --job choose")
        click.echo()
    if answer["apps"]:
        apps = [{**app, "wait_max_s": _seconds(app["wait_max_ms"])} for app in answer["apps"]]
        show.table(apps, (*_APPS, *_MORE))
        click.echo()
    if answer["reasons"]:
        show.table(answer["reasons"], ("count", "reason"))
        click.echo()
    total = answer["total"]
    counts = ("fires", "started", "waited", "skipped", "expired", "stopped", "waiting")
    told = ", ".join(f"{total[name]} {name}" for name in counts if total[name] or name == "fires")
    click.echo(f"{told}; longest wait {_seconds(total['wait_max_ms'])} s")
    for note in answer["notes"]:
        click.echo(note)


def _seconds(ms: int | None) -> str | None:
    return None if ms is None else f"{ms / 1000:g}"


def _limits(max_running: tuple[str, ...], starts_per_second: tuple[str, ...]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for option, texts in (("max_running", max_running), ("starts_per_second", starts_per_second)):
        for text in texts:
            app, _, value = text.rpartition("=")
            try:
                number = None if value == "none" else int(value) if option == "max_running" else float(value)
            except ValueError:
                app, number = "", None
            if not app:
                name = option.replace("_", "-")
                raise Failure(f"--{name}: {text!r} is not valid: billing=5, or billing=none", WRONG_INPUT)
            found.setdefault(app, {"app": app})[option] = number
    return list(found.values())


def _span(text: str) -> dict[str, str]:
    start, slash, end = text.partition("/")
    if not slash:
        raise Failure(
            f"--outage: {text!r} is not valid: two instants, such as 2026-12-01T02:00:00Z/…", WRONG_INPUT
        )
    return {"from": start, "to": end}


def _jobs_of(file: IO[str]) -> Any:
    try:
        found = json.load(file)
    except ValueError as error:
        raise Failure(f"--file: this is not JSON: {error}", WRONG_INPUT) from None
    if isinstance(found, dict):
        found = found.get("jobs", [found])
    return found
