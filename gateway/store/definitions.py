"""A job's definition as the JSON text of its row: all that a version holds and no query asks for."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from gateway.core.children import Child, Join, On
from gateway.core.contact import UNSIGNED, Contact
from gateway.core.deadlines import LOST_AFTER_S, OnDeadline
from gateway.core.misfire import DAY_OF_100, MisfireLimits
from gateway.core.model import BlockStrategy, Guarantee, Job, Misfire, Route, Task
from gateway.core.named_shards import NamedShard
from gateway.core.overlap import UNLIMITED, Concurrency, Overlap
from gateway.core.placement import ANYWHERE, Fallback, Placement
from gateway.core.retry import retry_of
from gateway.core.retry import stored as stored_retry
from gateway.core.timing import stored as stored_timing
from gateway.core.timing import timing_of

_PLAIN = ("misfire_after_s", "timeout_s", "max_attempts", "priority", "description")


def definition_of(job: Job) -> dict[str, Any]:
    return {
        "schedule": job.schedule,
        "task": {name: value for name, value in asdict(job.task).items() if name != "envs" or value},
        "misfire": job.misfire.value,
        "route": job.route.value,
        "block_strategy": job.block_strategy.value,
        "guarantee": job.guarantee.value,
        **{name: getattr(job, name) for name in _PLAIN},
        **_not_default(job),
    }


def _not_default(job: Job) -> dict[str, Any]:
    """What only some jobs use is left out for all others, so that a node of the version before reads those."""
    found: dict[str, Any] = {
        "timing": stored_timing(job.timing),
        "retry": stored_retry(job.retry),
        "children": [{"job": child.job_id, "on": child.on.value} for child in job.children],
        "ttl_s": job.ttl_s,
        "deadline_s": job.deadline_s,
        "on_deadline": "" if job.on_deadline is OnDeadline.ALERT else job.on_deadline.value,
        "retention_days": job.retention_days,
        "hold_limit_on_lost": job.hold_limit_on_lost,
        "join": "" if job.join is Join.ANY else job.join.value,
    }
    if job.shards:
        found["shards"] = [asdict(one) for one in job.shards]
    if job.concurrency != UNLIMITED:
        found["concurrency"] = asdict(job.concurrency)
    if job.lost_after_s != LOST_AFTER_S:
        found["lost_after_s"] = job.lost_after_s
    if job.contact != UNSIGNED:
        found["contact"] = {name: value for name, value in asdict(job.contact).items() if value}
    if job.placement.label:
        found["placement"] = asdict(job.placement)
    if job.misfire_limits != DAY_OF_100:
        found["misfire_limits"] = asdict(job.misfire_limits)
    return {name: value for name, value in found.items() if value}


def _concurrency_of(stored: dict[str, Any] | None) -> Concurrency:
    return UNLIMITED if stored is None else Concurrency(**(stored | {"overlap": Overlap(stored["overlap"])}))


def _placement_of(stored: dict[str, Any] | None) -> Placement:
    return ANYWHERE if stored is None else Placement(stored["label"], Fallback(stored["fallback"]))


def _task_of(stored: dict[str, Any]) -> Task:
    return Task(**(stored | {"envs": tuple((name, value) for name, value in stored.get("envs", ()))}))


def definition_text(job: Job) -> str:
    return _text(definition_of(job))


def texts_of(job: Job) -> tuple[str, str]:
    """The definition, and what the history keeps: with the columns of its own that a change may touch."""
    definition = definition_of(job)
    return _text(definition), _text({"name": job.name, "enabled": job.enabled, **definition})


def _text(definition: dict[str, Any]) -> str:
    return json.dumps(definition, ensure_ascii=False, separators=(",", ":"), default=dict)


def job_at(version: Any, job: Any) -> Job:
    """The job as it was at a version: from a row of `job_version`, and one that says whose it is."""
    kept: dict[str, Any] = json.loads(version.definition)
    row = SimpleNamespace(
        id=version.job_id,
        namespace_id=job.namespace_id,
        app_id=job.app_id,
        part=job.part,
        version=version.version,
        name=kept["name"],
        enabled=kept["enabled"],
        definition=version.definition,
        anchor_ms=version.anchor_ms,
        next_fire_at=None,
        fired=0,
        chain_run_id=0,
        edition=0,
        created_ms=job.created_ms,
        updated_ms=version.created_ms,
    )
    return job_of(row)


def job_of(row: Any) -> Job:
    """From a row of `job` joined with its `next_fire_at`."""
    stored: dict[str, Any] = json.loads(row.definition)
    schedule = stored["schedule"]
    return Job(
        id=row.id,
        namespace_id=row.namespace_id,
        app_id=row.app_id,
        part=row.part,
        version=row.version,
        name=row.name,
        enabled=bool(row.enabled),
        schedule=tuple(schedule) if isinstance(schedule, list) else schedule,
        task=_task_of(stored["task"]),
        misfire=Misfire(stored["misfire"]),
        route=Route(stored["route"]),
        block_strategy=BlockStrategy(stored["block_strategy"]),
        guarantee=Guarantee(stored["guarantee"]),
        retry=retry_of(stored.get("retry", {})),
        misfire_limits=MisfireLimits(**stored.get("misfire_limits", {})),
        children=tuple(Child(one["job"], On(one["on"])) for one in stored.get("children", ())),
        join=Join(stored.get("join", Join.ANY)),
        concurrency=_concurrency_of(stored.get("concurrency")),
        placement=_placement_of(stored.get("placement")),
        ttl_s=stored.get("ttl_s", 0),
        timing=timing_of(stored.get("timing", {})),
        shards=tuple(NamedShard(**one) for one in stored.get("shards", ())),
        deadline_s=stored.get("deadline_s", 0),
        on_deadline=OnDeadline(stored.get("on_deadline", OnDeadline.ALERT)),
        lost_after_s=stored.get("lost_after_s", LOST_AFTER_S),
        hold_limit_on_lost=stored.get("hold_limit_on_lost", False),
        contact=Contact(**stored["contact"]) if "contact" in stored else UNSIGNED,
        retention_days=stored.get("retention_days", 0),
        anchor_ms=row.anchor_ms,
        next_fire_at=row.next_fire_at,
        fired=row.fired,
        chain_run_id=row.chain_run_id,
        edition=row.edition,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        **{name: stored[name] for name in _PLAIN},
    )
