"""Commands: calendars."""

from __future__ import annotations

from pathlib import PurePath
from typing import IO, Any
from urllib.parse import quote

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import WRONG_INPUT, Failure

_COLUMNS = ("name", "description", "count", "years", "version", "updated")
_FORMATS = {".csv": "csv", ".txt": "csv", ".ics": "ics", ".ical": "ics", ".json": "json"}
_FILE = click.argument("file", type=click.File(encoding="utf-8-sig"))
_FORMAT = click.option("--format", "format_", help="csv, ics or json; by the name of the file if left out.")

_LAST_YEAR = click.option(
    "--last-year", type=int, help="Repeating events are read up to its end; ten years ahead if left out."
)


@click.group()
def calendars() -> None:
    """Days listed by year, which jobs include or exclude."""


@calendars.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most to list.")
@calls_api
def list_calendars(client: Client, limit: int) -> None:
    """List calendars."""
    found = list(client.items("/api/v1/calendars", query={}, limit=limit))
    show.rows(client, found, _COLUMNS)


@calendars.command("show")
@click.argument("name")
@calls_api
def show_calendar(client: Client, name: str) -> None:
    """Show a calendar."""
    _show(client, client.call("GET", _path(name)))


@calendars.command()
@click.argument("name")
@_FILE
@_FORMAT
@_LAST_YEAR
@click.option("--description", default="", help="What people read.")
@calls_api
def create(
    client: Client, name: str, file: IO[str], format_: str | None, last_year: int | None, description: str
) -> None:
    """Create a calendar from a CSV, iCalendar or JSON file (- for standard input)."""
    body = {"name": name, "description": description, **_days(file, format_, last_year)}
    _show(client, client.call("POST", "/api/v1/calendars", body))


@calendars.command()
@click.argument("name")
@_FILE
@_FORMAT
@_LAST_YEAR
@click.option("--description", help="What people read; stays as it is if left out.")
@calls_api
def replace(
    client: Client,
    name: str,
    file: IO[str],
    format_: str | None,
    last_year: int | None,
    description: str | None,
) -> None:
    """Replace the days of a calendar; the jobs that use it follow at once."""
    if description is None:
        description = client.call("GET", _path(name))["description"]
    body = {"description": description, **_days(file, format_, last_year)}
    _show(client, client.call("PUT", _path(name), body))


@calendars.command()
@click.argument("name")
@calls_api
def delete(client: Client, name: str) -> None:
    """Delete a calendar that no job uses."""
    client.call("DELETE", _path(name))


def _days(file: IO[str], format_: str | None, last_year: int | None) -> dict[str, Any]:
    name = getattr(file, "name", "-")
    format_ = format_ or _FORMATS.get(PurePath(name).suffix.lower())
    if format_ is None:
        raise Failure(f"--format: what {name!r} holds is not told by its name: csv, ics or json", WRONG_INPUT)
    try:
        found = {"file": file.read(), "format": format_}
    except UnicodeDecodeError:
        raise Failure(f"{name}: text in UTF-8 is needed", WRONG_INPUT) from None
    return found if last_year is None else {**found, "last_year": last_year}


def _path(name: str) -> str:
    return f"/api/v1/calendars/{quote(name, safe='')}"


def _show(client: Client, calendar: Any) -> None:
    if client.as_json:
        show.as_json(calendar)
        return
    days = calendar.pop("days") or {}
    show.record(calendar | {f"days.{year}": [day[5:] for day in listed] for year, listed in days.items()})
