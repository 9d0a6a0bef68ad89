"""`/jobcode/save`: the source of a GLUE job."""

from __future__ import annotations

from dataclasses import replace

from compat.admin.calls import Call
from compat.admin.job_forms import source_of
from compat.admin.jobs import change_job
from compat.admin.replies import Json
from gateway.core.errors import Conflict, InvalidValue
from gateway.core.model import Job


async def save(call: Call) -> Json:
    """The one before stays in the job's versions."""
    job_id = call.given.number("id")
    remark = (call.given.text("glueRemark") or "").strip()
    if not 4 <= len(remark) <= 100:
        raise InvalidValue("glueRemark", remark[:200], "4 to 100 characters")

    async def changed(job: Job) -> Job:
        if job.task.glue_type == "BEAN":
            raise Conflict(f"job {job_id} has the glueType BEAN: it has no source")
        source = source_of(call.given, job.task.glue_type)
        if not source:
            raise InvalidValue("glueSource", "", "the source")
        task = replace(job.task, glue_source=source, glue_updated_ms=call.ports.clock.now_ms())
        return replace(job, task=task, contact=replace(job.contact, remark=remark))

    await change_job(call, job_id, changed)
