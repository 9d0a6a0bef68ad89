"""Commands: apps, jobs and calendars as YAML: `export`, and `apply` with a plan first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import FAILED, WRONG_INPUT, Failure
from gateway.cli.stopping import load, stoppable
from gateway.cli.writeback import ask, write_back, writeback_options

if TYPE_CHECKING:
    from importer.manifests.errors import ManifestError
    from importer.manifests.steps import Plan


@click.command()
@click.option(
    "--app", "apps", multiple=True, help="Only this app, its jobs and the calendars they use (repeat it)."
)
@click.option(
    "--output",
    default="-",
    show_default=True,
    help="A file; a folder (it exists, or the name ends with a slash), which gets a file an app; - for standard output.",
)
@writeback_options
@calls_api
def export(client: Client, apps: tuple[str, ...], output: str, **back: Any) -> None:
    """Write apps, jobs and calendars as YAML, for `apply`; or apps and jobs into an xxl-job database."""
    if back["to_xxljob"] is not None:
        if output != "-":
            raise Failure(
                "--output: it does not go with --to-xxljob, which writes into a database", WRONG_INPUT
            )
        write_back(client, apps, **back)
        return
    if given := [name for name, value in back.items() if value not in (None, False, ())]:
        raise Failure(f"--{given[0].replace('_', '-')}: only with --to-xxljob", WRONG_INPUT)
    if not output:
        raise Failure("--output: '' is not valid: a file, a folder, or - for standard output", WRONG_INPUT)
    load("importer.manifests.files", "importer.manifests.present")
    with stoppable(f"{output} may hold a part" if output != "-" else "nothing was changed"):
        _export(client, apps, output)


def _export(client: Client, apps: tuple[str, ...], output: str) -> None:
    from gateway.core.errors import NotFound
    from importer.manifests.files import as_files, as_text, save
    from importer.manifests.present import documents_of, read_present

    try:
        found = documents_of(read_present(client), apps)
    except NotFound as error:
        raise Failure(f"--app: {error}", WRONG_INPUT) from None
    if client.as_json:
        show.as_json({"format": 1, **found})
        return
    if output == "-":
        click.echo(as_text(found), nl=False)
        return
    path = Path(output)
    try:
        if output.endswith("/") or path.is_dir():
            others = save(path, as_files(found))
        else:
            path.write_text(as_text(found), encoding="utf-8", newline="\n")
            others = []
    except OSError as error:
        raise Failure(f"--output: {output!r} cannot be written: {error.strerror}", WRONG_INPUT) from None
    told = ", ".join(f"{len(found[section])} {section}" for section in found)
    click.echo(f"{output}: {told}", err=True)
    for other in others:
        click.echo(f"note: {other} is there as well, and `apply` would read it", err=True)


@click.command("apply")
@click.argument("files", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--prune", is_flag=True, help="Remove jobs that no document names, of the apps that documents hold."
)
@click.option("--prune-all", is_flag=True, help="Remove all that no document names: jobs, apps, calendars.")
@click.option(
    "--rename",
    is_flag=True,
    help="A document whose app has no job of its name is the job of its id, which gets the name.",
)
@calls_api
def apply_(
    client: Client,
    files: tuple[str, ...],
    *,
    dry_run: bool,
    yes: bool,
    prune: bool,
    prune_all: bool,
    rename: bool,
) -> int:
    """Make apps, jobs and calendars what documents say, after a plan (files, folders, - for standard input)."""
    load("importer.manifests.plan", "importer.manifests.files", "importer.manifests.carry_out")
    from gateway.core.clock import SystemClock
    from importer.manifests import show as shown
    from importer.manifests.errors import ManifestError
    from importer.manifests.files import read
    from importer.manifests.plan import make_plan
    from importer.manifests.present import read_present
    from importer.manifests.steps import Prune

    with stoppable("nothing was changed"):
        what = Prune.ALL if prune_all else Prune.JOBS if prune else Prune.NOTHING
        try:
            entries = read(files)
            plan = make_plan(entries, read_present(client), SystemClock().now_ms(), prune=what, rename=rename)
        except ManifestError as error:
            _refuse(error)
        if client.as_json:
            show.as_json(shown.as_json(plan))
        else:
            click.echo("\n".join(shown.lines_of(plan)))
        if dry_run or plan.is_empty:
            return 0
        ask("Do this?", yes=yes, readable="-" not in files)
    return _do(client, plan)


def _refuse(error: ManifestError) -> NoReturn:
    from importer.report.text import visible

    *most, last = error.problems
    for line in most:
        click.echo(f"error: {visible(line)}", err=True)
    raise Failure(f"{last} (nothing was changed)", WRONG_INPUT) from None


def _do(client: Client, plan: Plan) -> int:
    from gateway.core.errors import GatewayError
    from importer.manifests.carry_out import carry_out

    done = 0
    tell: Any = (lambda line: click.echo(line, err=True)) if client.as_json else click.echo
    try:
        for line in carry_out(client, plan):
            tell(line)
            done += 1
    except KeyboardInterrupt:
        raise Failure(
            f"stopped: {done} of the steps above are done, perhaps one more; apply again for the rest", FAILED
        ) from None
    except (GatewayError, Failure) as error:
        raise Failure(
            f"stopped: {error}. Done so far: {done} of the steps above; apply again for the rest", FAILED
        ) from None
    return 0
