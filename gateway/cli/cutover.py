"""`cutover`: the jobs of an import pass from the old admin to this scheduler, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.cutover_options import OWN, check, cutover_options
from gateway.cli.root import FAILED
from gateway.cli.stopping import answerable, load, stoppable
from gateway.cli.target import database_options, one_line, run_loop, settings_of
from gateway.core.errors import InvalidValue, Refused

if TYPE_CHECKING:
    from gateway.cli.source import GivenSource
    from gateway.store.cutovers import CutoverStore, ImportedSource
    from gateway.store.way_back import WayBackStore
    from importer.cutover import Cutover
    from importer.way_back import NextTime, TakenBack

_MOST_SHOWN = 20
_MODULES = ("gateway.settings", "gateway.app.target", "importer.cutover", "importer.way_back")
_NO_DATABASE = "there is no gateway's database there: nothing was imported into it"


@click.command()
@cutover_options
@database_options
def cutover(**options: Any) -> int:
    """Enable the imported jobs here, once their old admin is stopped.

    Each goes on with the first slot that the old admin has not handled. With --back they are disabled again, so that the
    old admin can be started.
    """
    wanted = {name: options.pop(name) for name in OWN}
    load(*_MODULES)
    begun = _Begun()
    with one_line(), stoppable(begun.told):
        check(wanted)
        begun.settings = settings_of(options)
        given = None if wanted["back"] or wanted["source"] is None else _source(wanted)
        code: int = run_loop(_cutover(begun.settings, wanted, given, begun))
    return code


@dataclass(slots=True)
class _Begun:
    """Which installation's jobs are being changed: none as long as nothing is."""

    settings: Any = None
    imported: ImportedSource | None = None
    jobs: int = 0
    is_back: bool = False

    def told(self) -> str:
        """What the target holds now, and how to go on."""
        if self.imported is None:
            return "nothing was changed"
        live = run_loop(_live(self.settings, self.imported, is_back=self.is_back))
        return (
            f"{live:,} of {self.jobs:,} jobs are enabled here, the others are disabled. The same command goes on from there"
            + ("" if live == 0 else "; `cutover --back` disables all of them")
        )


async def _live(settings: Any, imported: ImportedSource, *, is_back: bool) -> int:
    from gateway.app.target import looking_at
    from gateway.core.clock import SystemClock
    from gateway.store.way_back import WayBackStore
    from importer.way_back import held

    async with looking_at(settings) as db:
        assert db is not None
        found = await held(WayBackStore(db, SystemClock()), imported)
        return len(found.items if is_back else found.live)


def _source(wanted: dict[str, Any]) -> GivenSource:
    from gateway.cli.source import source_of

    return source_of(wanted | {"timezone": None})


async def _cutover(settings: Any, wanted: dict[str, Any], given: GivenSource | None, begun: _Begun) -> int:
    from gateway.app.target import follow_clock, is_made, looking_at, working_on
    from gateway.core.acting import acting_for
    from gateway.core.clock import SystemClock
    from gateway.store.cutovers import AUTHOR, CutoverStore
    from gateway.store.way_back import WayBackStore

    clock = SystemClock()
    if not is_made(settings):
        raise Refused(_NO_DATABASE)
    opened = looking_at(settings) if wanted["dry_run"] else working_on(settings)
    async with opened as db:
        if db is None:
            raise Refused(_NO_DATABASE)
        await follow_clock(db, clock)
        with acting_for(AUTHOR):
            if wanted["back"]:
                return await _back(WayBackStore(db, clock), clock, wanted, begun)
            return await _there(CutoverStore(db, clock), clock, wanted, given, begun)


# ---------------------------------------------------------------- there


