"""Between the bodies of the API and the values of the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.executors import placement_fields, placement_of
from gateway.api.models.jobs import MISFIRE_AFTER_S, XXL_MISFIRE_AFTER_S, JobBody
from gateway.api.models.schedules import ScheduleBody
from gateway.api.policies import (
    child_fields,
    children_of,
    contact_fields,
    patience_fields,
    retry_fields,
    retry_of,
    shard_fields,
    shards_of,
)
from gateway.api.templates import filled
from gateway.api.timings import is_zoned, require_open, timing_fields, timing_of
from gateway.core.contact import Contact
from gateway.core.misfire import MisfireLimits
from gateway.core.model import DEFAULT_NAMESPACE, Job, Misfire, Task
from gateway.core.moments import parse_moment
from gateway.core.overlap import QUEUE_LIMIT, UNLIMITED, Concurrency, Overlap
from gateway.core.schedule import parse_schedule, require_future, zone_of
from gateway.core.zones import Zone, resolve_zone

_LOCAL = ("cron", "calendar", "one_time")  # kinds that are read on the clock of a zone
MAX_PRIORITY = 15  # what earlier versions took beyond it means the same
Spec = Mapping[str, Any] | tuple[Mapping[str, Any], ...]


def spec_of(
    body: ScheduleBody | list[ScheduleBody],
    default_timezone: str,
    *,
    field: str = "schedule",
    zoned: bool = False,
) -> Spec:
    """What is kept: all that the meaning depends on, so the server's default time zone is written out.

    `zoned`: also for kinds that have none of their own, since something else is read on a clock.
    """
    if isinstance(body, list):
        return tuple(_one_spec(one, default_timezone, f"{field}[{n}]", zoned) for n, one in enumerate(body))
    return _one_spec(body, default_timezone, field, zoned)


def _one_spec(body: ScheduleBody, default_timezone: str, field: str, zoned: bool) -> dict[str, Any]:
    zone = body.timezone or (default_timezone if zoned or body.kind in _LOCAL else None)
    anchor = body.anchor
    if anchor is not None:
        clock = resolve_zone(zone or default_timezone, field=f"{field}.timezone")
        anchor = parse_moment(anchor, clock, field=f"{field}.anchor")
    spec = {
        "kind": body.kind,
        "expression": body.expression,
        "timezone": zone,
        "anchor": anchor,
        "offset": body.offset,
        "misfire": body.misfire,
        "rule": body.rule,
    }
    return {name: value for name, value in spec.items() if value is not None}


def clock_of(spec: Spec, default_timezone: str) -> Zone:
    """On whose clock local times of the job are read: its schedule's, or that of the first of several."""
    return zone_of(spec[0] if isinstance(spec, tuple) else spec, default_timezone)


def job_of(
    body: JobBody,
    app_id: int,
    *,
    now_ms: int,
    default_timezone: str,
    base: Job | None = None,
    within: str = "",
) -> Job:
    """The job a body asks for, as a new one or as a change of `base`. Raises `InvalidValue` for its schedule."""
    body = filled(body, within)
    field = f"{within}.schedule" if within else "schedule"
    spec = spec_of(body.schedule, default_timezone, field=field, zoned=is_zoned(body))
    schedule = parse_schedule(spec, anchor_ms=now_ms, field=field)
    timing = timing_of(body, clock_of(spec, default_timezone), within)
    if body.enabled and (base is None or base.timing.window != timing.window):
        require_open(timing, body, now_ms, within)
    if base is None or base.schedule != spec:
        require_future(schedule, now_ms, field=f"{field}.expression", enabled=body.enabled)
    misfire_after_s = body.misfire_after_s
    if misfire_after_s is None:
        misfire_after_s = XXL_MISFIRE_AFTER_S if body.xxl_style else MISFIRE_AFTER_S
    max_attempts, retry = retry_of(body.retry)
    retry.check(max_attempts, f"{within}.retry" if within else "retry")
    return Job(
        id=base.id if base else 0,
        namespace_id=DEFAULT_NAMESPACE,
        app_id=app_id,
        part=0,
        version=base.version if base else 0,
        name=body.name,
        enabled=body.enabled,
        schedule=spec,
        timing=timing,
        task=_task_of(body, now_ms, base),
        misfire=Misfire(schedule.misfire),
        misfire_after_s=misfire_after_s,
        misfire_limits=MisfireLimits(body.misfire_window_s, body.misfire_max),
        route=body.route,
        placement=placement_of(body),
        block_strategy=body.block_strategy,
        timeout_s=body.timeout_s,
        max_attempts=max_attempts,
        retry=retry,
        shards=shards_of(body, within),
        children=children_of(body),
        join=body.join,
        deadline_s=body.deadline_s or 0,
        on_deadline=body.on_deadline,
        lost_after_s=body.lost_after_s,
        hold_limit_on_lost=body.hold_limit_on_lost,
        guarantee=body.guarantee,
        priority=body.priority,
        concurrency=_concurrency_of(body),
        ttl_s=body.ttl_s,
        description=body.description,
        retention_days=body.retention_days or 0,
        contact=Contact(body.contact.author, body.contact.alarm_email, body.contact.remark),
    )


def _concurrency_of(body: JobBody) -> Concurrency:
    overlap = body.overlap
    if overlap is None:
        overlap = Overlap.ALLOW if body.max_concurrency is None else Overlap.SKIP
    if overlap is Overlap.ALLOW:
        return UNLIMITED
    return Concurrency(overlap, body.max_concurrency or 1, body.queue_limit or QUEUE_LIMIT)


def _task_of(body: JobBody, now_ms: int, base: Job | None) -> Task:
    """Executors load a source again when its time has changed, so an unchanged one keeps its time."""
    source = body.task.glue_source
    unchanged = base is not None and base.task.glue_source == source
    return Task(
        handler=body.task.handler,
        params=body.task.params,
        glue_type=body.task.glue_type,
        glue_source=source,
        glue_updated_ms=(base.task.glue_updated_ms if base and unchanged else now_ms) if source else 0,
        envs=tuple((env.name, env.value) for env in body.task.envs),
    )


def body_of(job: Job, appname: str) -> dict[str, Any]:
    """The body that would create this job: what a partial update is laid over."""
    schedule = job.schedule
    return {
        "app": appname,
        "name": job.name,
        "description": job.description,
        "schedule": [dict(one) for one in schedule] if isinstance(schedule, tuple) else dict(schedule),
        "task": {
            "handler": job.task.handler,
            "params": job.task.params,
            "glue_type": job.task.glue_type,
            "glue_source": job.task.glue_source,
            "envs": [{"name": name, "value": value} for name, value in job.task.envs],
        },
        "route": job.route.value,
        **placement_fields(job),
        "block_strategy": job.block_strategy.value,
        "priority": min(job.priority, MAX_PRIORITY),
        "overlap": job.concurrency.overlap.value,
        "max_concurrency": job.concurrency.places if job.concurrency.limited else None,
        "queue_limit": job.concurrency.queue_limit if job.concurrency.overlap is Overlap.QUEUE else None,
        "ttl_s": job.ttl_s,
        "timeout_s": job.timeout_s,
        "retry": retry_fields(job),
        **shard_fields(job),
        **child_fields(job),
        **patience_fields(job),
        "guarantee": job.guarantee.value,
        "misfire_after_s": job.misfire_after_s,
        "misfire_window_s": job.misfire_limits.window_s,
        "retention_days": job.retention_days or None,
        "misfire_max": job.misfire_limits.most,
        "contact": contact_fields(job),
        "enabled": job.enabled,
        **timing_fields(job.timing),
    }
