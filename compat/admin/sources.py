"""`/jobcode/save`: the source of a GLUE job."""

from __future__ import annotations

from dataclasses import replace

from compat.admin.calls import Call
from compat.admin.job_forms import source_of
from compat.admin.jobs import job_of
from compat.admin.replies import Json
from gateway.core.errors import Conflict, InvalidValue

_ATTEMPTS = 3


async def save(call: Call) -> Json:
    """The one before stays in the job's versions."""
    job_id = call.given.number("id")
    remark = (call.given.text("glueRemark") or "").strip()
    if not 4 <= len(remark) <= 100:
        raise InvalidValue("glueRemark", remark[:200], "4 to 100 characters")
    for attempt in range(1, _ATTEMPTS + 1):
        job = await job_of(call, job_id)
        if job.task.glue_type == "BEAN":
            raise Conflict(f"job {job_id} has the glueType BEAN: it has no source")
        source = source_of(call.given, job.task.glue_type)
        if not source:
            raise InvalidValue("glueSource", "", "the source")
        task = replace(job.task, glue_source=source, glue_updated_ms=call.ports.clock.now_ms())
        try:
            await call.ports.jobs.update(replace(job, task=task, contact=replace(job.contact, remark=remark)))
            break
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
    await call.ports.operations.jobs_changed([job_id])