async def _there(
    store: CutoverStore, clock: Any, wanted: dict[str, Any], given: GivenSource | None, begun: _Begun
) -> int:
    import contextlib
    from dataclasses import replace

    from gateway.cli.progress import Progress
    from gateway.core.durations import parse_duration_ms
    from importer.cutover import CutoverOptions, carry_out, find_source, prepare
    from importer.plan.alive import Life, opinion
    from importer.source.source import open_source
    from importer.watch import demand_stopped

    options = CutoverOptions(
        is_stopped=wanted["old_admin_is_stopped"],
        ignore_changes=wanted["ignore_changes"],
        require_executors=wanted["require_executors"],
        takes_over=wanted["take_over"],
        watch_ms=parse_duration_ms(wanted["watch"], field="--watch"),
    )
    imported = find_source(await store.sources(), wanted["name"] if given is None else given.name)
    progress = Progress()
    async with contextlib.AsyncExitStack() as stack:
        source = None
        if given is not None:
            read_as = replace(given.options, timezone=imported.timezone or None)
            source = await stack.enter_async_context(open_source(given.url, read_as))
        found = await prepare(store, clock, imported, source, options, progress, _tell_waiting)
        progress.end()
        seen = None if source is None or options.is_stopped else await source.signs()
        _tell(found)
        if options.takes_over and not found.executors:
            _say(
                "warning: --take-over registers nobody: no executor of these apps was registered with the old admin at its end, "
                "or what executors of its release speak is not known"
            )
        if not found.starts:
            click.echo("Nothing is to be enabled.")
            if not found.executors:
                return 0
        if wanted["dry_run"]:
            click.echo("Nothing was changed (--dry-run).")
            return 0
        question = (
            f"Enable {len(found.starts)} jobs here?" if found.starts else "Register these executors here?"
        )
        if not wanted["yes"] and not _agreed(question):
            click.echo("Nothing was changed.")
            return FAILED
        if source is not None and seen is not None:
            # It may have been started while somebody thought about the answer.
            last = opinion(seen, await source.signs())
            if last.life in {Life.ALIVE, Life.CONNECTED}:
                demand_stopped(last, imported.name)
        begun.imported, begun.jobs = imported, found.live + len(found.starts)
        done = await carry_out(store, clock, found, progress)
        progress.end()
    if not found.starts:
        click.echo(f"{len(found.executors)} executors are registered here.")
    elif done.enabled or not done.elsewhere:
        click.echo(f"{len(done.enabled)} jobs are enabled here and go on with the slots above.")
    if done.elsewhere:
        click.echo(f"{len(done.elsewhere)} jobs were enabled by another cutover at this moment.")
    if done.lost:
        click.echo(
            f"warning: {_listed(done.lost)}: changed by somebody at this moment, left as they are: "
            "run the command again"
        )
    return 0


def _tell(found: Cutover) -> None:
    from gateway.core.clock import iso_utc

    _say(f"Installation {found.source.name} (XXL-JOB {found.source.release}, {found.source.timezone})")
    if found.life is not None:
        _say(f"The old admin is stopped: {'; '.join(found.life.reasons)}.")
    elif found.clock_ms is None:
        _say("You say that the old admin is stopped; its database was not looked at: jobs go on from now.")
    else:
        _say("You say that the old admin is stopped; it was not looked for signs of life.")
    if found.clock_ms is not None:
        ahead = f"{abs(found.clock_ms) / 1000:.1f} s {'ahead of' if found.clock_ms > 0 else 'behind'}"
        is_off = abs(found.clock_ms) > 1000
        _say(f"{'warning: ' if is_off else ''}Its database's clock is {ahead} the one that jobs follow here.")
    if found.live:
        _say(f"{found.live} jobs were cut over before and stay as they are.")
    if found.starts:
        first = min(one.first_ms for one in found.starts)
        text = f"{len(found.starts)} jobs are to be enabled; the earliest slot is {iso_utc(first)}"
        if found.late:
            text += f". {found.late} of them were due before now: each slot gets a row here, by the job's misfire policy"
        _say(f"{text}.")
    _list("its schedule is over, stays disabled", [_job(one) for one in found.ended])
    _list("changed here since the import, stays as it is", [_job(one) for one in found.edited])
    _list("deleted here since the import", [f"job {one}" for one in found.missing])
    _list("changed there since the import, goes on as it was imported", _numbers(found.changes.changed))
    groups = [f"group {one} of the source" for one in found.changes.groups]
    _list("changed there since the import, its app goes on as it was imported", groups)
    _list("new there since the import, not here", _numbers(found.changes.added))
    _list("deleted there since the import, stays disabled", _numbers(found.changes.removed))
    _list("stopped there since the import, stays disabled", _numbers(found.changes.switched))
    _list(
        "taken as handled by the old admin, whose log does not prove it",
        [f"{_job(one.job)}: {', '.join(map(iso_utc, one.slots))}" for one in found.unsure],
    )
    _list(
        "missed so many slots that only those of the last hour have rows",
        [_job(one) for one in found.shortened],
    )
    if found.executors:
        _say(
            f"{len(found.executors)} executors that were registered with the old admin are taken as registered here: "
            "the gateway has to be at its address, with its token."
        )
    for appname in found.without_executors:
        _say(f"warning: no executor of {appname} is registered here: its jobs would fail")


def _say(text: str) -> None:
    """Names are of a foreign database: nothing of them steers the terminal."""
    from importer.report.text import line_of

    click.echo(line_of(text))


def _tell_waiting(line: str) -> None:
    click.echo(line, err=True)


