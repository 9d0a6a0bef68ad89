"""`import --undo`: shows what an import has made here, asks, and takes it back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.progress import Progress
from gateway.cli.root import FAILED, WRONG_INPUT, Failure
from gateway.cli.stopping import load, stoppable
from gateway.cli.target import one_line, run_loop, settings_of
from gateway.core.errors import GatewayError

if TYPE_CHECKING:
    from gateway.store.undoing import Thing, Undoing
    from importer.undo import Undo

F = TypeVar("F", bound=Callable[..., Any])

_NOTHING = "nothing has been changed"
_MOST_SHOWN = 20
_TAKEN = frozenset({"undo", "name", "dry_run", "yes", "database_url", "data_dir", "config"})


def undo_option(command: F) -> F:
    return click.option(
        "--undo", is_flag=True, help="take an import back, as if it had not been; needs no --source"
    )(command)


def undo(options: dict[str, Any]) -> int:
    load("gateway.settings", "importer.undo", "importer.report.text")
    with one_line():
        _refuse_others(click.get_current_context())
        name, dry_run, yes = options["name"], options["dry_run"], options["yes"]
        if not (dry_run or yes or sys.stdin.isatty()):
            raise Failure(
                "--yes: there is no terminal to ask at: give --yes to undo it, or --dry-run to see what goes",
                WRONG_INPUT,
            )
        with stoppable(_NOTHING):
            from importer.undo import Undo

            steps = Undo(
                settings_of({key: options[key] for key in ("database_url", "data_dir", "config")}), name
            )
            wanted: Undoing = run_loop(steps.see(to_write=not dry_run))
            for line in _plan(wanted):
                click.echo(line)
            if dry_run:
                return 0
            if not (yes or click.confirm("\nRemove this?")):
                click.echo("Nothing has been removed.")
                return FAILED
        _carry_out(steps, wanted)
        click.echo(f"Undone: {_counts(wanted)}. The same import can be given again, and gets the same ids.")
    return 0


def _refuse_others(context: click.Context) -> None:
    """What says how to import says nothing about an undo; that of the surroundings is for other calls."""
    for parameter in context.command.params:
        name = parameter.name or ""
        is_given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and name not in _TAKEN:
            raise Failure(
                f"{parameter.opts[0]}: not together with --undo, which reads no source", WRONG_INPUT
            )


def _carry_out(steps: Undo, wanted: Undoing) -> None:
    progress = Progress()
    try:
        run_loop(steps.undo(wanted, progress))
    except KeyboardInterrupt:
        progress.end()
        raise Failure(f"stopped: {_state(steps, wanted)}", WRONG_INPUT) from None
    except GatewayError as error:
        progress.end()
        raise Failure(f"{error}; {_state(steps, wanted)}", WRONG_INPUT) from None
    progress.end()


def _state(steps: Undo, wanted: Undoing) -> str:
    now = run_loop(steps.state(wanted))
    if now is None:
        return "by then all of the import was removed"
    if not now.is_begun:
        return _NOTHING
    return (
        "apps, jobs and users are as before, of the imported runs and counts of days some may be gone; "
        "the same command goes on with it"
    )


def _plan(wanted: Undoing) -> Iterator[str]:
    yield f"Undo the import from {wanted.source}"
    if wanted.is_begun:
        yield "(an earlier call has removed part of its runs)"
    yield ""
    yield f"Goes:  {_counts(wanted)}"
    for what, things in (("app", wanted.apps), ("job", wanted.jobs), ("user", wanted.users)):
        told = [one for one in things if one.note] if what == "job" else things
        yield from _some([f"  {_named(one)}" for one in told])
    if wanted.aliases:
        yield f"  of apps that stay, the ids {', '.join(map(str, wanted.aliases))}"
    if wanted.tokens:
        yield f"  of apps that stay, access tokens: {len(wanted.tokens)}"
    if wanted.stays:
        yield "Stays:"
        yield from _some([f"  {_named(one)}" for one in wanted.stays])


def _counts(wanted: Undoing) -> str:
    counts = (
        (len(wanted.apps), "app"),
        (len(wanted.jobs), "job"),
        (len(wanted.users), "user"),
        (wanted.runs, "imported run"),
    )
    said = [f"{number:,} {what}{'' if number == 1 else 's'}" for number, what in counts if number]
    return ", ".join(said) or "what is remembered of the import"


def _named(one: Thing) -> str:
    from importer.report.text import visible

    return f"{one.kind} {one.id} {visible(one.name)}" + (f": {one.note}" if one.note else "")


def _some(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_MOST_SHOWN]
    if len(lines) > _MOST_SHOWN:
        yield f"  and {len(lines) - _MOST_SHOWN:,} more"
