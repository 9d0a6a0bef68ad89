"""The moment at which jobs pass from an old admin to this scheduler: none of their slots twice, none lost on the way.

`prepare` looks and decides, and changes nothing; `carry_out` enables what it has decided on, and can be repeated after
a kill in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gateway.core.chain import is_chained
from gateway.core.clock import Clock
from gateway.core.confine import schedule_of
from gateway.core.errors import Refused
from gateway.core.model import Executor, Job
from gateway.core.schedule import FixedRate, parse_schedule
from gateway.core.zones import Zone, resolve_zone
from gateway.store.cutovers import AT_ONCE, CutoverStore, ImportedSource
from gateway.store.imports import Item, undone_in_part
from gateway.store.starts import Start, first_slot
from importer.changes import Changes, changes_of, listed, rescheduled, told_changes
from importer.plan.alive import ENOUGH_MS, PATIENCE, Opinion, Patience
from importer.plan.around import jobs_by_key
from importer.plan.resume import End, Logged, LogSpan, OldState, bounded, resume
from importer.source.signs import instant_ms
from importer.source.source import Source
from importer.source.values import Installation, SourceJob, SourceLog
from importer.take_over import executors_of
from importer.watch import Progress, Tell, demand_stopped, watch

# What is not known of the old admin's clock: it may have been so much ahead of its database's.
CLOCK_MS = 2_000
_LOG_PAGE = 5_000
_OLDER_IDS = 100_000


@dataclass(frozen=True, slots=True)
class CutoverOptions:
    """`is_stopped`: somebody vouches for the old admin's end, it is not looked for. `takes_over`: its address."""

    is_stopped: bool = False
    ignore_changes: bool = False
    require_executors: bool = False
    takes_over: bool = False
    watch_ms: int = ENOUGH_MS
    patience: Patience = PATIENCE


