"""Versions of GLUE sources, read through the API: XXL-JOB keeps them beside its jobs."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.zones import Zone
from importer.manifests.present import Calls, job_path
from importer.writeback.jobs import wall
from importer.writeback.values import Answer, GlueRow

MOST = 30
"""Of a job: as many as XXL-JOB keeps."""
_ALL = 1 << 40
_SOURCE = {"task.glue_source", "task.glue_type"}


def read_glue(calls: Calls, jobs: Iterable[Answer], zone: Zone) -> dict[int, tuple[GlueRow, ...]]:
    """By job, oldest first, the present source last. A job whose source was never changed has no history there either."""
    return {job["id"]: rows for job in jobs if job["version"] > 1 and (rows := _of(calls, job, zone))}


def _of(calls: Calls, job: Answer, zone: Zone) -> tuple[GlueRow, ...]:
    path = f"{job_path(job['id'])}/versions"
    items = list(calls.items(path, query={}, limit=_ALL))
    # Newest first; the oldest that is left has nothing to differ from.
    changed = [one for one in items if _SOURCE & set(one["changed"])] + items[-1:]
    rows: list[GlueRow] = []
    for item in changed:
        if len(rows) == MOST:
            break
        answer = calls.call("GET", f"{path}/{item['version']}")
        definition = answer["definition"]
        task = definition["task"]
        if task["glue_source"] or task["glue_type"] != "BEAN":
            remark = (definition.get("contact") or {}).get("remark", "")
            at = wall(answer["glue_updated_ms"] or item["created_ms"], zone) or ""
            rows.append(GlueRow(task["glue_type"], task["glue_source"], remark, at))
    rows = [row for n, row in enumerate(rows) if not n or not _same(row, rows[n - 1])]
    present = (job["task"]["glue_type"], job["task"]["glue_source"])
    has_earlier = any((row.glue_type, row.source) != present for row in rows)
    return tuple(reversed(rows)) if has_earlier else ()


def _same(one: GlueRow, other: GlueRow) -> bool:
    return (one.glue_type, one.source) == (other.glue_type, other.source)
