"""What is here already: of an earlier import from the same source, or made by people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from gateway.core.errors import Conflict
from gateway.core.generations import UNREGISTERED
from gateway.core.model import App, Job
from gateway.core.versions import changes
from importer.plan.apps import DraftApp
from importer.plan.jobs import name_of
from importer.plan.notes import Notes, counted, shown
from importer.plan.target import ImportedJob, Target
from importer.plan.values import Action, Existing, Finding
from importer.source.values import SourceJob

_MOST_NAMED = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_OFFSET_MS, _OFFSETS_APART_MS = 14 * 3_600_000, 900_000
# What XXL-JOB's own SQL begins every installation with.
_SAMPLES = frozenset(
    {
        *("demoJobHandler", "ollamaJobHandler", "difyWorkflowJobHandler"),
        *("xxl-job-executor-sample", "xxl-job-executor-sample-ai", "xxl-job-executor-example"),
    }
)
_COMPARED = (
    *("app_id", "name", "schedule", "task", "misfire", "route", "block_strategy"),
    *("timeout_s", "max_attempts", "description", "children", "contact"),
)
_UPDATED = ("title", "address_mode", "addresses")
_OF_APP = ("appname", *_UPDATED)
_ANEW = "`import --undo`, then import it again"
RENAMED = (
    "it has another appname in the source since; no edit changes one here, and executors that register under the "
    f"other one get none of its jobs: {_ANEW}"
)


def refuse(target: Target, source: str, existing: Existing, *, merge: bool) -> None:
    """Raises `Conflict` where the target holds what this import must not touch."""
    mine = {one.new_id for one in target.imported_jobs.values()}
    others = sorted(target.jobs.keys() - mine)
    if others and not merge:
        raise Conflict(
            f"--merge: {_that_do_not_come(len(others))} from {source} (ids {_some(others)}): "
            "import into an empty gateway, or say --merge to have both side by side"
        )
    if existing is Existing.FAIL:
        again = sorted(old for old, one in target.imported_jobs.items() if one.new_id in target.jobs)
        if again or target.imported_apps.keys() & set(_there(target)):
            raise Conflict(
                f"--existing fail: {counted(len(again), 'job')} of {source} {'has' if len(again) == 1 else 'have'} been "
                f"imported before (ids there: {_some(again)}): choose skip or update"
            )


def refuse_another(
    jobs: Sequence[SourceJob], drafts: Sequence[DraftApp], target: Target, source: str
) -> None:
    """Raises `Conflict` where what has the ids of an earlier import is something else: through a tunnel, another
    database has the same name. Jobs tell; where none has such an id, groups do.
    """
    alike = _jobs_alike(jobs, target)
    what, alike = ("job", alike) if alike else ("group", _groups_alike(drafts, target))
    others = [key for key, is_same in alike if not is_same]
    if 2 * len(others) > len(alike):
        raise Conflict(
            f"--name: under the name {source} another installation was imported: of {counted(len(alike), what)} with "
            f"an id that was imported, {len(others)} have nothing in common with what is here "
            f"(ids {_some(others)}): give this one a --name of its own, or take the other back with `import --undo`"
        )


def _jobs_alike(jobs: Sequence[SourceJob], target: Target) -> list[tuple[object, bool]]:
    found: list[tuple[object, bool]] = []
    for job in jobs:
        known = target.imported_jobs.get(job.id)
        there = None if known is None else target.jobs.get(known.new_id)
        if there is None:
            continue
        is_same = _added_then(job.added, there.created_ms) or name_of(job, Notes("")) == there.name
        if not (is_same and there.task.handler in _SAMPLES):
            found.append((job.id, is_same))
    return found


def _added_then(added: datetime | None, created_ms: int) -> bool:
    """On whatever clock it was read then: a zone that was wrong is put right by a second import."""
    if added is None:
        return False
    shown = added if added.tzinfo is not None else added.replace(tzinfo=UTC)
    apart_ms = (shown - _EPOCH) // timedelta(milliseconds=1) - created_ms
    return apart_ms % _OFFSETS_APART_MS == 0 and abs(apart_ms) <= _MOST_OFFSET_MS


def _groups_alike(drafts: Sequence[DraftApp], target: Target) -> list[tuple[object, bool]]:
    found: list[tuple[object, bool]] = []
    for draft in drafts:
        for key in draft.keys:
            there = target.apps.get(target.imported_apps.get(key, 0))
            if draft.gone or there is None:
                continue
            is_same = there.appname == draft.appname
            if not (is_same and there.appname in _SAMPLES):
                found.append((key, is_same))
    return found


def _that_do_not_come(number: int) -> str:
    if number == 1:
        return "there is 1 job here that does not come"
    return f"there are {number} jobs here that do not come"


def _there(target: Target) -> list[str]:
    return [key for key, app_id in target.imported_apps.items() if app_id in target.apps]


def _some(ids: Sequence[object]) -> str:
    text = ", ".join(map(str, ids[:_MOST_NAMED]))
    return text if len(ids) <= _MOST_NAMED else f"{text} and {len(ids) - _MOST_NAMED} more"


def app_again(
    there: App, wanted: App, existing: Existing, notes: Notes, *, source_changed: bool
) -> tuple[Action, App, tuple[str, ...]]:
    """An app that an earlier import has made. Its appname is for ever, as everywhere here."""
    if not wanted.addresses and there.dialect in UNREGISTERED:
        # The old registry forgets them when they or the old admin stop; here they were entered by hand.
        wanted = replace(wanted, address_mode=there.address_mode, addresses=there.addresses)
    told = app_changes(there, wanted)
    if there.appname != wanted.appname:
        notes.warn("app_name", wanted.appname, f"app {there.appname!r}", RENAMED)
    is_other = any(getattr(there, name) != getattr(wanted, name) for name in _UPDATED)
    if source_changed:
        told = ("changed in the source since", *told)
    if existing is Existing.UPDATE and (is_other or source_changed):
        dialect = (there.dialect or wanted.dialect) if wanted.addresses else ""
        changed = replace(there, title=wanted.title, address_mode=wanted.address_mode, dialect=dialect)
        return Action.UPDATE, replace(changed, addresses=wanted.addresses), told
    return Action.SKIP, there, told


def app_changes(there: App, wanted: App) -> tuple[str, ...]:
    return _told(
        {name: getattr(there, name) for name in _OF_APP}, {name: getattr(wanted, name) for name in _OF_APP}
    )


def job_again(
    there: Job, wanted: Job, known: ImportedJob, digest: str, existing: Existing, notes: Notes
) -> tuple[Action, Job, tuple[str, ...]]:
    """A job that an earlier import has made: the row's digest tells whether the source has changed since."""
    source_changed, people_changed = known.digest != digest, known.version != there.version
    if not source_changed and not people_changed:
        return Action.SKIP, there, ()
    told = _told(_compared(there), _compared(wanted))
    if people_changed:
        told = (f"changed here since: version {there.version}, imported as version {known.version}", *told)
    if not source_changed:
        return Action.SKIP, there, told
    told = ("changed in the source since", *told)
    if known.live:
        why = "it was cut over, so that it is this gateway's: changes of the old admin do not count any more"
        notes.warn("job", wanted.name, "left as it is", why)
        return Action.SKIP, there, told
    if existing is not Existing.UPDATE:
        return Action.SKIP, there, told
    if there.app_id != wanted.app_id:
        why = f"its group has changed in the source; no edit moves a job to another app here: {_ANEW}"
        notes.warn("job_group", wanted.app_id, f"it stays in app {there.app_id}", why)
    return Action.UPDATE, _updated(there, wanted), told


