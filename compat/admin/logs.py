"""`/joblog/*`: runs, and the logs that their executors keep."""

from __future__ import annotations

from html import escape

from compat.admin import log_rows
from compat.admin.calls import Call
from compat.admin.dates import span_of
from compat.admin.jobs import apps_asked_for, rows_of
from compat.admin.paging import MOST, window_of
from compat.admin.parameters import MAX_LONG
from compat.admin.replies import Json, Rows
from gateway.core.daily import DAY_MS
from gateway.core.errors import Conflict, InvalidValue, NotFound
from gateway.core.listing import RunFilter
from gateway.core.model import Run
from gateway.core.positions import JobSearch, LogStatus, RunSearch, Window
from gateway.core.states import FINAL

_STATUS = {1: LogStatus.SUCCEEDED, 2: LogStatus.FAILED, 3: LogStatus.RUNNING}
_OLDER_THAN_DAYS = {1: 30, 2: 90, 3: 180, 4: 365}
_KEEP_NEWEST = {5: 1000, 6: 10_000, 7: 30_000, 8: 100_000, 9: 0}
_AT_ONCE = 500
_LONGEST_S = 20.0


async def page(call: Call) -> Json:
    given = call.given
    from_ms, to_ms = span_of(given.text("filterTime") or "", call.ports.zone, "filterTime")
    search = RunSearch(
        app_ids=await apps_asked_for(call),
        job_id=max(given.number("jobId", 0), 0),
        status=_STATUS.get(given.number("logStatus", -1)),
        from_ms=from_ms,
        to_ms=to_ms,
    )
    found = await call.ports.positions.runs(search, window_of(given))
    jobs = await call.ports.jobs.load({run.job_id for run in found.items})
    return Rows(found.total, [log_rows.row(run, jobs, call.style) for run in found.items])


async def read(call: Call) -> Json:
    """Lines of a log; what older clients say of its executor and its time is known already."""
    run = await _run(call, call.given.number("logId", most=MAX_LONG))
    from_line = max(call.given.number("fromLineNum", 1), 1)
    found = await call.ports.operations.log(run.id, from_line)
    return {
        "fromLineNum": found.from_line,
        "toLineNum": found.to_line,
        "logContent": escape(found.content),
        "end": found.is_end,
    }


async def kill(call: Call) -> Json:
    """The end of the run comes with the executor's report."""
    run = await _run(call, call.given.number("id", most=MAX_LONG))
    await call.ports.operations.stop(run.id)


async def clear(call: Call) -> Json:
    """Raises `Conflict` when there is more to remove than one call may take the time for."""
    kind = call.given.number("type")
    app_ids, job_id = await apps_asked_for(call), call.given.number("jobId", 0)
    if kind not in _OLDER_THAN_DAYS and kind not in _KEEP_NEWEST:
        raise InvalidValue("type", kind, "1 to 9")
    now_ms = call.ports.clock.now_ms()
    days = _OLDER_THAN_DAYS.get(kind)
    before_ms = None if days is None else now_ms - days * DAY_MS
    wanted = [
        RunFilter(app_id=app_id, job_id=job_id or None, states=FINAL, to_ms=before_ms)
        for app_id in (sorted(app_ids) if app_ids is not None else [None])
    ]
    stop_at = call.ports.clock.monotonic() + _LONGEST_S
    for one in wanted:
        await _remove(call, one, _KEEP_NEWEST.get(kind, 0), stop_at)


async def jobs_of_group(call: Call) -> Json:
    search = JobSearch(app_ids=await apps_asked_for(call))
    return await rows_of(call, (await call.ports.positions.jobs(search, Window(0, MOST))).items)


async def _remove(call: Call, wanted: RunFilter, keep: int, stop_at: float) -> None:
    """All but the newest `keep`."""
    cursor, removed = None, 0
    while True:
        found = await call.ports.runs.page(wanted, cursor=cursor, limit=_AT_ONCE)
        items = found.items[keep:]
        keep = max(keep - len(found.items), 0)
        removed += await call.ports.remover.remove_runs(items) if items else 0
        cursor = found.next_cursor
        if cursor is None:
            return
        if items and call.ports.clock.monotonic() >= stop_at:
            raise Conflict(f"{removed} logs are removed and there are more: call again")


async def _run(call: Call, run_id: int) -> Run:
    """Raises `NotFound`, also for one of an app that is not the caller's."""
    run = await call.ports.runs.get(run_id)
    call.require_app(run.app_id, NotFound("run", run_id))
    return run
