"""What a job tells its executor: handler, parameter, GLUE source and its earlier versions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from gateway.core.model import Job, Task
from importer.plan.around import Around
from importer.plan.notes import Notes
from importer.plan.values import Verdict
from importer.source.values import SourceGlue, SourceJob

MOST_SOURCE = 1_000_000
MOST_PARAMS = 65_000
MOST_HISTORY = 30
MOST_HANDLER = 255
_UNBOUNDED = 1 << 40
_GLUE_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,31}", re.ASCII)
KNOWN_GLUE_TYPES = frozenset(
    f"GLUE_{name}" for name in ("GROOVY", "SHELL", "PYTHON", "PYTHON2", "NODEJS", "PHP", "POWERSHELL")
) | {"BEAN"}
_REMOTE = "RemoteHttpJobBean"
_DATA_KEYS = {"handler_address": "address", "handler_name": "handler", "handler_params": "param"}


def data_of(job: SourceJob) -> dict[str, str] | None:
    """The JSON object that 1.2 to 1.3.1 keep handler, parameter and addresses in; None where it cannot be read."""
    if not (job.job_data or "").strip():
        return {}
    try:
        read = json.loads(job.job_data or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    return {str(name): _plain(value) for name, value in read.items()}


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def task_of(job: SourceJob, around: Around, notes: Notes) -> tuple[Task, tuple[str, ...]]:
    """With the reasons why it cannot run, which keep it from being enabled."""
    stopped: list[str] = []
    handler, params = _told(job, notes, stopped)
    glue_type = _glue_type(job, handler, notes, stopped)
    source = notes.text("glue_source", job.glue_source, _UNBOUNDED)
    if glue_type == "GLUE_SHELL" and "\r" in source:
        source = source.replace("\r", "")
        notes.note("glue_source", f"{len(job.glue_source or '')} characters", "without carriage returns", "a shell does not read them; XXL-JOB takes them out as well")  # fmt: skip
    if len(source) > MOST_SOURCE:
        why = f"longer than {MOST_SOURCE:,} characters: changes of the job are refused until it is shorter"
        notes.warn("glue_source", f"{len(source)} characters", "kept", why)
    if glue_type == "BEAN" and not handler:
        stopped.append("it names no handler, so no executor can run it")
        notes.warn(
            "executor_handler", job.handler or "", "disabled", "a job of the type BEAN needs a handler"
        )
    if glue_type != "BEAN" and not source:
        stopped.append("it has no source, so no executor can run it")
        notes.warn("glue_source", "", "disabled", f"a job of the type {glue_type} needs a source")
    if len(params) > MOST_PARAMS:
        why = f"longer than {MOST_PARAMS:,} characters: changes of the job are refused until it is shorter"
        notes.warn("executor_param", params, "kept", why)
    return Task(handler, params, glue_type, source, around.ms(job.glue_updated)), tuple(stopped)


def _told(job: SourceJob, notes: Notes, stopped: list[str]) -> tuple[str, str]:
    told, param = job.handler or "", job.param or ""
    data = data_of(job)
    if data is None:
        stopped.append("its job_data cannot be read")
        notes.warn("job_data", job.job_data, "in the description; disabled", "it is no JSON object")
    elif (job.job_data or "").strip():
        told, param = told or data.get("handler_name", ""), param or data.get("handler_params", "")
        notes.note(
            "job_data",
            job.job_data,
            "handler, params and addresses",
            "its keys have places of their own here",
        )
        for name in sorted(set(data) - set(_DATA_KEYS)):
            if data[name]:
                notes.dropped(f"job_data.{name}", data[name], "nothing here has this name")
        for name, column in (("handler_name", "executor_handler"), ("handler_params", "executor_param")):
            own = job.handler if name == "handler_name" else job.param
            if own and data.get(name) and data[name] != own:
                notes.dropped(f"job_data.{name}", data[name], f"{column} says otherwise")
    if job.job_class:
        if job.job_class.rpartition(".")[2] == _REMOTE:
            notes.note(
                "job_class",
                job.job_class,
                "nothing",
                "it means a job that an executor runs, as all jobs are here",
            )
        else:
            stopped.append("its code runs inside the old admin")
            why = "this class runs inside the old admin: give an executor a handler that does its work"
            notes.warn("job_class", job.job_class, "disabled", why)
    handler = notes.text("executor_handler", told.strip(), MOST_HANDLER)
    if told != told.strip():
        notes.note("executor_handler", told, handler, "blanks around a handler's name mean nothing")
    return handler, notes.text("executor_param", param, _UNBOUNDED)


def _glue_type(job: SourceJob, handler: str, notes: Notes, stopped: list[str]) -> str:
    word = (job.glue_type or "").strip()
    if job.glue_switch not in (None, 0, 1):
        notes.repaired("glue_switch", job.glue_switch, "0", "the switch is 0 or 1")
    if not word:
        if job.glue_switch == 1:
            return "GLUE_GROOVY"
        if "glue_type" in job_columns(job) and not handler and job.glue_source:
            notes.warn(
                "glue_type",
                job.glue_type or "",
                "BEAN",
                "there is a source, and nothing says in which language",
            )
        return "BEAN"
    if job.glue_switch == 1 and word != "GLUE_GROOVY":
        notes.dropped("glue_switch", job.glue_switch, "glue_type says what kind of job it is")
    if not _GLUE_TYPE.fullmatch(word):
        stopped.append(f"there is no type {word!r}")
        notes.repaired("glue_type", job.glue_type, "BEAN, disabled", "no executor knows this type")
        return "BEAN"
    if word not in KNOWN_GLUE_TYPES:
        notes.warn(
            "glue_type", word, "kept", "released executors do not know this type: it needs those of the fork"
        )
    elif word != job.glue_type:
        notes.note("glue_type", job.glue_type, word, "blanks around a type mean nothing")
    return word


def job_columns(job: SourceJob) -> frozenset[str]:
    """Which of the columns for a job's type this database has, as far as its row tells."""
    return frozenset({"glue_type"} if job.glue_type is not None else ())


