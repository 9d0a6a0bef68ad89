"""`import`: shows what an import from an xxl-job database would do, asks, and does it."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import click

from gateway.cli.garbage import keeping
from gateway.cli.progress import Progress
from gateway.cli.root import FAILED, WRONG_INPUT, Failure
from gateway.cli.source import (
    GivenSource,
    release_of,
    release_option,
    report_option,
    source_of,
    source_options,
)
from gateway.cli.stopping import load, stoppable
from gateway.cli.target import database_options, one_line, run_loop, settings_of, target_words, words_for
from gateway.cli.undo import undo, undo_option
from gateway.core.errors import GatewayError, InvalidValue

if TYPE_CHECKING:
    from importer.apply import Applied
    from importer.move import Seen
    from importer.plan.make import PlanOptions
    from importer.plan.target import Target
    from importer.plan.values import Plan
    from importer.report.values import Copied, Report
    from importer.source.values import Installation

STANDARD_OUTPUT = "-"
TOKEN_VARIABLE = "XXLJOB_GATEWAY_SOURCE_ACCESS_TOKEN"  # noqa: S105 – a variable's name
_NOTHING = "nothing has been written"
_MOST_DAYS = 3650
_PLANNED_COLUMNS = 100  # of a report that goes to no terminal


class Steps(Protocol):
    """What `importer.move.Move` does; nothing of it speaks."""

    def now_ms(self) -> int: ...

    async def see(self, *, to_write: bool) -> Seen: ...

    async def look(self) -> tuple[Target, bool]: ...

    async def apply(self, plan: Plan, installation: Installation, progress: Progress) -> Applied: ...

    async def copy(
        self, plan: Plan, installation: Installation, log_days: int, *, daily: bool, progress: Progress
    ) -> tuple[Copied, Copied]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants of an import. `source`: its address without a password; `target`: in words.

    `shadow`, `cutover`: the commands that come next, for a command line.
    """

    source: str
    target: str
    shadow: str
    cutover: str
    plan: PlanOptions
    log_days: int
    daily: bool
    reports: tuple[str, ...]
    dry_run: bool
    yes: bool
    own_tokens: tuple[str, ...]
    secrets: frozenset[str]


@click.command("import")
@source_options
@click.option("--dry-run", is_flag=True, help="show the plan; write nothing, make no database")
@click.option("--yes", is_flag=True, help="do it without asking")
@click.option(
    "--existing",
    type=click.Choice(["skip", "update", "fail"]),
    default="skip",
    show_default=True,
    help="what to do with jobs, apps and users that an earlier import has made",
)
@click.option("--merge", is_flag=True, help="into a gateway that has other jobs as well")
@click.option(
    "--logs", "log_days", type=int, metavar="DAYS", help="also the newest DAYS of its log, as finished runs"
)
@click.option("--daily-reports", "daily", is_flag=True, help="also its counts of days")
@click.option(
    "--access-token",
    envvar=TOKEN_VARIABLE,
    metavar="TOKEN",
    help=f"the old admin's (xxl.job.accessToken), which the imported apps take; or {TOKEN_VARIABLE}",
)
@release_option
@report_option
@undo_option
@database_options
def import_(**options: Any) -> int:
    """Take over the apps, jobs, GLUE sources and users of an xxl-job database, which is only read.

    Shows the plan and asks. Imported jobs stay disabled until `cutover`; the old admin may go on meanwhile.
    With --undo an import is taken back.
    """
    if options.pop("undo"):
        return undo(options)
    load("importer.move", "importer.plan.make", "importer.report.sections", "importer.report.terminal")
    with one_line():
        with stoppable(_NOTHING):
            asked, steps = _asked(options)
        code: int = _Import(asked, steps).run()
    return code


