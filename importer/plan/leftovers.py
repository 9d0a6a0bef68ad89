"""What is not taken over for any app, job or user, or was read in another form: said once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from importer.plan.around import Around
from importer.plan.notes import counted, shown
from importer.plan.values import Finding, Level
from importer.source.values import Installation, SourceGlue, SourceJob

_TRIMMED = (
    *(
        ("job_name", "name"),
        ("job_desc", "description"),
        ("author", "author"),
        ("misfire_strategy", "misfire"),
    ),
    *(("executor_route_strategy", "route"), ("executor_block_strategy", "block")),
)


def leftovers(
    installation: Installation, lost_glue: Sequence[SourceGlue], around: Around
) -> Iterable[Finding]:
    for note in installation.notes:
        yield Finding(Level.NOTE, installation.name, "database", "", "", note)
    for oddity in installation.oddities:
        why = "the value cannot be read as it stands"
        yield Finding(Level.REPAIRED, oddity.where, oddity.column, shown(oddity.value), oddity.taken, why)
    yield from _times(installation.jobs)
    yield from _dates(installation, around)
    yield from _blanks(installation.jobs)
    yield from _quartz(installation.jobs)
    if installation.executors:
        many = counted(len(installation.executors), "row")
        why = "executors register here within 30 s of being pointed here"
        yield Finding(Level.DROPPED, "registry", "registry_value", many, "nothing", why)
    sessions = [one.username for one in installation.users if one.has_session]
    if sessions:
        why = "people log in anew"
        yield Finding(Level.DROPPED, "users", "token", counted(len(sessions), "session"), "nothing", why)
    mails = [one for one in installation.jobs if (one.alarm_email or "").strip()]
    if mails:
        why = "kept, shown and given back to scripts; this version sends no mail itself: `events` and the API tell of failures"
        yield Finding(Level.WARNING, "jobs", "alarm_email", counted(len(mails), "job"), "kept", why)
    if lost_glue:
        many = f"{counted(len(lost_glue), 'row')}, of jobs {_some(lost_glue)}"
        why = "these jobs are not there any more"
        yield Finding(Level.DROPPED, "logglue", "glue_source", many, "nothing", why)


def _times(jobs: Sequence[SourceJob]) -> Iterable[Finding]:
    for column, name in (("trigger_last_time", "last_ms"), ("trigger_next_time", "next_ms")):
        count = sum(1 for one in jobs if getattr(one, name))
        if count:
            why = (
                "kept as the phase of jobs with a fixed rate; of others the next time is worked out anew, so that nothing is late"
                if name == "next_ms"
                else "what ran when is in the log"
            )
            became = "the phase, of fixed rates" if name == "next_ms" else "nothing"
            yield Finding(Level.NOTE, "jobs", column, counted(count, "job"), became, why)


def _dates(installation: Installation, around: Around) -> Iterable[Finding]:
    """When a job was made and changed last, where that cannot be kept."""
    columns = installation.columns.get("info", frozenset())
    for column, name, became in (
        ("add_time", "added", "the time of the import"),
        ("update_time", "updated", "that of add_time"),
    ):
        odd = [one.id for one in installation.jobs if not around.past_ms(getattr(one, name))]
        if odd and (column in columns or not columns):
            why = "no time stands there, or one that is yet to come"
            yield Finding(Level.REPAIRED, "jobs", column, _many(odd), became, why)
    if installation.groups and "update_time" in installation.columns.get("group", ()):
        many = counted(len(installation.groups), "group")
        why = "an app was changed last when it came here"
        yield Finding(Level.NOTE, "groups", "update_time", many, "the time of the import", why)


def _blanks(jobs: Sequence[SourceJob]) -> Iterable[Finding]:
    for column, name in _TRIMMED:
        odd = [one.id for one in jobs if (text := getattr(one, name)) and text != text.strip()]
        if odd:
            why = "blanks around it mean nothing"
            yield Finding(Level.NOTE, "jobs", column, _many(odd), "without blanks around it", why)


def _many(ids: Sequence[int]) -> str:
    return f"{counted(len(ids), 'job')}: {_first(list(map(str, sorted(ids))))}"


def _quartz(jobs: Sequence[SourceJob]) -> Iterable[Finding]:
    with_state = [one for one in jobs if one.quartz is not None]
    if not with_state:
        return
    for column, name in (
        ("NEXT_FIRE_TIME", "next_ms"),
        ("PREV_FIRE_TIME", "previous_ms"),
        ("SCHED_NAME", "scheduler"),
    ):
        count = sum(1 for one in with_state if getattr(one.quartz, name))
        if count:
            why = "what is due next is worked out anew from the schedule"
            yield Finding(Level.DROPPED, "triggers", column, counted(count, "trigger"), "nothing", why)
    firing = sum(1 for one in with_state if one.quartz is not None and one.quartz.is_firing)
    why = "in this release the triggers tell which jobs run"
    yield Finding(Level.NOTE, "triggers", "TRIGGER_STATE", f"{firing} of {len(with_state)} firing", "which jobs are to be enabled", why)  # fmt: skip


def _some(rows: Sequence[SourceGlue]) -> str:
    return _first(list(dict.fromkeys(str(one.job_id or f"{one.group}_{one.name}") for one in rows)))


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