def history_of(job: Job, rows: tuple[SourceGlue, ...], around: Around, notes: Notes) -> tuple[Job, ...]:
    """Versions before this one, oldest first, numbered from 1. The newest row mostly is what the job has now."""
    ordered = sorted(rows, key=lambda row: row.id)
    if len(ordered) > MOST_HISTORY:
        gone = ordered[:-MOST_HISTORY]
        notes.dropped("logglue", f"{len(gone)} older versions of the source, ids {gone[0].id} to {gone[-1].id}", f"the newest {MOST_HISTORY} are kept, as in XXL-JOB")  # fmt: skip
        ordered = ordered[-MOST_HISTORY:]
    versions = [_version(job, row, around, notes) for row in ordered]
    if versions and _same_source(versions[-1], job):
        versions.pop()
    kept = [one for one, after in pairwise([*versions, job]) if not _same_source(one, after)]
    return tuple(replace(one, version=number) for number, one in enumerate(kept, 1))


def _version(job: Job, row: SourceGlue, around: Around, notes: Notes) -> Job:
    source = (row.source or "").replace("\0", "")
    glue_type = (row.glue_type or "").strip()
    if not _GLUE_TYPE.fullmatch(glue_type):
        glue_type = job.task.glue_type if job.task.glue_type != "BEAN" else "GLUE_GROOVY"
        if row.glue_type:
            notes.repaired(f"logglue {row.id} glue_type", row.glue_type, glue_type, "no executor knows this type", Verdict.IDENTICAL)  # fmt: skip
    at_ms = around.ms(row.updated or row.added)
    return replace(
        job,
        enabled=False,
        task=replace(
            job.task,
            glue_type=glue_type,
            glue_source=source.replace("\r", "") if glue_type == "GLUE_SHELL" else source,
            glue_updated_ms=at_ms,
        ),
        contact=replace(job.contact, remark=(row.remark or "").replace("\0", "")),
        updated_ms=at_ms or job.created_ms,
    )


def _same_source(one: Job, other: Job) -> bool:
    return (one.task.glue_type, one.task.glue_source) == (other.task.glue_type, other.task.glue_source)


def glue_by_job(
    rows: tuple[SourceGlue, ...], by_key: Mapping[str, int]
) -> tuple[dict[int, list[SourceGlue]], list[SourceGlue]]:
    """The history of each job by its id, and the rows of jobs that are gone, as far as names tell."""
    found: dict[int, list[SourceGlue]] = {}
    lost: list[SourceGlue] = []
    for row in rows:
        job_id = row.job_id if row.job_id is not None else by_key.get(f"{row.group}_{row.name}")
        if job_id is None:
            lost.append(row)
        else:
            found.setdefault(job_id, []).append(row)
    return found, lost