@dataclass(frozen=True, slots=True)
class Unsure:
    """Slots of a job that were taken as handled by the old admin, although its log does not prove it."""

    job: Job
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cutover:
    """What is to be done. `ended`: their schedules are over; `edited`: changed here since the import; `missing`: deleted here.

    `clock_ms`: by how much the source's database is ahead of scheduling time. `late`: jobs that were due before now.
    `shortened`: jobs with so many missed slots that only those of the last hour are made up for.
    """

    source: ImportedSource
    starts: tuple[Start, ...]
    life: Opinion | None = None
    clock_ms: int | None = None
    live: int = 0
    ended: tuple[Job, ...] = ()
    edited: tuple[Job, ...] = ()
    missing: tuple[int, ...] = ()
    changes: Changes = field(default_factory=Changes)
    unsure: tuple[Unsure, ...] = ()
    late: int = 0
    shortened: tuple[Job, ...] = ()
    without_executors: tuple[str, ...] = ()
    # Of the old admin, where its address is taken over.
    executors: tuple[Executor, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """`lost`: changed by somebody between look and deed, so they were left as they are; `elsewhere`: enabled by another cutover."""

    enabled: tuple[int, ...]
    lost: tuple[int, ...]
    elsewhere: tuple[int, ...] = ()


def find_source(sources: Sequence[ImportedSource], name: str | None) -> ImportedSource:
    """The import of that name, or the only one. Raises `Refused`."""
    if not sources:
        raise Refused("nothing was imported into this database: run `xxljob-gateway import` first")
    known = ", ".join(one.name for one in sources)
    if name is None:
        if len(sources) > 1:
            raise Refused(f"several installations were imported: name one with --name ({known})")
        return sources[0]
    for one in sources:
        if one.name == name:
            return one
    raise Refused(f"no installation {name!r} was imported into this database; there is {known}: give --name")


# ---------------------------------------------------------------- what is to be done


async def prepare(
    store: CutoverStore,
    clock: Clock,
    imported: ImportedSource,
    source: Source | None,
    options: CutoverOptions,
    progress: Progress = lambda _what, _done, _of: None,
    tell: Tell = lambda _line: None,
) -> Cutover:
    """Raises `Refused` where it must not be done, `SourceError`."""
    if imported.undone_in_part:
        raise Refused(undone_in_part(imported.name))
    items = await store.items(imported.id)
    life, ahead_ms, installation, dead_ms = None, None, None, 0
    if source is not None:
        if options.is_stopped:
            before_ms = clock.now_ms()
            first = await source.signs()
            ahead_ms = first.database_now_ms - (before_ms + clock.now_ms()) // 2
        else:
            life, first, ahead_ms = await watch(
                source, clock, options.watch_ms, progress, options.patience, tell
            )
            demand_stopped(life, imported.name)
        dead_ms = first.database_now_ms + CLOCK_MS
        installation = await source.installation()
    jobs = await store.load(imported.id, [one for one in items if not one.live])
    groups = await store.groups(imported.id)
    changes = Changes()
    if installation is not None:
        changes = changes_of(installation, items, groups, jobs, imported.timezone)
    if changes.any and not options.ignore_changes:
        raise Refused(
            f"the source has changed since it was imported: {told_changes(changes)}. Take it over with "
            "`xxljob-gateway import --existing update`, or cut over what was imported: --ignore-changes"
        )
    wanted = [one for one in items if one.wants_enabled and not one.live]
    edited = set(await store.edited(jobs, {one.new_id: one.version for one in wanted}))
    left = {*changes.removed, *changes.switched}
    going = [
        one
        for one in wanted
        if one.new_id in jobs and one.new_id not in edited and int(one.old_key) not in left
    ]
    now_ms = clock.now_ms()
    if installation is None or source is None:
        found = [_from_now(one, jobs[one.new_id], now_ms) for one in going]
    else:
        zone = resolve_zone(imported.timezone)
        logged, end = await _history(source, installation, going, zone, dead_ms)
        imported_as = {int(one.old_key): jobs[one.new_id] for one in going}
        others = rescheduled(installation, changes, imported_as, imported.timezone)
        states = {
            row.id: replace(state_of(row, is_rescheduled=row.id in others), logged=logged.get(row.id, ()))
            for row in installation.jobs
        }
        found = [_resumed(one, jobs[one.new_id], states[int(one.old_key)], end, now_ms) for one in going]
    done = await store.done_here([one.start for one in found if one.start is not None])
    found = [_behind(one, done.get(one.job.id, 0), now_ms) for one in found]
    starts = tuple(one.start for one in found if one.start is not None)
    apps = {one.job.app_id for one in starts}
    executors: list[Executor] = []
    if options.takes_over and installation is not None:
        app_ids = {one.old_key: one.new_id for one in groups}
        zone = resolve_zone(imported.timezone)
        live = await store.load(imported.id, [one for one in items if one.live])
        served = apps | {one.app_id for one in live.values()}
        executors = [one for one in executors_of(installation, app_ids, zone, now_ms) if one.app_id in served]
    without = await store.apps_without_executors(apps - {one.app_id for one in executors})
    if without and options.require_executors:
        raise Refused(f"no executor is registered here for {listed(without)}: their jobs would fail")
    return Cutover(
        source=imported,
        starts=starts,
        life=life,
        clock_ms=ahead_ms,
        live=sum(one.live for one in items),
        ended=tuple(one.job for one in found if one.start is None),
        edited=tuple(jobs[one] for one in sorted(edited)),
        missing=tuple(one.new_id for one in wanted if one.new_id not in jobs),
        changes=changes,
        unsure=tuple(Unsure(one.job, one.unsure) for one in found if one.unsure),
        late=sum(one.first_ms <= now_ms for one in starts),
        shortened=tuple(one.job for one in found if one.is_shortened),
        without_executors=tuple(without),
        executors=tuple(executors),
    )


# ---------------------------------------------------------------- where each job goes on


@dataclass(frozen=True, slots=True)
class _Found:
    job: Job
    start: Start | None
    unsure: tuple[int, ...] = ()
    is_shortened: bool = False


def _from_now(item: Item, job: Job, now_ms: int) -> _Found:
    """Nobody knows what the old admin did: what is due from now on is ours."""
    first_ms = schedule_of(job).first_after(now_ms)
    return _Found(job, None if first_ms is None else Start(job, item.old_key, first_ms, job.anchor_ms))


def _resumed(item: Item, job: Job, state: OldState, end: End, now_ms: int) -> _Found:
    if is_chained(job):  # of a fork; it has no slots but the next
        return _from_now(item, job, max(state.next_ms, now_ms))
    phase_ms = phase_of(job, state)
    schedule = schedule_of(job if phase_ms is None else replace(job, anchor_ms=phase_ms))
    found = resume(schedule, state, end)
    if found.first_ms is None:
        return _Found(job, None, found.unsure)
    is_as_before = phase_ms is None or _keeps_phase(job, phase_ms, found.first_ms)
    anchor_ms = job.anchor_ms if is_as_before else found.first_ms
    return _Found(job, Start(job, item.old_key, found.first_ms, anchor_ms), found.unsure)


def _behind(found: _Found, done_ms: int, now_ms: int) -> _Found:
    """After what has rows here from an earlier time, whose doubts were told then; and not further back than is made up for."""
    start = found.start
    if start is None or is_chained(found.job):
        return found
    unsure = () if done_ms >= start.first_ms else found.unsure
    first_ms = first_slot(start, done_ms)
    if first_ms is None:
        return _Found(found.job, None, unsure)
    schedule = schedule_of(replace(found.job, anchor_ms=start.anchor_ms))
    bounded_ms = bounded(schedule, first_ms, now_ms)
    return _Found(found.job, replace(start, first_ms=bounded_ms), unsure, is_shortened=bounded_ms != first_ms)


def _keeps_phase(job: Job, phase_ms: int, first_ms: int) -> bool:
    schedule = parse_schedule(job.schedule, anchor_ms=job.anchor_ms)
    return (
        isinstance(schedule, FixedRate)
        and schedule.anchor_ms <= first_ms
        and (schedule.anchor_ms - phase_ms) % schedule.every_ms == 0
    )


def state_of(row: SourceJob, *, is_rescheduled: bool = False) -> OldState:
    """Between seconds there are slots in the rows only: they fire with the whole ones."""
    last_ms, next_ms = row.last_ms, row.next_ms
    if row.quartz is not None:
        last_ms, next_ms = row.quartz.previous_ms, row.quartz.next_ms
    return OldState(
        _second(last_ms), 0 if is_rescheduled else _second(next_ms), is_rescheduled=is_rescheduled
    )


def _second(at_ms: int | None) -> int:
    return max(at_ms or 0, 0) // 1000 * 1000


def phase_of(job: Job, state: OldState) -> int | None:
    """An early instant of the phase that a fixed rate has in the source now; None for other schedules.

    It was imported from the next slot of then, and has perhaps been stopped and started since. Where the next one is not
    known, it is that of the import.
    """
    schedule = parse_schedule(job.schedule, anchor_ms=job.anchor_ms)
    if not isinstance(schedule, FixedRate):
        return None
    return (state.next_ms or schedule.anchor_ms) % schedule.every_ms


async def _history(
    source: Source, installation: Installation, items: Sequence[Item], zone: Zone, dead_ms: int
) -> tuple[dict[int, list[Logged]], End]:
    """What the log says about the last moments of the old admin, by job."""
    wanted = {int(one.old_key) for one in items}
    states = [state_of(job) for job in installation.jobs if job.id in wanted]
    newest_ms = instant_ms(installation.signs.last_log, zone, earliest=True)
    span = LogSpan(newest_ms)
    from_ms = End.of(states, span, dead_ms).log_from_ms
    first_id, last_id = await source.log_bounds(_local(from_ms, zone))
    by_key = jobs_by_key(installation.jobs)
    logged: dict[int, list[Logged]] = {}
    after = first_id - 1
    while first_id and after < last_id:
        rows = await source.logs(after, last_id, _LOG_PAGE, messages=False)
        for row in rows:
            job_id = row.job_id or by_key.get(f"{row.group}_{row.name}", 0)
            logged.setdefault(job_id, []).append(_logged(row, zone))
        after = rows[-1].id if rows else last_id
    older_ms = 0
    if not first_id:
        older_ms = newest_ms
    elif not _comes_twice(from_ms, zone):
        older = await source.logs(max(first_id - _OLDER_IDS, 0), first_id - 1, 1, messages=False)
        older_ms = _logged(older[0], zone).at_ms if older else 0
    return logged, End.of(states, LogSpan(newest_ms, older_ms), dead_ms)


def _logged(row: SourceLog, zone: Zone) -> Logged:
    # Of an hour that came twice a row must not prove a slot that was yet to come when it was written.
    at_ms = instant_ms(row.triggered, zone, earliest=True)
    return Logged(at_ms, row.trigger_code != 0 or row.handle_code != 0)


def _comes_twice(at_ms: int, zone: Zone) -> bool:
    """What the clock showed then it has shown before, or again: no row from then on proves that a slot did not fire."""
    at_s = at_ms // 1000
    return len(zone.instants(at_s + zone.offset_s(at_s))) > 1


def _local(at_ms: int, zone: Zone) -> datetime:
    """What the old admin's clock showed then."""
    at_s = at_ms // 1000
    shown = datetime.fromtimestamp(0, UTC) + timedelta(seconds=at_s + zone.offset_s(at_s))
    return shown.replace(tzinfo=None)


# ---------------------------------------------------------------- it is done


async def carry_out(
    store: CutoverStore,
    clock: Clock,
    cutover: Cutover,
    progress: Progress = lambda _what, _done, _of: None,
) -> Done:
    """Those that are due first come first; their executors before them."""
    if cutover.executors:
        now_ms = clock.now_ms()
        await store.register(
            [replace(one, registered_ms=now_ms, last_beat_ms=now_ms) for one in cutover.executors]
        )
    starts = sorted(cutover.starts, key=lambda one: one.first_ms)
    enabled: list[int] = []
    for begin in range(0, len(starts), AT_ONCE):
        enabled += await store.enable(cutover.source, starts[begin : begin + AT_ONCE])
        progress("jobs", min(begin + AT_ONCE, len(starts)), len(starts))
    if starts:
        await store.mark(cutover.source, clock.now_ms())
    lost = {one.job.id for one in starts} - set(enabled)
    live = {one.new_id for one in await store.items(cutover.source.id) if one.live} if lost else set()
    return Done(tuple(sorted(enabled)), tuple(sorted(lost - live)), tuple(sorted(lost & live)))