def gone_there(
    old_ids: Collection[int], target: Target, existing: Existing
) -> tuple[tuple[int, ...], list[Finding]]:
    """Jobs of an earlier import that the source has no more: those that are not to be enabled, and what there is to say."""
    withdrawn: list[int] = []
    findings: list[Finding] = []
    for old_id, known in sorted(target.imported_jobs.items()):
        there = target.jobs.get(known.new_id)
        if old_id in old_ids or there is None or known.live:
            continue
        notes = Notes(f"job {old_id}")
        why = "it was deleted in the source since; whoever does not need it deletes it here"
        if not known.wants_enabled:
            notes.note("id", there.name, "it stays here, disabled", why)
        elif existing is Existing.UPDATE:
            withdrawn.append(old_id)
            notes.warn("id", there.name, "it stays here, and is not to be enabled", why)
        else:
            notes.warn("id", there.name, "left as it is", f"{why}: --existing update keeps it disabled")
        findings += notes.findings
    return tuple(withdrawn), findings


def _updated(there: Job, wanted: Job) -> Job:
    """What the source says; settings that it has no word for stay as people have set them here."""
    starts_on = {child.job_id: child for child in there.children}
    return replace(
        there,
        name=wanted.name,
        schedule=wanted.schedule,
        task=replace(wanted.task, envs=there.task.envs),
        misfire=wanted.misfire,
        route=wanted.route,
        block_strategy=wanted.block_strategy,
        timeout_s=wanted.timeout_s,
        max_attempts=wanted.max_attempts,
        description=wanted.description,
        anchor_ms=wanted.anchor_ms,
        updated_ms=wanted.updated_ms,
        children=tuple(starts_on.get(child.job_id, child) for child in wanted.children),
        contact=wanted.contact,
    )


def _compared(job: Job) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(job, name) for name in _COMPARED}
    values |= {"task": asdict(job.task), "contact": asdict(job.contact)}
    values["children"] = [child.job_id for child in job.children]
    return values


def _told(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"{one.field}: {shown(repr(one.old))} → {shown(repr(one.new))}" for one in changes(old, new))