def _asked(options: dict[str, Any]) -> tuple[Asked, Steps]:
    """Everything that can be wrong about the options is found before anything is connected."""
    from importer.move import Move
    from importer.plan.make import PlanOptions
    from importer.plan.values import Existing
    from importer.report.files import require_report

    reports = tuple(dict.fromkeys(options.pop("reports")))
    for path in reports:
        require_report(path)
    log_days, daily = options.pop("log_days"), options.pop("daily")
    if log_days is not None and not 0 < log_days <= _MOST_DAYS:
        raise InvalidValue("--logs", log_days, f"a number of days from 1 to {_MOST_DAYS}")
    token = _token(options.pop("access_token"))
    release_text = options.pop("source_release")
    release = release_of(release_text)
    dry_run, yes = options.pop("dry_run"), options.pop("yes")
    if not (dry_run or yes or sys.stdin.isatty()):
        raise Failure(
            "--yes: there is no terminal to ask at: give --yes to import, or --dry-run to see the plan",
            WRONG_INPUT,
        )
    existing, merge = Existing(options.pop("existing")), options.pop("merge")
    source: GivenSource = source_of(options)
    shadow = [*source.words, *source.zone_words]
    shadow += ["--source-release", release_text] if release_text else []
    cutover = [*source.words, *target_words(options)]
    settings = settings_of(options)
    secrets = {source.url.password, token or "", *settings.access_tokens}
    asked = Asked(
        source=source.shown,
        target=words_for(settings),
        shadow=shlex.join(["xxljob-gateway", "shadow", *shadow]),
        cutover=shlex.join(["xxljob-gateway", "cutover", *cutover]),
        plan=PlanOptions(
            source=source.name,
            timezone=source.options.timezone,
            existing=existing,
            merge=merge,
            access_token=token,
            release=release,
        ),
        log_days=log_days or 0,
        daily=daily,
        reports=reports,
        dry_run=dry_run,
        yes=yes,
        own_tokens=settings.access_tokens,
        secrets=frozenset(secrets - {""}),
    )
    return asked, Move(source.url, source.options, settings, source.name)


def _token(text: str | None) -> str | None:
    import re

    from gateway.core.access import TEXT

    if text is not None and not re.fullmatch(TEXT, text):
        raise InvalidValue("--access-token", "***", "up to 255 printable ASCII characters without blanks")
    return text


def _written(applied: Applied) -> str:
    from importer.report.text import count

    if not applied.anything:
        return "Nothing was to be changed."
    counts = (
        (applied.apps_made, "app", ""),
        (applied.jobs_made, "job", ""),
        (applied.users_made, "user", ""),
        (applied.apps_changed, "app", " updated"),
        (applied.jobs_changed, "job", " updated"),
        (applied.users_changed, "user", " updated"),
    )
    told = ", ".join(f"{count(len(ids), what)}{how}" for ids, what, how in counts if ids)
    return f"Written: {told or 'notes on what is here'}"


def _imported(target: Target) -> tuple[object, ...]:
    return target.imported_apps, target.imported_jobs, target.imported_users


