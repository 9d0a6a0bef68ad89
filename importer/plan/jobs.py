"""One job: what it becomes here, how that compares, and what there is to say about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields

from gateway.core.contact import Contact
from gateway.core.model import MOST_NAME, BlockStrategy, Job, Route
from gateway.core.parts import part_of
from gateway.core.retry import MAX_ATTEMPTS
from importer.plan.around import Around
from importer.plan.children import children_of
from importer.plan.notes import Notes
from importer.plan.old_fires import compare, is_readable
from importer.plan.schedules import kind_of, schedule_of, timed_by, zone_of_job
from importer.plan.tasks import history_of, task_of
from importer.plan.values import Fires, Level, Verdict
from importer.source.values import SourceJob

MOST_AUTHOR = 64
MOST_REMARK = 128
MOST_DESCRIPTION = 2000
_MOST_EMAILS = 4096
_MAX_INT = (1 << 31) - 1
_QUARTZ_AFTER_S, _AFTER_S = 60, 5
_UNROUTED = (1, 5, 2)
_ROUTES = frozenset(Route) - {Route.WEIGHTED}
# Of the row, but no part of what the job is: these move by themselves.
_VOLATILE = ("next_ms", "last_ms")
_VOLATILE_QUARTZ = ("next_ms", "previous_ms", "state")


@dataclass(frozen=True, slots=True)
class MappedJob:
    """`job` is disabled, whatever it will be. `notes` hold verdict, reasons and findings."""

    job: Job
    wants_enabled: bool
    fires: Fires
    history: tuple[Job, ...]
    notes: Notes


def job_of_source(job: SourceJob, around: Around) -> MappedJob:
    notes = Notes(f"job {job.id}")
    new_id = around.job_ids.get(job.id, job.id)
    scheduled = schedule_of(job, around, notes)
    task, unrunnable = task_of(job, around, notes)
    app_id = around.app_id(job)
    created_ms = around.past_ms(job.added) or around.now_ms
    made = Job(
        id=new_id,
        namespace_id=around.namespace_id,
        app_id=app_id,
        part=part_of(new_id),
        version=1,
        name=name_of(job, notes),
        enabled=False,
        schedule=scheduled.spec,
        task=task,
        misfire=scheduled.misfire,
        misfire_after_s=_QUARTZ_AFTER_S if around.last < (2, 1) else _AFTER_S,
        route=_route(job, around, notes),
        block_strategy=_block(job, notes),
        timeout_s=_timeout(job, notes),
        max_attempts=_attempts(job, notes),
        anchor_ms=scheduled.anchor_ms or around.now_ms,
        description=_description(job, scheduled.kept, notes),
        created_ms=created_ms,
        updated_ms=around.past_ms(job.updated) or created_ms,
        children=children_of(job, around, notes),
        contact=_contact(job, notes),
    )
    if new_id != job.id:
        notes.add(Level.NOTE, "id", job.id, str(new_id), "the id is taken here", Verdict.EQUIVALENT)
    stopped = [*scheduled.stopped, *unrunnable]
    if app_id in around.stopped_apps:
        stopped.append("its group is gone, so it has no executors")
    fires = compare(job, made, around.first, around.last, zone_of_job(job, around), around.now_ms)
    if not scheduled.stopped and _unread_there(job, around, fires):
        why = "the old admin cannot read this expression and stops such a job; here it could fire"
        notes.warn(*timed_by(job), "kept, disabled", why)
        stopped.append(why)
    wanted = _is_enabled(job, notes)
    if wanted and kind_of(job) == "NONE":
        notes.repaired("trigger_status", job.trigger_status, "disabled", "a job without a schedule cannot be started: the old admin stops it when it looks at it", Verdict.EQUIVALENT)  # fmt: skip
    if wanted and stopped:
        for reason in stopped:
            notes.judge(Verdict.CHANGED, f"disabled here: {reason}")
    _judge_fires(job, fires, notes)
    notes.extras(job.extra)
    history = history_of(made, around.glue.get(job.id, ()), around, notes)
    return MappedJob(made, wanted and not stopped and kind_of(job) != "NONE", fires, history, notes)


def _judge_fires(job: SourceJob, fires: Fires, notes: Notes) -> None:
    if fires.unsure:
        notes.warn(*timed_by(job), "kept", fires.unsure)
    if fires.differ_at is not None:
        notes.judge(Verdict.CHANGED, f"fire times differ: {fires.why}")
    elif fires.why:
        notes.judge(Verdict.EQUIVALENT, fires.why)
    if kind_of(job) == "FIX_RATE":
        notes.judge(
            Verdict.EQUIVALENT, "fixed rate: a late run does not move the runs after it, as it does there"
        )


def _unread_there(job: SourceJob, around: Around, fires: Fires) -> bool:
    if kind_of(job) != "CRON" or not fires.ours or fires.theirs is not None:
        return False
    return not is_readable(job, around.first, around.last, zone_of_job(job, around))


def _is_enabled(job: SourceJob, notes: Notes) -> bool:
    if job.trigger_status is not None:
        if job.trigger_status not in (0, 1):
            notes.repaired(
                "trigger_status", job.trigger_status, "disabled", "it is 0 or 1", Verdict.EQUIVALENT
            )
        return job.trigger_status == 1
    if job.quartz is None:
        return False
    if not job.quartz.is_firing and job.quartz.state != "PAUSED":
        notes.note("TRIGGER_STATE", job.quartz.state, "disabled", "the trigger does not fire in this state")
    return job.quartz.is_firing


def name_of(job: SourceJob, notes: Notes) -> str:
    told = job.description if (job.description or "").strip() else job.name
    column = "job_desc" if told is job.description else "job_name"
    name = notes.text(column, (told or "").strip(), MOST_NAME)
    if not name:
        name = f"job {job.id}"
        notes.repaired("job_desc", job.description or "", name, "a job needs a name", Verdict.IDENTICAL)
    return name


def _description(job: SourceJob, kept: str, notes: Notes) -> str:
    lines = [kept] if kept else []
    full = (job.description or "").replace("\0", "").strip()
    if len(full) > MOST_NAME:
        lines.append(full)
    if job.name and (job.description or "").strip() and job.name.strip() != full:
        lines.append(f"Name in XXL-JOB: {job.name}")
    if any(one.field == "job_data" and one.became.startswith("in the description") for one in notes.findings):
        lines.append(f"job_data in XXL-JOB: {job.job_data}")
    return notes.text("description", "\n".join(lines), MOST_DESCRIPTION)


def _contact(job: SourceJob, notes: Notes) -> Contact:
    author = notes.text("author", (job.author or "").strip(), MOST_AUTHOR)
    given = (job.alarm_email or "").replace("\0", "")
    mails = list(dict.fromkeys(filter(None, map(str.strip, given.split(",")))))
    kept = notes.text("alarm_email", ",".join(mails), _MOST_EMAILS)
    if kept != (job.alarm_email or ""):
        notes.note("alarm_email", job.alarm_email, kept, "each address once, without blanks and empty ones")
    if job.alarm_threshold:
        why = "an alarm after so many failures: each failure counts here"
        notes.dropped("alarm_threshold", job.alarm_threshold, why, Verdict.CHANGED)
    return Contact(author, kept, notes.text("glue_remark", job.glue_remark, MOST_REMARK))


def _route(job: SourceJob, around: Around, notes: Notes) -> Route:
    word = (job.route or "").strip()
    if word in _ROUTES:
        return Route(word)
    if not word and around.last <= _UNROUTED:
        notes.judge(
            Verdict.EQUIVALENT,
            "the first executor that answers, as releases up to 1.5.2 do, but in the order of the list",
        )
        return Route.FAILOVER
    why = "the old admin knows no such route" if word else "none is set there"
    notes.repaired("executor_route_strategy", job.route or "", "FIRST", f"{why}, so that its runs fail")
    return Route.FIRST


def _block(job: SourceJob, notes: Notes) -> BlockStrategy:
    word = (job.block or "").strip()
    if word in list(BlockStrategy):
        return BlockStrategy(word)
    if word:
        why = "executors take a word that they do not know for SERIAL_EXECUTION"
        notes.repaired("executor_block_strategy", job.block, "SERIAL_EXECUTION", why, Verdict.EQUIVALENT)
    return BlockStrategy.SERIAL_EXECUTION


def _timeout(job: SourceJob, notes: Notes) -> int:
    seconds = job.timeout_s or 0
    if not 0 <= seconds <= _MAX_INT:
        notes.repaired(
            "executor_timeout", seconds, "0, no limit", "executors know no such limit", Verdict.EQUIVALENT
        )
        return 0
    return seconds


def _attempts(job: SourceJob, notes: Notes) -> int:
    retries = job.retries or 0
    word = (job.fail_strategy or "").strip()
    if retries < 0:
        notes.repaired(
            "executor_fail_retry_count", retries, "0", "less than none is none", Verdict.EQUIVALENT
        )
        retries = 0
    if retries >= MAX_ATTEMPTS:
        why = f"at most {MAX_ATTEMPTS - 1} retries are kept"
        notes.repaired("executor_fail_retry_count", retries, str(MAX_ATTEMPTS - 1), why)
        retries = MAX_ATTEMPTS - 1
    if word == "FAIL_RETRY" and job.retries is None:
        why = "tried again after a run that failed as well: the old admin tries again only when no executor took the run"
        notes.add(Level.NOTE, "executor_fail_strategy", word, "1 retry", why, Verdict.CHANGED)
        return 2
    if word not in ("", "FAIL_ALARM") or (word and job.retries is not None):
        why = (
            "executor_fail_retry_count says how often"
            if job.retries is not None
            else "the old admin knows no such word"
        )
        notes.dropped("executor_fail_strategy", job.fail_strategy, why)
    if retries:
        notes.judge(
            Verdict.EQUIVALENT, "a retry follows at once; there it waits for the next look, up to 10 s"
        )
    return retries + 1


def digest_of(job: SourceJob, around: Around) -> str:
    """Of all that the row says, and of the clock it is read on."""
    row = {one.name: getattr(job, one.name) for one in fields(job) if one.name not in _VOLATILE}
    row["extra"] = sorted(job.extra.items())
    if job.quartz is not None:
        quartz = job.quartz
        row["quartz"] = {
            one.name: getattr(quartz, one.name) for one in fields(quartz) if one.name not in _VOLATILE_QUARTZ
        } | {"is_firing": quartz.is_firing}
    text = json.dumps([row, around.zone.name], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
