"""What the old database says, as the shadow takes it: jobs through the plan's own mapping of schedules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.core.model import Misfire
from gateway.core.schedule import parse_schedule
from gateway.core.zones import Zone
from importer.plan.around import Around
from importer.plan.notes import Notes
from importer.plan.old_cron import CronEra, eras, old_cron_fires
from importer.plan.schedules import kind_of, schedule_of, text_in_force, zone_of_job
from importer.shadow.kinds import kind_of as kind_of_row
from importer.shadow.kinds import shard_of
from importer.shadow.values import Reading, Row, SeenJob, Sign, Version
from importer.source.values import LogHead, SourceJob, SourceSign

QUARTZ_LATE_MS, LATE_MS = 60_000, 5000
# Before 2.2 a job that people stop looks like one that the old admin has stopped.
_STOPS_MARKED = (2, 2)
_NEAR_S = 2 * 86_400
_LATE_ROWS_MS = 60_000


@dataclass(slots=True)
class Reader:
    """`groups`: names of apps, by key. `around` holds the zone and the release."""

    around: Around
    groups: Mapping[str, str] = field(default_factory=dict)
    ids_by_name: dict[tuple[str | None, str | None], int] = field(default_factory=dict)
    retries: dict[int, int] = field(default_factory=dict)
    # Stretches whose local times the log has shown and that came twice: which pass is meant is not known.
    doubled: set[tuple[int, int]] = field(default_factory=set)
    _last_ms: int = 0
    _last_moment: datetime | None = None
    _last_instant: int = 0

    def job(self, job: SourceJob, sign: SourceSign) -> SeenJob:
        self.retries[job.id] = job.retries or 0
        name = (job.description or "").strip() or (job.name or "").strip() or f"job {job.id}"
        app = self.groups.get(job.group or "", job.group or "")
        return SeenJob(job.id, name, app, self.version(job), self.sign(sign))

    def sign(self, sign: SourceSign) -> Sign:
        return Sign(sign.is_running, sign.last_ms, sign.next_ms, self.around.ms(sign.updated) or None)

    def version(self, job: SourceJob) -> Version:
        """What `plan` makes of its schedule."""
        kind, around = kind_of(job), self.around
        conf = text_in_force(job) if kind == "CRON" else job.schedule_conf
        zone = zone_of_job(job, around)
        key = (kind, conf, job.misfire, zone.name)
        text = (conf or "").strip() if kind == "CRON" else " ".join(filter(None, (kind, conf)))
        scheduled = schedule_of(job, around, Notes(f"job {job.id}"))
        marked = around.first >= _STOPS_MARKED
        late_ms = QUARTZ_LATE_MS if around.last < (2, 1) else LATE_MS
        if scheduled.stopped:
            return Version(
                key, text, why_none="with a schedule that is not enabled here", stops_marked=marked
            )
        once = scheduled.misfire is Misfire.FIRE_ONCE
        if kind == "FIX_RATE":
            rate_ms = int(str(scheduled.spec["expression"])) * 1000
            return Version(key, text, rate_ms=rate_ms, fires_once=once, stops_marked=marked)
        if kind != "CRON":
            why = "without a schedule" if kind == "NONE" else "that count from the end of their runs"
            return Version(key, text, why_none=why, stops_marked=marked)
        return Version(
            key,
            text,
            parse_schedule(scheduled.spec),
            fires_once=once,
            misfire_after_ms=late_ms,
            readings=tuple(_reading(conf or "", era, zone) for era in eras(around.first, around.last)),
            stops_marked=marked,
        )

    def rows(self, heads: Sequence[LogHead], now_ms: int | None = None) -> list[Row]:
        """`now_ms`: when they were read, if that was soon after they were written."""
        found = []
        for head in heads:
            job_id = head.job_id if head.job_id is not None else self.ids_by_name.get((head.group, head.name))
            if job_id is None or head.triggered is None:
                continue
            kind = kind_of_row(head.message, head.retries_left, self.retries.get(job_id))
            at_ms = self._instant(head.triggered, now_ms)
            found.append(Row(head.id, job_id, at_ms, kind, shard_of(head.sharding)))
        return found

    def _instant(self, moment: datetime, now_ms: int | None) -> int:
        """Wall-clock time of the old admin as an instant. Of a time that comes twice, the pass that the reading is near to."""
        if moment == self._last_moment:  # rows come by the hundred in a second
            return self._last_instant
        self._last_moment = moment
        self._last_instant = at_ms = self._pass(moment, now_ms)
        return at_ms

    def _pass(self, moment: datetime, now_ms: int | None) -> int:
        first_ms = self.around.ms(moment)
        if moment.tzinfo is not None:
            return first_ms
        passes = self.around.zone.instants(int(moment.replace(tzinfo=UTC, microsecond=0).timestamp()))
        if len(passes) > 1:
            self._last_moment = None
            second_ms = first_ms + (passes[1] - passes[0]) * 1000
            if now_ms is not None:
                return second_ms if now_ms >= second_ms - _LATE_ROWS_MS else first_ms
            if self._last_ms > first_ms + _LATE_ROWS_MS:
                first_ms = second_ms
            else:
                self.doubled.add((passes[0] // 3600 * 3_600_000, (passes[1] // 3600 + 1) * 3_600_000))
        self._last_ms = max(self._last_ms, first_ms)
        return first_ms


def _reading(text: str, era: CronEra, zone: Zone) -> Reading:
    def next_after(at_ms: int) -> int | None:
        fires = old_cron_fires(text, era, zone, at_ms, 1)
        return fires[0] if fires else None

    return Reading(next_after, lambda at_ms: _why(text, era, zone, at_ms))


def _why(text: str, era: CronEra, zone: Zone, at_ms: int) -> str:
    """What is special about an expression at an instant, for releases of that era."""
    if old_cron_fires(text, era, zone, at_ms, 1) is None:
        return f"releases {era.value} cannot read the expression"
    fields = text.upper().split()
    day = fields[3] if len(fields) > 3 else ""
    if era is CronEra.LAST_IS_31 and "L" in day:
        return f"releases {era.value} skip every month without 31 days for L (a bug of theirs); here L is its last day"
    span = zone.span(at_ms // 1000)
    if span.start > at_ms // 1000 - _NEAR_S or span.end < at_ms // 1000 + _NEAR_S:
        return (
            "the clocks change: a local time that comes twice fires there when it comes again, here when it comes first, "
            "or both times if the hour is not restricted"
        )
    if era is CronEra.SINGLE and "W" in day and "," in day:
        return f"releases {era.value} take only the lowest day of a list with W; here each counts"
    return f"releases {era.value} read this expression in a way of their own"