class _Import:
    """One import, phase by phase: who stops it is told what the target holds by then."""

    def __init__(self, asked: Asked, steps: Steps) -> None:
        self._asked = asked
        self._steps = steps
        self._progress = Progress()
        # The report as JSON has standard output for itself.
        self._to_stderr = STANDARD_OUTPUT in asked.reports

    def run(self) -> int:
        with keeping() as all_made:
            return self._run(all_made)

    def _run(self, all_made: Callable[[], None]) -> int:
        from importer.report.text import count

        asked = self._asked
        with self._stoppable(_NOTHING):
            click.echo(f"Reading {asked.source} …", err=True)
            seen: Seen = run_loop(self._steps.see(to_write=not asked.dry_run))
            click.echo(f"Planning {count(len(seen.installation.jobs), 'job')} …", err=True)
            report = self._planned(seen)
            all_made()
            self._show(report)
            if asked.dry_run:
                self._write_reports(report, with_standard_output=True)
                return 0
            self._write_reports(report, with_standard_output=False)
            if not self._is_something(report.plan):
                self._say("\nNothing is to be written: all of it is here already.")
                return self._end(replace(report, written=True))
            if not (asked.yes or self._confirmed(report.plan)):
                self._say("Nothing has been written.")
                return FAILED
        return self._end(self._copy(self._apply(report, seen.target)))

    def _end(self, report: Report) -> int:
        with self._stoppable("the import itself is done"):
            self._write_reports(report, with_standard_output=True)
            self._say("")
            for line in self._next_steps(report):
                self._say(line)
        return 0

    def _planned(self, seen: Seen) -> Report:
        from importer.plan.make import make_plan
        from importer.plan.security import DEFAULT_TOKEN
        from importer.report.values import Report

        plan = make_plan(seen.installation, seen.target, self._asked.plan, self._steps.now_ms())
        tokens = {app.access_token for app in plan.apps if app.access_token}
        hashes = {user.password for user in seen.installation.users if user.password}
        return Report(
            made_ms=self._steps.now_ms(),
            source=seen.installation.name,
            target=f"{self._asked.target}{'' if seen.exists else ', ' + seen.missing}",
            installation=seen.installation,
            plan=plan,
            logs=self._to_follow(self._asked.log_days > 0),
            days=self._to_follow(self._asked.daily),
            secrets=(self._asked.secrets | tokens | hashes) - {DEFAULT_TOKEN},
        )

    def _to_follow(self, is_asked: bool) -> Copied:
        from importer.report.values import Copied

        return Copied(why="follows when the jobs are here") if is_asked else Copied()

    def _is_something(self, plan: Plan) -> bool:
        from importer.plan.values import Action

        actions = {one.action for many in (plan.apps, plan.jobs, plan.users) for one in many}
        is_new = actions - {Action.SKIP} or plan.withdrawn
        return bool(is_new or self._asked.log_days or self._asked.daily)

    def _confirmed(self, plan: Plan) -> bool:
        from importer.plan.users import IF_CHANGED
        from importer.plan.values import Action
        from importer.report.text import count

        users = [one for one in plan.users if one.changes != (IF_CHANGED,)]
        counts = [
            (sum(one.action is action for one in many), f"{word}{what}")
            for action, word in ((Action.CREATE, "new "), (Action.UPDATE, "changed "))
            for many, what in ((plan.apps, "app"), (plan.jobs, "job"), (users, "user"))
        ]
        parts = [count(number, what) for number, what in counts if number]
        if len(users) < len(plan.users):
            parts.append("passwords that have changed")
        if plan.withdrawn:
            parts.append(f"{count(len(plan.withdrawn), 'job')} deleted there")
        if self._asked.log_days:
            parts.append(f"{count(self._asked.log_days, 'day')} of its log")
        if self._asked.daily:
            parts.append("its counts of days")
        return click.confirm(
            f"\nWrite this ({', '.join(parts)}) into {self._asked.target}?", err=self._to_stderr
        )

    def _apply(self, report: Report, before: Target) -> Report:
        try:
            applied = run_loop(self._steps.apply(report.plan, report.installation, self._progress))
        except KeyboardInterrupt:
            self._progress.end()
            now, _ = run_loop(self._steps.look())
            if _imported(now) == _imported(before):
                raise Failure(f"stopped: {_NOTHING}", WRONG_INPUT) from None
            raise Failure(
                "stopped after the import was written: all apps, jobs and users are here, its jobs disabled",
                WRONG_INPUT,
            ) from None
        self._progress.end()
        self._say(_written(applied))
        for note in applied.notes:
            self._say(f"  {note}")
        return replace(report, written=True, target=self._asked.target)

    def _copy(self, report: Report) -> Report:
        asked = self._asked
        if not (asked.log_days or asked.daily):
            return report
        from gateway.store.imports import Undone

        state = "apps, jobs and users are here, its jobs disabled, and part of its log; the same command goes on with it"
        with self._stoppable(state):
            try:
                logs, days = run_loop(
                    self._steps.copy(
                        report.plan,
                        report.installation,
                        asked.log_days,
                        daily=asked.daily,
                        progress=self._progress,
                    )
                )
            except Undone as error:
                raise Failure(str(error), WRONG_INPUT) from None
            except (GatewayError, OSError) as error:
                raise Failure(f"{error}; {state}", WRONG_INPUT) from None
            finally:
                self._progress.end()
        for what, copied in (("runs of its log", logs), ("counts of days", days)):
            if copied.read or copied.why:
                self._say(f"Copied: {copied.taken:,} {what}" + (f"; {copied.why}" if copied.why else ""))
        return replace(report, logs=logs, days=days)

    @contextmanager
    def _stoppable(self, state: str) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, click.Abort):
            if not self._progress.end() and sys.stderr.isatty():
                click.echo(err=True)  # behind what is being asked, and the ^C
            raise Failure(f"stopped: {state}", WRONG_INPUT) from None

    def _next_steps(self, report: Report) -> tuple[str, ...]:
        from importer.report.next_steps import next_steps

        asked = self._asked
        return next_steps(report, asked.shadow, asked.cutover, asked.reports, asked.own_tokens)

    def _show(self, report: Report) -> None:
        from importer.report.sections import TERMINAL, document_of
        from importer.report.terminal import lines_of

        columns = shutil.get_terminal_size((_PLANNED_COLUMNS, 24)).columns
        self._say("")
        steps = self._next_steps(report) if self._asked.dry_run else ()
        for line in lines_of(document_of(report, TERMINAL, steps), columns):
            self._say(line)

    def _write_reports(self, report: Report, *, with_standard_output: bool) -> None:
        from importer.report.files import pieces_of, write_report

        steps = self._next_steps(report)
        for path in self._asked.reports:
            if path != STANDARD_OUTPUT:
                try:
                    write_report(path, report, steps)
                except OSError as error:
                    state = "the import itself is done" if report.written else _NOTHING
                    raise Failure(
                        f"--report {path}: {error.strerror or error}; {state}", WRONG_INPUT
                    ) from None
            elif with_standard_output:
                for piece in pieces_of(path, report, steps):
                    click.echo(piece, nl=False)

    def _say(self, line: str) -> None:
        click.echo(line, err=self._to_stderr)
