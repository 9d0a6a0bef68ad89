"""Values as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aiohttp import web

from gateway.api.models.apps import AppAnswer
from gateway.api.models.base import Answer
from gateway.api.models.jobs import ContactAnswer, JobAnswer, JobPause
from gateway.api.models.outcomes import ChildAnswer
from gateway.api.models.runs import KillAnswer, RunAnswer, ShardCounts, Slots
from gateway.api.models.schedules import ScheduleAnswer, dialect_of
from gateway.api.models.system import TokenAnswer
from gateway.api.models.tasks import EnvAnswer, ShardAnswer, TaskAnswer
from gateway.api.policies import contact_fields, patience_fields, retry_answer
from gateway.api.timings import timing_answer
from gateway.core.clock import at_offset, iso_utc
from gateway.core.confine import next_slot
from gateway.core.job_state import state_of
from gateway.core.kills import kill_state
from gateway.core.model import App, Job, Run, Token
from gateway.core.overlap import Overlap
from gateway.core.pauses import Pause, Pauses, Scope
from gateway.core.schedule import phases
from gateway.core.shards import Tally
from gateway.core.states import PUBLIC_WORDS

JSON = "application/json"
_LEVELS: dict[Scope, Literal["everything", "app", "job"]] = {
    Scope.ALL: "everything",
    Scope.APP: "app",
    Scope.JOB: "job",
}


def json_answer(answer: Answer, status: int = 200) -> web.Response:
    return web.Response(status=status, body=answer.model_dump_json(by_alias=True).encode(), content_type=JSON)


def nothing() -> web.Response:
    return web.Response(status=204)


def times(**ms: int | None) -> dict[str, Any]:
    """Each instant twice: `name` in ISO 8601, `name_ms` in milliseconds; null where it has not happened."""
    answer: dict[str, Any] = {}
    for name, value in ms.items():
        answer[name] = iso_utc(value) if value else None
        answer[f"{name}_ms"] = value or None
    return answer


def iso_local(ms: int, offset_s: int) -> str:
    return at_offset(ms, offset_s).isoformat(timespec="milliseconds")


def app_answer(app: App, other_ids: Sequence[int] = ()) -> AppAnswer:
    return AppAnswer(
        id=app.id,
        other_ids=list(other_ids),
        appname=app.appname,
        title=app.title,
        address_mode=app.address_mode.value,
        addresses=list(app.addresses),
        max_running=app.max_running,
        starts_per_second=app.starts_per_second,
        int_log_ids=app.int_ids,
        dialect=app.dialect or None,
        tokenless_from=list(app.tokenless_from),
        **times(created=app.created_ms, updated=app.updated_ms),
    )


def schedule_answer(
    schedule: Mapping[str, Any] | tuple[Mapping[str, Any], ...],
) -> ScheduleAnswer | list[ScheduleAnswer]:
    if isinstance(schedule, tuple):
        return [_one_schedule(one) for one in schedule]
    return _one_schedule(schedule)


def _one_schedule(schedule: Mapping[str, Any]) -> ScheduleAnswer:
    kind, expression = schedule["kind"], schedule.get("expression")
    return ScheduleAnswer(
        kind=kind,
        expression=expression,
        timezone=schedule.get("timezone"),
        **times(anchor=schedule.get("anchor")),
        offset=schedule.get("offset"),
        misfire=schedule.get("misfire") or "skip",
        rule=schedule.get("rule"),
        dialect=dialect_of(kind, expression),
    )


def job_answer(job: Job, appname: str | None, now_ms: int, pauses: Pauses) -> JobAnswer:
    pause = pauses.find(job.app_id, job.id, now_ms)
    return JobAnswer(
        id=job.id,
        app=appname,
        name=job.name,
        description=job.description,
        enabled=job.enabled,
        state=state_of(job, pause),
        pause=None if pause is None else pause_answer(pause),
        version=job.version,
        schedule=schedule_answer(job.schedule),
        **timing_answer(job, now_ms),
        task=TaskAnswer(
            handler=job.task.handler,
            params=job.task.params,
            glue_type=job.task.glue_type,
            glue_source=job.task.glue_source,
            envs=[EnvAnswer(name=name, value=value) for name, value in job.task.envs],
        ),
        route=job.route,
        label=job.placement.label or None,
        label_fallback=job.placement.fallback,
        block_strategy=job.block_strategy,
        overlap=job.concurrency.overlap,
        max_concurrency=job.concurrency.places if job.concurrency.limited else None,
        queue_limit=job.concurrency.queue_limit if job.concurrency.overlap is Overlap.QUEUE else None,
        ttl_s=job.ttl_s,
        priority=job.priority,
        timeout_s=job.timeout_s,
        retry=retry_answer(job),
        children=[ChildAnswer(job=child.job_id, on=child.on) for child in job.children],
        join=job.join,
        **patience_fields(job),
        shards=[ShardAnswer(name=one.name, params=one.params) for one in job.shards],
        guarantee=job.guarantee,
        misfire_after_s=job.misfire_after_s,
        misfire_window_s=job.misfire_limits.window_s,
        retention_days=job.retention_days or None,
        misfire_max=job.misfire_limits.most,
        contact=ContactAnswer(**contact_fields(job)),
        **times(
            glue_updated=job.task.glue_updated_ms,
            counts_from=job.anchor_ms if any(anchor is None for _, anchor in phases(job.schedule)) else None,
            next_fire=next_slot(job),
            created=job.created_ms,
            updated=job.updated_ms,
        ),
    )


def pause_answer(pause: Pause) -> JobPause:
    return JobPause(
        level=_LEVELS[pause.scope],
        reason=pause.reason,
        author=pause.author,
        **times(created=pause.created_ms, until=pause.until_ms),
    )


def kill_answer(run: Run, now_ms: int) -> KillAnswer | None:
    state = kill_state(run, now_ms)
    return None if state is None else KillAnswer(state=state, **times(asked=run.stop_asked_ms))


def shards_answer(found: Tally) -> ShardCounts:
    return ShardCounts(
        total=found.total,
        pending=found.pending,
        completed=found.completed,
        succeeded=found.succeeded,
        failed=found.failed,
        stopped=found.stopped,
    )


def run_answer(
    run: Run, appname: str | None, now_ms: int, task_id: str | None = None, shards: Tally | None = None
) -> RunAnswer:
    slots = None
    if run.slot_count > 1:
        slots = Slots(count=run.slot_count, **times(first=run.slot_ms or run.due_ms, last=run.last_slot_ms))
    return RunAnswer(
        id=run.id,
        job_id=run.job_id,
        app=appname,
        state=run.state.word,
        status=PUBLIC_WORDS[run.state],
        attempt=run.attempt,
        shard=run.shard,
        shard_total=run.shard_total,
        shard_name=run.shard_name if run.shard_name and run.shard >= 0 else None,
        root_id=run.root_id,
        parent_id=run.parent_id or None,
        trigger=run.trigger_kind.name.lower(),
        priority=run.priority,
        task_id=task_id,
        **times(
            slot=run.slot_ms,
            data_time=run.data_ms,
            due=run.due_ms,
            created=run.created_ms,
            expires=run.expires_ms,
            claimed=run.claimed_ms,
            sent=run.sent_ms,
            answered=run.answered_ms,
            finished=run.finished_ms,
        ),
        lateness_ms=run.sent_ms - run.due_ms if run.sent_ms else None,
        result_code=run.result_code or None,
        message=run.message,
        reason=run.reason,
        address=run.address or None,
        addresses=None if run.addresses is None else list(run.addresses),
        params=run.params,
        rerun_id=run.rerun_id or None,
        job_version=run.job_version or None,
        slots=slots,
        kill=kill_answer(run, now_ms),
        shards=None if shards is None else shards_answer(shards),
    )


def token_answer(token: Token) -> TokenAnswer:
    return TokenAnswer(id=token.id, name=token.name, **times(created=token.created_ms))
