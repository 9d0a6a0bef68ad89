"""A job as a row of `xxl_job_info`, and what of it has no place there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.clock import at_offset
from gateway.core.envs import with_envs
from gateway.core.model import Route
from gateway.core.zones import Zone
from importer.plan.notes import Notes
from importer.plan.values import Finding, Level, Verdict
from importer.writeback.schedules import told
from importer.writeback.values import Answer, GlueRow, JobRow, Shape

_XXL_MISFIRE_AFTER_S = 5
_LOST_AFTER_S = 60
_BYTES_FROM = 65_535
_ALL_FAILURES = ["failed", "lost", "timed_out"]
# What decides at which instants there are slots: without it the job would fire where it must not.
_BOUNDS = ("window", "exclusions", "calendar")
# Fields whose default means what the old admin does, and what is lost with another value.
_PLAIN: Mapping[str, tuple[object, str]] = {
    "description": ("", "jobs have a name and no more there"),
    "jitter_s": (0, "runs are due at their slots there"),
    "data_offset_s": (None, "params with a data time are sent as they stand there"),
    "label": (None, "any executor of the group may get a run there"),
    "overlap": (
        "allow",
        "how often a job runs at once is decided by each executor there, by its block strategy",
    ),
    "ttl_s": (0, "runs do not expire there"),
    "priority": (5, "there are no priorities there"),
    "shards": ([], "only a broadcast has shards there, one for each executor"),
    "join": ("any", "each success of a parent starts it there"),
    "deadline_s": (None, "only executor_timeout ends a run there"),
    "hold_limit_on_lost": (False, "there are no limits there"),
    "guarantee": ("at_most_once", "nobody asks there what became of a run whose answer did not come"),
    "retention_days": (None, "logs of all jobs are kept as long as the admin's setting says"),
    "lost_after_s": (
        _LOST_AFTER_S,
        "a run is lost there when it has run for 10 minutes and its executor is gone",
    ),
}
_MISFIRES = {"skip": "DO_NOTHING", "fire_once": "FIRE_ONCE_NOW", "fire_all": "FIRE_ONCE_NOW"}


def job_row(
    answer: Answer, glue: tuple[GlueRow, ...], known: frozenset[int], shape: Shape
) -> tuple[JobRow, list[Finding]]:
    """`known`: the ids of the jobs that will be there."""
    notes = Notes(f"job {answer['id']}")
    schedule = told(answer, shape, notes)
    task, contact = answer["task"], answer["contact"]
    stopped = not schedule.exact and schedule.type != "NONE"
    for name in _BOUNDS:
        if answer[name]:
            why = "there is nothing like it there, so the job would fire where it must not: it stays stopped"
            notes.dropped(name, _shown(answer[name]), why, Verdict.CHANGED)
            stopped = True
    _leftovers(answer, schedule.from_description, notes)
    misfire = _misfire(answer, notes)
    params, unsendable = _params(task, shape, notes)
    enabled = (
        shape.enabled and answer["enabled"] and not stopped and not unsendable and schedule.type != "NONE"
    )
    if shape.enabled and answer["enabled"] and not enabled:
        notes.warn(
            "enabled",
            True,
            "stopped",
            "; ".join(notes.reasons) or "it has no schedule there",
            Verdict.CHANGED,
        )
    columns: dict[str, object] = {
        "job_desc": answer["name"],
        "author": _fitted("author", contact["author"], shape, notes),
        "alarm_email": _emails(contact["alarm_email"], shape, notes),
        "schedule_type": schedule.type,
        "schedule_conf": schedule.conf,
        "misfire_strategy": misfire,
        "executor_route_strategy": _route(answer, notes),
        "executor_handler": task["handler"],
        "executor_param": params,
        "executor_block_strategy": answer["block_strategy"],
        "executor_timeout": answer["timeout_s"],
        "executor_fail_retry_count": _retries(answer["retry"], notes),
        "glue_type": task["glue_type"],
        "glue_source": task["glue_source"],
        "glue_remark": _fitted("glue_remark", contact["remark"], shape, notes),
        "glue_updatetime": wall(answer["glue_updated_ms"], shape.zone),
        "child_jobid": _children(answer["children"], known, shape, notes),
        "trigger_status": int(enabled),
        "trigger_last_time": 0,
        "trigger_next_time": schedule.next_ms,
        "add_time": wall(answer["created_ms"], shape.zone),
        "update_time": wall(answer["updated_ms"], shape.zone),
    }
    return JobRow(answer["id"], answer["app"], columns, glue), notes.findings


def wall(ms: int | None, zone: Zone) -> str | None:
    """What the old admin's clock shows."""
    if not ms:
        return None
    return at_offset(ms, zone.offset_s(ms // 1000)).strftime("%Y-%m-%d %H:%M:%S")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {one}" for name, one in value.items() if one is not None and not name.endswith("_ms")
        )
    return "; ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _leftovers(answer: Answer, from_description: bool, notes: Notes) -> None:
    for name, (default, why) in _PLAIN.items():
        if name == "description" and from_description and "\n" not in answer[name]:
            continue
        if answer[name] != default:
            verdict = (
                Verdict.IDENTICAL
                if name in ("description", "priority", "retention_days")
                else Verdict.CHANGED
            )
            notes.dropped(name, _shown(answer[name]), why, verdict)
    if "${data_time" in answer["task"]["params"]:
        why = "the name of a data time is sent as it stands there"
        notes.warn("task.params", answer["task"]["params"], "as it stands", why, Verdict.CHANGED)


def _misfire(answer: Answer, notes: Notes) -> str:
    schedules = answer["schedule"]
    word = (schedules[0] if isinstance(schedules, list) else schedules)["misfire"]
    if word == "fire_all":
        why = "of what was missed one run is made up for there"
        notes.repaired("schedule.misfire", f"{word}, {answer['misfire_max']} at most", "FIRE_ONCE_NOW", why)
    if answer["misfire_after_s"] != _XXL_MISFIRE_AFTER_S:
        notes.add(
            Level.NOTE,
            "misfire_after_s",
            answer["misfire_after_s"],
            f"{_XXL_MISFIRE_AFTER_S} s",
            "a slot that is so late counts as missed there, for all jobs",
            Verdict.EQUIVALENT,
        )
    return _MISFIRES[word]


def _route(answer: Answer, notes: Notes) -> str:
    route: str = answer["route"]
    if route == Route.WEIGHTED:
        notes.repaired("route", route, "ROUND", "there are no weights there")
        return Route.ROUND.value
    return route


def _retries(retry: Answer, notes: Notes) -> int:
    waits = {name: retry[name] for name in ("intervals_s", "initial_interval_s") if retry[name] is not None}
    if waits:
        notes.repaired("retry", _shown(waits), "at once", "a retry does not wait there")
    if retry["on"] != _ALL_FAILURES:
        notes.repaired(
            "retry.on", ", ".join(retry["on"]), "all failures", "each failure is tried again there"
        )
    return int(retry["max_attempts"]) - 1


def _children(children: Any, known: frozenset[int], shape: Shape, notes: Notes) -> str:
    found: list[str] = []
    for child in children:
        job_id, on = child["job"], child["on"]
        if job_id not in known:
            notes.dropped("children", job_id, "this job is not written back", Verdict.CHANGED)
        elif on == "failure":
            notes.dropped(
                "children", f"{job_id} on failure", "only a success starts jobs there", Verdict.CHANGED
            )
        else:
            if on == "end":
                why = "only a success starts it there"
                notes.repaired("children", f"{job_id} on end", f"{job_id} on success", why)
            found.append(str(job_id))
    room = shape.room.get(("info", "child_jobid"), 255)
    while len(",".join(found)) > room:
        gone = found.pop()
        notes.dropped("children", gone, f"there is room for {room} characters", Verdict.CHANGED)
    return ",".join(found)


def _params(task: Answer, shape: Shape, notes: Notes) -> tuple[str, bool]:
    """What executors get, and whether it does not fit."""
    envs = tuple((one["name"], one["value"]) for one in task["envs"])
    params = with_envs(task["params"], envs)
    if envs:
        names = ", ".join(name for name, _ in envs)
        why = "executors get the same: params and values as one JSON parameter"
        notes.add(Level.NOTE, "task.envs", names, "part of executor_param", why, Verdict.EQUIVALENT)
    if _fits("executor_param", params, shape):
        return params, False
    room = shape.room["info", "executor_param"]
    why = f"there is room for {room} characters, and a part of them would mean something else: the job stays stopped"
    notes.dropped("task.params", params, why, Verdict.CHANGED)
    return "", True


def _fits(column: str, text: str, shape: Shape) -> bool:
    room = shape.room.get(("info", column), len(text))
    # What has no length of its own is bounded in bytes.
    return (len(text.encode()) if room >= _BYTES_FROM else len(text)) <= room


def _fitted(column: str, text: str, shape: Shape, notes: Notes) -> str:
    room = shape.room.get(("info", column), len(text))
    if len(text) <= room:
        return text
    notes.repaired(column, text, text[:room], f"there is room for {room} characters", Verdict.IDENTICAL)
    return text[:room]


def _emails(text: str, shape: Shape, notes: Notes) -> str:
    """As many whole addresses as there is room for."""
    room = shape.room.get(("info", "alarm_email"), len(text))
    found = text.split(",")
    while len(",".join(found)) > room:
        gone = found.pop()
        notes.dropped("alarm_email", gone, f"there is room for {room} characters", Verdict.CHANGED)
    return ",".join(found)
