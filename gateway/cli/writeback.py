"""`export --to-xxljob`: apps and jobs of a gateway into an xxl-job database of 2.3 to 3.4."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli import show
from gateway.cli.client import Client
from gateway.cli.root import WRONG_INPUT, Failure
from gateway.cli.stopping import load, stoppable

if TYPE_CHECKING:
    from importer.writeback.values import WritePlan

F = TypeVar("F", bound=Callable[..., Any])
_IN_DOUBT = "all of it was written, or nothing: the same command with --dry-run shows which"


def writeback_options(command: F) -> F:
    """Those that go with `--to-xxljob`."""
    for option in (
        click.option("--yes", is_flag=True, help="With --to-xxljob: do not ask."),
        click.option(
            "--dry-run", is_flag=True, help="With --to-xxljob: show what would be written, and stop."
        ),
        click.option(
            "--table-map",
            multiple=True,
            metavar="STOCK=HERE",
            help="With --to-xxljob: a table of another name (repeat it).",
        ),
        click.option(
            "--enabled", is_flag=True, help="With --to-xxljob: jobs that are enabled here are started there."
        ),
        click.option(
            "--existing",
            type=click.Choice(["fail", "skip", "update"]),
            help="With --to-xxljob: what to do with rows that are there (fail).",
        ),
        click.option(
            "--timezone", help="With --to-xxljob: on whose clock its admin reads schedules (Asia/Shanghai)."
        ),
        click.option(
            "--to-xxljob",
            metavar="URL",
            help="Into a database of xxl-job 2.3 to 3.4: mysql://USER:PASSWORD@HOST:PORT/DATABASE.",
        ),
    ):
        command = option(command)
    return command


def ask(question: str, *, yes: bool, readable: bool = True) -> None:
    """Ends the command unless somebody agrees. `readable`: standard input is free for an answer."""
    if yes:
        return
    if not readable or not sys.stdin.isatty():
        raise Failure("nothing was changed: there is no terminal to ask at, so give --yes", WRONG_INPUT)
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed")


def write_back(
    client: Client,
    apps: tuple[str, ...],
    *,
    to_xxljob: str,
    timezone: str | None,
    existing: str | None,
    table_map: tuple[str, ...],
    enabled: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    load("importer.writeback.run", "importer.writeback.show")
    from gateway.cli.target import one_line, run_loop
    from gateway.core.clock import SystemClock
    from importer.plan.zones import ASSUMED, zone_named
    from importer.source.url import parse_source
    from importer.writeback import show as shown
    from importer.writeback.run import Wanted, planned, written

    with stoppable("nothing was written"):
        with one_line():
            wanted = Wanted(
                url=parse_source(to_xxljob, "--to-xxljob"),
                table_map=_map_of(table_map),
                zone=zone_named(timezone or ASSUMED, "--timezone"),
                existing=existing or "fail",
                enabled=enabled,
                apps=apps,
            )
            plan: WritePlan = run_loop(planned(client, wanted, SystemClock().now_ms()))
        show.as_json(shown.as_json(plan)) if client.as_json else click.echo("\n".join(shown.lines_of(plan)))
        if dry_run:
            return
        if plan.started:
            if client.as_json:
                click.echo(shown.twice(plan), err=True)
            ask("Start there what stays enabled here, so that both would fire it?", yes=yes)
        ask(f"Write into {plan.database}?", yes=yes)
    with one_line(), stoppable(_IN_DOUBT):
        run_loop(written(wanted, plan))
    click.echo(f"written into {plan.database}", err=client.as_json)


def _map_of(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        stock, equals, here = text.partition("=")
        if not equals:
            raise Failure(
                f"--table-map: {text!r} is not valid: STOCK=HERE, such as xxl_job_=my_", WRONG_INPUT
            )
        found[stock] = here
    return found
