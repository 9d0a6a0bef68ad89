"""What has changed in a source since it was imported, as far as jobs are still to be given to this scheduler."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core.model import Job
from gateway.core.zones import resolve_zone
from gateway.store.imports import Item
from importer.plan.apps import group_digest
from importer.plan.around import Around, around_itself
from importer.plan.jobs import digest_of
from importer.plan.notes import Notes
from importer.plan.schedules import schedule_of
from importer.source.values import Installation, SourceJob


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids in the source of what is not there as it was imported. `switched`: started or stopped there since.

    `groups`: keys of those whose executors have other addresses, another appname or another token there.
    """

    changed: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    switched: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.changed or self.added or self.removed or self.switched or self.groups)


def changes_of(
    installation: Installation,
    items: Iterable[Item],
    groups: Iterable[Item],
    here: Mapping[int, Job],
    timezone: str,
) -> Changes:
    """By what the rows said when they were imported, read on the clock that was asked for or on their own.

    Only what an import could still take over: no job that was cut over, or that is not `here` any more; and groups of what is to be
    enabled.
    """
    clocks = _clocks(installation, timezone)
    imported = {int(one.old_key): one for one in items}
    by_id = {job.id: job for job in installation.jobs}
    changed: list[int] = []
    removed: list[int] = []
    switched: list[int] = []
    to_enable = [one.new_id for one in imported.values() if one.wants_enabled and not one.live]
    apps = {here[one].app_id for one in to_enable if one in here}
    for old_id, item in sorted(imported.items()):
        job = by_id.get(old_id)
        if item.live or item.new_id not in here:
            continue
        if job is None:
            if item.wants_enabled:
                removed.append(old_id)
        elif not any(item.digest == digest_of(job, around) for around in clocks):
            (switched if item.wants_enabled and not is_running(job) else changed).append(old_id)
    return Changes(
        changed=tuple(changed),
        added=tuple(sorted(by_id.keys() - imported.keys())),
        removed=tuple(removed),
        switched=tuple(switched),
        groups=tuple(_groups_of(installation, groups, apps)),
    )


def _groups_of(installation: Installation, groups: Iterable[Item], apps: Collection[int]) -> Iterable[str]:
    now = {one.key: group_digest(one) for one in installation.groups}
    for item in sorted(groups, key=lambda one: one.old_key):
        if item.new_id in apps and item.digest and now.get(item.old_key, item.digest) != item.digest:
            yield item.old_key


def is_running(job: SourceJob) -> bool:
    if job.trigger_status is not None:
        return job.trigger_status == 1
    return job.quartz is not None and job.quartz.is_firing


def told_changes(changes: Changes) -> str:
    parts: tuple[tuple[str, Sequence[object]], ...] = (
        ("changed", changes.changed),
        ("new", changes.added),
        ("deleted", changes.removed),
        ("stopped", changes.switched),
        ("groups changed", changes.groups),
    )
    return "; ".join(f"{word}: {listed(ids)}" for word, ids in parts if ids)


def listed(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:10]))
    return shown if len(values) <= 10 else f"{shown} and {len(values) - 10} more"


def rescheduled(
    installation: Installation, changes: Changes, jobs: Mapping[int, Job], timezone: str
) -> frozenset[int]:
    """Ids in the source of those whose schedule has changed there: its rows tell the times of that, not of what was imported.

    `jobs`: what was imported, by the same ids.
    """
    clocks = _clocks(installation, timezone)
    return frozenset(
        row.id
        for row in installation.jobs
        if row.id in changes.changed
        and row.id in jobs
        and not any(_is_timed_alike(row, jobs[row.id], around) for around in clocks)
    )


def _is_timed_alike(row: SourceJob, job: Job, around: Around) -> bool:
    """What becomes of slots that are found too late is not what says when they are."""
    there = schedule_of(row, around, Notes(f"job {row.id}")).spec
    here = job.schedule
    return isinstance(here, Mapping) and {**here, "misfire": ""} == {**there, "misfire": ""}


def _clocks(installation: Installation, timezone: str) -> tuple[Around, Around]:
    around = around_itself(installation, resolve_zone(timezone), installation.read_ms)
    return around, replace(around, zone_given=True)
