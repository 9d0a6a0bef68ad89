"""What `cutover` is told, and which of it goes together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.cli.root import WRONG_INPUT, Failure
from gateway.core.errors import InvalidValue

F = TypeVar("F", bound=Callable[..., Any])

SOURCE_URL = "mysql://USER:PASSWORD@HOST:PORT/DATABASE"
OWN = (
    *("source", "name", "table_map", "source_charset", "old_admin_is_stopped", "watch", "ignore_changes"),
    *("require_executors", "take_over", "back", "sql", "dry_run", "yes"),
)


def cutover_options(command: F) -> F:
    for option in (
        click.option("--yes", is_flag=True, help="do not ask"),
        click.option("--dry-run", is_flag=True, help="look and tell, change nothing"),
        click.option(
            "--sql",
            type=click.Path(dir_okay=False),
            help="with --back: a file for what the old admin's database needs",
        ),
        click.option("--back", is_flag=True, help="disable the jobs again that a cutover has enabled"),
        click.option(
            "--take-over",
            is_flag=True,
            help="the gateway gets the old admin's address: executors that were registered there are here, too",
        ),
        click.option("--require-executors", is_flag=True, help="refuse while an app has no executor here"),
        click.option(
            "--ignore-changes", is_flag=True, help="go on although the source has changed since the import"
        ),
        click.option(
            "--watch", default="2m", metavar="DURATION", help="look for signs of life so long at most (2m)"
        ),
        click.option(
            "--old-admin-is-stopped",
            is_flag=True,
            help="you vouch for it: no signs of life are looked for, and --source is not needed",
        ),
        click.option("--source-charset", metavar="NAME", help="as for `import`"),
        click.option("--table-map", multiple=True, metavar="OLD=NEW", help="as for `import`"),
        click.option("--name", help="under which the source was imported (DATABASE@HOST:PORT)"),
        click.option("--source", metavar="URL", help=f"the old admin's database: {SOURCE_URL}"),
    ):
        command = option(command)
    return command


def check(wanted: dict[str, Any]) -> None:
    """Raises `InvalidValue` or `Failure`, before anything is looked at."""
    _check_together(wanted)
    if not (wanted["yes"] or wanted["dry_run"] or sys.stdin.isatty()):
        raise Failure("--yes: there is no terminal to ask at: give --yes, or --dry-run to look", WRONG_INPUT)


def _check_together(wanted: dict[str, Any]) -> None:
    if wanted["back"]:
        for name in ("old_admin_is_stopped", "ignore_changes", "require_executors", "take_over"):
            if wanted[name]:
                raise InvalidValue(f"--{name.replace('_', '-')}", "", "nothing beside --back")
        return
    if wanted["sql"]:
        raise InvalidValue("--sql", wanted["sql"], "nothing without --back")
    if wanted["source"] is None and wanted["take_over"]:
        raise InvalidValue("--take-over", "", "--source beside it: it holds the executors")
    if wanted["source"] is None and not wanted["old_admin_is_stopped"]:
        raise Failure(
            "--source is missing: the old admin's database, to see that it is stopped; "
            "or say it yourself: --old-admin-is-stopped",
            WRONG_INPUT,
        )
