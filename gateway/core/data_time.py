"""Data time: the business time of a run, which is its slot plus the job's offset, and how params name it."""

from __future__ import annotations

import re
from datetime import datetime

from gateway.core.clock import at_offset
from gateway.core.model import Job, NewRun
from gateway.core.schedule import zone_of
from gateway.core.zones import Zone

_PLACE = re.compile(r"\$\{data_time(?:(_ms)|:([^{}]*))?\}")
_PART = re.compile("yyyy|MM|dd|HH|mm|ss")
_DIRECTIVES = {"yyyy": "{:%Y}", "MM": "{:%m}", "dd": "{:%d}", "HH": "{:%H}", "mm": "{:%M}", "ss": "{:%S}"}


def data_ms_of(run: NewRun, job: Job) -> int:
    """0 for a run that has none."""
    return run.data_ms or data_ms_at(job, run.slot_key if run.slot_key > 0 else run.due_ms)


def data_ms_at(job: Job, at_ms: int) -> int:
    """For a slot; or for when a run is due that no schedule has asked for, which its row keeps for all attempts."""
    offset_s = job.timing.data_offset_s
    return 0 if offset_s is None else at_ms + offset_s * 1000


def params_at(run: NewRun, job: Job, data_ms: int) -> str | None:
    """The params that this run is sent with; None if they are the job's own as they stand."""
    params = job.task.parameter if run.params is None else run.params
    if "${data_time" not in params:
        return run.params
    spec = job.schedule[0] if isinstance(job.schedule, tuple) else job.schedule
    return filled(params, data_ms, zone_of(spec))


def filled(params: str, data_ms: int, zone: Zone) -> str:
    """With the data time in place of `${data_time}`, `${data_time_ms}` and `${data_time:yyyy-MM-dd HH:mm:ss}`."""
    moment = local(data_ms, zone)

    def value(match: re.Match[str]) -> str:
        in_ms, pattern = match.groups()
        if in_ms:
            return str(data_ms)
        if pattern is None:
            return moment.isoformat(timespec="seconds")
        return _PART.sub(lambda part: _DIRECTIVES[part[0]].format(moment), pattern)

    return _PLACE.sub(value, params)


def local(ms: int, zone: Zone) -> datetime:
    return at_offset(ms, zone.offset_s(ms // 1000))
