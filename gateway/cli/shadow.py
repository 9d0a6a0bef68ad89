"""Command: shadow."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.root import WRONG_INPUT, Failure
from gateway.cli.source import (
    GivenSource,
    release_of,
    release_option,
    report_option,
    source_of,
    source_options,
)
from gateway.cli.stopping import load, stoppable
from gateway.cli.target import one_line, run_loop
from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue

if TYPE_CHECKING:
    from gateway.core.clock import Clock
    from importer.shadow.session import ShadowOptions

STANDARD_OUTPUT = "-"
_COLUMNS = 140  # of a report that goes to no terminal
_LEAST_SETTLE_MS = 2000
_LEAST_EVERY_MS = 500
_LEAST_LINE_S = 0.5
SAVED_EVERY_S = 600


@click.command()
@source_options
@click.option("--every", default="30s", show_default=True, metavar="DURATION", help="how often to look")
@click.option("--for", "for_", metavar="DURATION", help="how long to watch; until Ctrl-C if left out")
@click.option(
    "--settle",
    default="2m",
    show_default=True,
    metavar="DURATION",
    help="how old a slot must be before it is judged",
)
@click.option(
    "--from", "start", metavar="INSTANT", help="look back on the log from there on, instead of watching"
)
@click.option("--to", "end", metavar="INSTANT", help="the end of that range; now if left out")
@click.option("--job", "only", type=int, multiple=True, metavar="ID", help="only this job (repeat it)")
@release_option
@report_option
def shadow(**options: Any) -> int:
    """Compare what this scheduler would fire with what a running xxl-job-admin fires, by its database.

    Only reads, with SELECT rights; dispatches nothing and needs no database here. Ctrl-C ends it with the summary.
    """
    load(
        "importer.shadow.session",
        "importer.shadow.files",
        "importer.report.files",
        "importer.report.terminal",
    )
    with one_line(), stoppable("there is no summary, or not all of it was written"):
        from importer.report.files import require_report

        reports = tuple(dict.fromkeys(options.pop("reports")))
        for path in reports:
            require_report(path)
        asked = _asked(options)
        source: GivenSource = source_of(options)
        return _run(source, replace(asked, name=source.name), reports)


def _asked(options: dict[str, Any]) -> ShadowOptions:
    """Raises `InvalidValue` for an option that is wrong, before anything is connected."""
    from importer.shadow.follow import Pace
    from importer.shadow.session import ShadowOptions

    every_ms = _duration(options.pop("every"), "--every", _LEAST_EVERY_MS)
    settle_ms = _duration(options.pop("settle"), "--settle", _LEAST_SETTLE_MS)
    start, end, for_ = options.pop("start"), options.pop("end"), options.pop("for_")
    if end is not None and start is None:
        raise InvalidValue("--to", end, "given together with --from")
    if for_ is not None and start is not None:
        raise InvalidValue("--for", for_, "left out with --from: that looks back and ends by itself")
    for_ms = None if for_ is None else _duration(for_, "--for", settle_ms + 1)
    release = options.pop("source_release")
    return ShadowOptions(
        pace=Pace(every_ms / 1000, settle_ms, None if for_ms is None else for_ms / 1000),
        timezone=options["timezone"],
        release=release_of(release),
        only=frozenset(options.pop("only")),
        start=start,
        end=end,
    )


def _duration(text: str, field: str, least_ms: int) -> int:
    duration_ms = parse_duration_ms(text, field=field)
    if duration_ms < least_ms:
        more = ": nothing is judged before that (--settle)" if field == "--for" else ""
        raise InvalidValue(field, text, f"at least {least_ms / 1000:g} s{more}")
    return duration_ms


def _run(source: GivenSource, asked: ShadowOptions, reports: tuple[str, ...]) -> int:
    from gateway.core.clock import SystemClock
    from importer.errors import SourceError
    from importer.shadow.session import Shadow

    clock = SystemClock()
    line, saved = _Line(clock), Saved(clock, reports)

    def tell(found: Callable[[], Mapping[str, Any]]) -> None:
        line.tell(found)
        saved.tell(found)

    told = Shadow(source.url, source.options, asked, clock, tell)

    async def main() -> SourceError | None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A second one ends it at once. Under nohup the end of the terminal is none of the watch.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, _once(loop, number, stopped))
        try:
            await told.run(stopped)
        except SourceError as error:
            return error
        return None

    error = run_loop(main())
    line.end()
    if told.found is not None:
        _show(told.found, reports)
    elif error is None:
        raise Failure("stopped before the first look: there is nothing to tell", WRONG_INPUT)
    if error is not None:
        raise Failure(str(error), WRONG_INPUT)
    return 0


def _once(loop: asyncio.AbstractEventLoop, number: int, stopped: asyncio.Event) -> Callable[[], None]:
    def stop() -> None:
        stopped.set()
        loop.remove_signal_handler(number)

    return stop


def _show(found: Mapping[str, Any], reports: tuple[str, ...]) -> None:
    from importer.report.terminal import lines_of
    from importer.shadow.document import TERMINAL, document_of
    from importer.shadow.files import pieces_of, write_shadow

    if STANDARD_OUTPUT in reports:
        for piece in pieces_of(STANDARD_OUTPUT, found):
            click.echo(piece, nl=False)
    else:
        columns = shutil.get_terminal_size((_COLUMNS, 24)).columns if sys.stdout.isatty() else _COLUMNS
        for text in lines_of(document_of(found, TERMINAL), columns):
            click.echo(text)
    for path in reports:
        if path == STANDARD_OUTPUT:
            continue
        try:
            write_shadow(path, found)
        except OSError as error:
            raise Failure(f"--report: {path} cannot be written: {error.strerror}", WRONG_INPUT) from None
        click.echo(f"report: {path}", err=True)


class Saved:
    """Writes the reports now and then, so that a watch of days is not lost with its machine."""

    def __init__(self, clock: Clock, paths: tuple[str, ...]) -> None:
        self._clock = clock
        self._paths = [path for path in paths if path != STANDARD_OUTPUT]
        self._again = clock.monotonic() + SAVED_EVERY_S

    def tell(self, found: Callable[[], Mapping[str, Any]]) -> None:
        if not self._paths or self._clock.monotonic() < self._again:
            return
        from importer.shadow.files import write_shadow

        self._again = self._clock.monotonic() + SAVED_EVERY_S
        told = found()
        for path in self._paths:
            try:
                write_shadow(path, told)
            except OSError as error:
                click.echo(f"{path} was not written: {error.strerror}", err=True)


class _Line:
    """A line on a terminal that says how it goes; elsewhere nothing. It takes a tenth of the time at most."""

    def __init__(self, clock: Clock) -> None:
        self._shown = sys.stderr.isatty()
        self._clock = clock
        self._again = 0.0
        self._open = False

    def tell(self, found: Callable[[], Mapping[str, Any]]) -> None:
        began = self._clock.monotonic()
        if not self._shown or began < self._again:
            return
        from importer.shadow.document import one_line as in_one_line

        room = shutil.get_terminal_size().columns - 1
        click.echo(f"\r\x1b[K{in_one_line(found())[:room]}", nl=False, err=True)
        now = self._clock.monotonic()
        self._again = now + max(_LEAST_LINE_S, 10 * (now - began))
        self._open = True

    def end(self) -> None:
        if self._open:
            click.echo(err=True)
