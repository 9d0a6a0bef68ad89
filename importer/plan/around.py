"""What the mapping of one job has to know of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.core.zones import Zone
from importer.source.values import Installation, SourceGlue, SourceJob

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Around:
    """`app_of`: by a job's own id, where its address list decides; `app_ids`: by the key of a group.

    `by_key`: jobs by `group_name`, as children were named up to 1.5. `stopped_apps`: made up for groups that are gone.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    zone: Zone
    now_ms: int
    columns: frozenset[str] = frozenset()
    # The zone was asked for: that of a job's own trigger does not count.
    zone_given: bool = False
    app_ids: Mapping[str, int] = field(default_factory=dict)
    app_of: Mapping[int, int] = field(default_factory=dict)
    stopped_apps: frozenset[int] = frozenset()
    job_ids: Mapping[int, int] = field(default_factory=dict)
    by_key: Mapping[str, int] = field(default_factory=dict)
    glue: Mapping[int, tuple[SourceGlue, ...]] = field(default_factory=dict)
    namespace_id: int = 1

    def ms(self, moment: datetime | None) -> int:
        """An instant; wall-clock times are those of the old admin's machine. 0 for none."""
        if moment is None:
            return 0
        if moment.tzinfo is not None:
            return max(
                0,
                (moment - _EPOCH).days * 86_400_000
                + (moment - _EPOCH).seconds * 1000
                + moment.microsecond // 1000,
            )
        seconds = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
        # A time that the clocks went over is what they showed an hour later.
        instants = self.zone.instants(seconds) or (seconds - self.zone.offset_s(seconds - 86_400),)
        return max(0, instants[0] * 1000 + moment.microsecond // 1000)

    def past_ms(self, moment: datetime | None) -> int:
        """Of something that has happened; 0 for none, and for what is yet to come."""
        found = self.ms(moment)
        return found if found <= self.now_ms else 0

    def app_id(self, job: SourceJob) -> int:
        return self.app_of.get(job.id) or self.app_ids.get(job.group or "", 0)


def around_itself(installation: Installation, zone: Zone, now_ms: int) -> Around:
    """For those who compare only: everything is called here what it is called there."""
    return Around(
        first=installation.first,
        last=installation.last,
        zone=zone,
        now_ms=now_ms,
        columns=installation.columns.get("info", frozenset()),
        app_ids={one.key: int(one.key) for one in installation.groups if one.key.isdecimal()},
        job_ids={one.id: one.id for one in installation.jobs},
        by_key=jobs_by_key(installation.jobs),
    )


def jobs_by_key(jobs: tuple[SourceJob, ...]) -> dict[str, int]:
    return {f"{one.group}_{one.name}": one.id for one in reversed(jobs) if one.name is not None}
