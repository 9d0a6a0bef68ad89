"""Runs as the rows of XXL-JOB's log."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from compat.admin.replies import Json, Style
from gateway.core.model import Job, Route, Run
from gateway.core.states import RunState

OK, FAILED, TIMED_OUT = 200, 500, 502
_RAN = frozenset({RunState.RUNNING, RunState.STOPPING, RunState.SUCCEEDED, RunState.TIMED_OUT, RunState.LOST})
_ON_ITS_WAY = frozenset({RunState.PLANNED, RunState.QUEUED, RunState.DISPATCHING})
_OPEN_AT_THE_EXECUTOR = frozenset({RunState.RUNNING, RunState.STOPPING})


def trigger_code(run: Run) -> int:
    """0 while it has not been sent, 200 when its executor took it, 500 when it never got so far."""
    state = _real(run)
    if state in _ON_ITS_WAY:
        return 0
    took = state in _RAN or run.result_code or (state is RunState.STOPPED and run.sent_ms)
    return OK if took else FAILED


def handle_code(run: Run) -> int:
    """0 while there is no result."""
    state = _real(run)
    if trigger_code(run) != OK or state in _OPEN_AT_THE_EXECUTOR:
        return 0
    if state is RunState.SUCCEEDED:
        return OK
    if state is RunState.TIMED_OUT:
        return TIMED_OUT
    return run.result_code if run.result_code not in (0, OK) else FAILED


def row(run: Run, jobs: Mapping[int, Job], style: Style) -> Json:
    """Of a job that was deleted only what the run itself knows."""
    job = jobs.get(run.job_id)
    params = job.task.params if run.params is None and job else run.params
    code = handle_code(run)
    return {
        "id": run.id,
        "jobGroup": run.app_id,
        "jobId": run.job_id,
        "executorAddress": run.address or None,
        "executorHandler": job.task.handler if job else None,
        "executorParam": params or "",
        "executorShardingParam": f"{run.shard}/{run.shard_total}" if _is_shard(run, job) else None,
        "executorFailRetryCount": max(job.max_attempts - run.attempt, 0) if job else 0,
        "triggerTime": style.date(run.trigger_ms or run.due_ms),
        "triggerCode": trigger_code(run),
        "triggerMsg": _trigger_text(run),
        "handleTime": style.date(run.finished_ms) if code else None,
        "handleCode": code,
        "handleMsg": run.message or (run.reason if code else None),
        "alarmStatus": 0,
    }


def _is_shard(run: Run, job: Job | None) -> bool:
    """A broadcast over one executor is one."""
    is_only = job is not None and job.route is Route.SHARDING_BROADCAST and run.shard == 0
    return run.shard_total > 1 or is_only


def _real(run: Run) -> RunState:
    """How it ended, also where a next attempt exists."""
    return run.outcome if run.state is RunState.RETRYING and run.outcome else run.state


def _trigger_text(run: Run) -> str:
    """HTML, as clients show it."""
    said = [f"trigger: {run.trigger_kind.name.lower()}", f"state: {_real(run).word}"]
    if run.attempt > 1:
        said.append(f"attempt: {run.attempt}")
    if run.address:
        said.append(f"executor: {run.address}")
    if run.reason:
        said.append(run.reason)
    return "<br>".join(map(escape, said))
