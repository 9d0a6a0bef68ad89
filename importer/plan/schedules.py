"""The schedule of a job: what it becomes here, and whether it can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.chain import MAX_DELAY_MS
from gateway.core.cron import parse_cron
from gateway.core.errors import InvalidValue
from gateway.core.model import Misfire
from gateway.core.quartz import MAX_LENGTH, split_fields
from gateway.core.zones import LAST_MS, Zone
from importer.plan.around import Around
from importer.plan.notes import Notes, shown
from importer.plan.old_cron import our_cron_fires
from importer.plan.values import Level, Verdict
from importer.plan.zones import known_zone
from importer.source.values import SourceJob

MOST_RATE_S = 36_500 * 86_400
MAX_JAVA_INT = (1 << 31) - 1
_JAVA_INT = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_MISFIRES = {"DO_NOTHING": Misfire.SKIP, "FIRE_ONCE_NOW": Misfire.FIRE_ONCE}
_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """`kept`: a text that no schedule here can hold, for the description. `stopped`: why it must not be enabled."""

    spec: Mapping[str, object]
    misfire: Misfire
    anchor_ms: int = 0
    kept: str = ""
    stopped: tuple[str, ...] = field(default=())


def zone_of_job(job: SourceJob, around: Around) -> Zone:
    """Quartz keeps the time zone of each trigger."""
    own = known_zone(job.quartz.timezone) if job.quartz and not around.zone_given else None
    return own or around.zone


def kind_of(job: SourceJob) -> str:
    """In the words of 2.3 and later; before, there is cron only."""
    if job.schedule_type is None:
        return "CRON" if job.cron is not None or job.schedule_conf is None else ""
    return job.schedule_type.strip()


def text_in_force(job: SourceJob) -> str | None:
    """Of a cron job: what the old admin fires by. In 1.x and 2.0 the trigger's expression, whatever the job's row says."""
    if job.schedule_type is not None:
        return job.schedule_conf
    return job.quartz.cron if job.quartz is not None and job.quartz.cron else job.cron


def timed_by(job: SourceJob) -> tuple[str, str]:
    """The column that says when it runs, and what it says."""
    return "job_cron" if job.schedule_type is None else "schedule_conf", text_in_force(job) or ""


def whole_seconds(text: str | None) -> int | None:
    """As the old admin reads them: a 32-bit number without blanks around it, 1 or more."""
    if text is None or not _JAVA_INT.fullmatch(text):
        return None
    number = int(text)
    return number if 1 <= number <= MAX_JAVA_INT else None


def schedule_of(job: SourceJob, around: Around, notes: Notes) -> Scheduled:
    misfire = _misfire(job, notes)
    if job.schedule_type is not None and job.cron and job.cron.strip() != (job.schedule_conf or "").strip():
        why = "schedule_type and schedule_conf say when it runs, in this release"
        notes.dropped("job_cron", job.cron, why)
    kind = kind_of(job)
    if job.schedule_type is None and job.cron is not None and (job.schedule_conf or "").strip():
        notes.dropped("schedule_conf", job.schedule_conf, "job_cron says when it runs")
    if kind == "CRON":
        return _cron(job, around, notes, misfire)
    if kind in ("FIX_RATE", "FIX_DELAY"):
        return _in_seconds(job, kind, around, notes, misfire)
    if kind == "NONE":
        if job.schedule_conf and job.schedule_conf.strip():
            notes.dropped("schedule_conf", job.schedule_conf, "the schedule type NONE has no use for it")
        return Scheduled(_none(misfire), misfire)
    why = "no release of XXL-JOB fires this schedule type, and there is nothing like it here"
    return _unheld(job, "schedule_type", notes, misfire, why)


def _none(misfire: Misfire) -> dict[str, object]:
    return {"kind": "none", "misfire": misfire.value}


def _misfire(job: SourceJob, notes: Notes) -> Misfire:
    word = (job.misfire or "").strip()
    if word and word not in _MISFIRES:
        notes.repaired("misfire_strategy", job.misfire, "skip", "the old admin does nothing for a word it does not know", Verdict.EQUIVALENT)  # fmt: skip
    return _MISFIRES.get(word, Misfire.SKIP)


def _unheld(job: SourceJob, column: str, notes: Notes, misfire: Misfire, why: str) -> Scheduled:
    """No schedule, disabled; what it said stands in the description."""
    conf = job.schedule_conf if job.schedule_type is not None else text_in_force(job)
    told = " ".join(filter(None, [job.schedule_type or "", repr(conf) if conf is not None else ""]))
    kept = f"Schedule in XXL-JOB: {told}" if told else ""
    became = "no schedule, disabled" + ("; the text is in the description" if kept else "")
    notes.add(Level.REPAIRED, column, told, became, why)
    if column == "schedule_type" and conf:
        notes.add(Level.REPAIRED, "schedule_conf", conf, became, why)
    return Scheduled(_none(misfire), misfire, kept=kept, stopped=(f"{column} {shown(told)}: {why}",))


def _cron(job: SourceJob, around: Around, notes: Notes, misfire: Misfire) -> Scheduled:
    column = "schedule_conf" if job.schedule_type is not None else "job_cron"
    whole = text_in_force(job)
    if job.schedule_type is None and job.quartz and job.quartz.cron and job.cron != job.quartz.cron:
        why = "the trigger in Quartz's tables has another expression, and that is the one that was fired by"
        notes.repaired("job_cron", job.cron, job.quartz.cron, why, Verdict.EQUIVALENT)
    text = (whole or "").strip(_BLANKS)
    if not text:
        return _unheld(job, column, notes, misfire, "there is no expression")
    if text != whole:
        notes.note(column, whole, text, "blanks around an expression mean nothing")
    zone = zone_of_job(job, around)
    if job.quartz and job.quartz.timezone and zone.name != job.quartz.timezone:
        notes.note(
            "TIME_ZONE_ID", job.quartz.timezone, zone.name, "the time zone that its schedule is read in here"
        )
    if around.first < (3, 1) and len(text) <= MAX_LENGTH and text.isascii() and len(split_fields(text)) > 7:
        seven = " ".join(text.split()[:7])
        why = "releases before 3.1 did not look at what follows the seventh field"
        notes.repaired(column, text, seven, why, Verdict.EQUIVALENT)
        text = seven
    try:
        expression = parse_cron(text, field=column)
    except InvalidValue as error:
        return _unheld(job, column, notes, misfire, f"it cannot be read: {error.expected}")
    spec = {"kind": "cron", "expression": text, "timezone": zone.name, "misfire": misfire.value}
    if expression.dialect == "unix":
        why = "XXL-JOB refuses expressions of 5 fields; here they are read as Unix cron, minute first: look at it before enabling"
        notes.warn(column, text, "kept, disabled", why)
        return Scheduled(spec, misfire, stopped=(f"{column} {text!r}: {why}",))
    if not our_cron_fires(expression, zone, around.now_ms, 1):
        why = "it never fires again: what it names is past, or no such day exists"
        notes.warn(column, text, "kept, disabled", why)
        return Scheduled(spec, misfire, stopped=(f"{column} {text!r}: {why}",))
    return Scheduled(spec, misfire)


def _in_seconds(job: SourceJob, kind: str, around: Around, notes: Notes, misfire: Misfire) -> Scheduled:
    text = job.schedule_conf
    seconds = whole_seconds(text)
    trimmed = (text or "").strip()
    if seconds is None:
        held = int(trimmed) if re.fullmatch(r"\+?[0-9]{1,12}", trimmed, re.ASCII) else 0
        if not 1 <= held <= MOST_RATE_S or (kind == "FIX_DELAY" and held * 1000 > MAX_DELAY_MS):
            return _unheld(job, "schedule_conf", notes, misfire, f"{kind} needs whole seconds, 1 or more")
        why = f"the old admin cannot read it: {kind} needs whole seconds from 1 to {MAX_JAVA_INT}, without blanks"
        notes.repaired("schedule_conf", text, f"{held} s, disabled", why)
        scheduled = _every(job, kind, held, around, notes, misfire)
        return Scheduled(
            scheduled.spec, misfire, scheduled.anchor_ms, stopped=(f"schedule_conf {shown(text)}: {why}",)
        )
    if kind == "FIX_DELAY":
        if seconds * 1000 > MAX_DELAY_MS:
            return _unheld(job, "schedule_conf", notes, misfire, "a second delay is at most 7 days here")
        why = "no release of XXL-JOB has it, so this comes from a fork: here the delay counts from the end of each run"
        notes.warn("schedule_type", kind, "second_delay", why, Verdict.CHANGED)
    return _every(job, kind, seconds, around, notes, misfire)


def _every(
    job: SourceJob, kind: str, seconds: int, around: Around, notes: Notes, misfire: Misfire
) -> Scheduled:
    if kind == "FIX_DELAY":
        return Scheduled({"kind": "second_delay", "expression": seconds, "misfire": misfire.value}, misfire)
    spec = {"kind": "fixed_rate", "expression": seconds, "misfire": misfire.value}
    next_ms = job.next_ms or 0
    if not 0 < next_ms <= LAST_MS:
        if next_ms:
            notes.repaired("trigger_next_time", next_ms, "a phase that begins now", "it is no instant")
        return Scheduled(spec, misfire, first_of_rate(seconds, around.now_ms))
    # The old admin fires on whole seconds, whatever the rest of its next time says.
    return Scheduled(spec, misfire, next_ms // 1000 * 1000)


def first_of_rate(seconds: int, now_ms: int) -> int:
    """What the old admin would take for the first time when such a job is started now."""
    return min((now_ms + 5000) // 1000 * 1000 + seconds * 1000, LAST_MS)