def _job(job: Any) -> str:
    return f"job {job.id} ({job.name})"


def _numbers(ids: Any) -> list[str]:
    return [f"job {one} of the source" for one in ids]


def _list(what: str, lines: list[str]) -> None:
    for line in lines[:_MOST_SHOWN]:
        _say(f"  {line}: {what}")
    if len(lines) > _MOST_SHOWN:
        _say(f"  … and {len(lines) - _MOST_SHOWN} more: {what}")


def _listed(ids: Any) -> str:
    return ", ".join(map(str, ids[:_MOST_SHOWN])) + (" …" if len(ids) > _MOST_SHOWN else "")


def _agreed(question: str) -> bool:
    with answerable():
        return click.confirm(question)


# ---------------------------------------------------------------- back


async def _back(store: WayBackStore, clock: Any, wanted: dict[str, Any], begun: _Begun) -> int:
    from gateway.cli.source import table_map_of
    from importer.cutover import find_source
    from importer.source.names import name_here
    from importer.source.url import parse_source
    from importer.way_back import (
        TABLE,
        held,
        is_told_next_times,
        next_times,
        next_times_beforehand,
        take_back,
    )

    name = wanted["name"]
    if name is None and wanted["source"] is not None:
        name = parse_source(wanted["source"]).name
    sql, table = wanted["sql"], name_here(TABLE, table_map_of(wanted["table_map"]))
    imported = find_source(await store.sources(), name)
    found = await held(store, imported)
    _say(f"Installation {imported.name}: {len(found.live)} jobs were enabled by a cutover.")
    by_hand = [f"job {one.new_id} ({found.names[one.new_id]})" for one in found.by_hand]
    _list("enabled here by hand, and in the old admin when it was imported: is disabled as well", by_hand)
    if wanted["dry_run"]:
        click.echo("Nothing was changed.")
        return 0
    is_told = is_told_next_times(imported)
    if not found.items:
        click.echo("Nothing was changed.")
        if sql and is_told and (earlier := await next_times(store, imported, clock.now_ms())):
            _write(sql, earlier, table)
            _tell_file(sql, earlier)
        return 0
    if not wanted["yes"] and not _agreed(f"Disable {len(found.items)} jobs here?"):
        click.echo("Nothing was changed.")
        return FAILED
    if sql:
        _writable(sql)
        if is_told:
            beforehand = await next_times_beforehand(store, imported, found.items, clock.now_ms())
            _write(sql, beforehand, table, beforehand=True)
    begun.imported, begun.jobs, begun.is_back = imported, len(found.items), True
    taken = await take_back(store, clock, imported)
    _tell_back(taken)
    if not is_told:
        return 0
    if sql:
        _list("deleted here, and its history as well: gets no next time", _numbers(taken.unknown))
        _write(sql, taken.following, table)
        _tell_file(sql, taken.following)
    else:
        click.echo(
            "warning: without the next times that --sql FILE writes the old admin takes the slots since its stop for "
            "missed, and fires jobs with FIRE_ONCE_NOW at once: give `cutover --back --sql FILE` now"
        )
    return 0


def _write(path: str, following: Sequence[NextTime], table: str, *, beforehand: bool = False) -> None:
    """On the disk when it returns; a file that is there is replaced as a whole."""
    import os

    from importer.way_back import next_times_sql

    target = Path(path)
    is_plain = target.is_file() and not target.is_symlink()
    written = target.with_name(f"{target.name}.part") if is_plain else target
    if beforehand and not is_plain:
        return  # a pipe or a device: it gets the text once
    try:
        with written.open("w", encoding="utf-8") as file:
            file.write(next_times_sql(following, table, beforehand=beforehand))
            file.flush()
            if is_plain:
                os.fsync(file.fileno())
        if is_plain:
            written.replace(target)
    except OSError as error:
        raise InvalidValue("--sql", path, f"a file that can be written ({error.strerror})") from None


def _tell_file(path: str, following: Sequence[NextTime]) -> None:
    click.echo(
        f"Before the old admin is started, run {path} on its database: it holds the next times of {len(following)} jobs."
    )


def _writable(path: str) -> None:
    try:
        with Path(path).open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise InvalidValue("--sql", path, f"a file that can be written ({error.strerror})") from None


def _tell_back(taken: TakenBack) -> None:
    from gateway.core.clock import iso_utc

    others = f", {taken.others} were already" if taken.others else ""
    click.echo(f"{taken.disabled} jobs are disabled here{others}.")
    click.echo(
        f"No slot after {iso_utc(taken.since_ms)} is sent from here: the old admin can be started. Runs that have begun "
        "report here as long as executors have this address."
    )
