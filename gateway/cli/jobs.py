"""Commands: jobs."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.policies import POLICY_OPTIONS, lay_policies, policy_options
from gateway.cli.root import FAILED, WRONG_INPUT, Failure
from gateway.cli.timings import TIMING_OPTIONS, lay_timing, timing_options

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("id", "app", "name", "state", "schedule", "next_fire", "version")
_POLL_S = 0.5
_TRIES = 100
_OPEN = {"planned", "queued", "dispatching", "running", "stopping"}


@click.group()
def jobs() -> None:
    """What to run, when, and under which policies."""


@jobs.command("list")
@click.option("--app", help="The appname.")
@click.option("--name", help="A part of the name, in any case.")
@click.option("--enabled/--disabled", default=None, help="Only those.")
@click.option("--state", help="Only those that are enabled, disabled, paused or done.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most to list.")
@calls_api
def list_jobs(
    client: Client, app: str | None, name: str | None, state: str | None, limit: int, *, enabled: bool | None
) -> None:
    """List jobs."""
    flag = None if enabled is None else str(enabled).lower()
    query = {"app": app, "name": name, "enabled": flag, "state": state}
    found = list(client.items("/api/v1/jobs", query=query, limit=limit))
    if client.as_json:
        show.as_json(found)
    else:
        show.table([{**job, "schedule": _schedule_text(job["schedule"])} for job in found], _COLUMNS)


@jobs.command("show")
@click.argument("job_id", type=int)
@calls_api
def show_job(client: Client, job_id: int) -> None:
    """Show a job."""
    show.one(client, client.call("GET", _path(job_id)))


def job_fields(command: F) -> F:
    """Give a command the options of a job's fields, and the body they make as its `body`."""

    @click.option("--name", help="What people read.")
    @click.option("--description")
    @click.option("--cron", help="5 fields are Unix cron, 6 or 7 Quartz.")
    @click.option("--every", help="A fixed rate: seconds, or text such as 90s.")
    @click.option("--interval", help="As --every, but counted from 1970: 15m is at :00, :15, :30 and :45.")
    @click.option("--at", help="Once: 'yyyy-MM-dd HH:mm:ss' in the time zone, ISO 8601 or milliseconds.")
    @click.option("--anchor", help="For --every: an instant of its phase.")
    @click.option("--offset", help="For --interval: how long after each multiple.")
    @click.option("--second-delay", help="So long after the end of the run before: seconds, or text.")
    @click.option("--rule", help="For --second-delay: schedulerx refuses what it refuses, all but 1 to 60 s.")
    @click.option("--on-demand", is_flag=True, help="No schedule: it runs when it is triggered.")
    @click.option("--timezone", help="IANA name, or an offset such as GMT+8.")
    @click.option("--misfire", help="skip, fire_once or fire_all: what becomes of a slot found too late.")
    @click.option("--misfire-after", help="How late is too late.")
    @click.option("--misfire-window", help="For fire_all: how old a missed slot may be.")
    @click.option("--retention-days", type=int, help="How many days its finished runs are kept.")
    @click.option("--misfire-max", type=int, help="For fire_all: how many missed slots run, the newest.")
    @click.option("--handler", help="The handler of a BEAN task.")
    @click.option("--params", help="Handed to the handler.")
    @click.option("--env", "envs", multiple=True, help="NAME=VALUE, handed over with the params (repeat it).")
    @click.option("--glue-type", help="BEAN, GLUE_SHELL, …")
    @click.option(
        "--glue-source", type=click.File(encoding="utf-8"), help="File with the source of a GLUE task."
    )
    @click.option("--route", help="ROUND, FAILOVER, SHARDING_BROADCAST, …")
    @click.option("--block-strategy", help="SERIAL_EXECUTION, DISCARD_LATER or COVER_EARLY.")
    @click.option("--timeout", help="Seconds, or text such as 5m; 0 for none.")
    @timing_options
    @policy_options
    @click.option("--template", help="sae_job or schedulerx: their defaults for what is left out.")
    @click.option("--guarantee", help="at_most_once or at_least_once.")
    @click.option("--priority", type=int, help="A larger number goes first.")
    @click.option(
        "--file",
        "file",
        type=click.File(encoding="utf-8"),
        help="A JSON object (- for standard input); options go over it.",
    )
    @functools.wraps(command)
    def with_body(*args: Any, **options: Any) -> Any:
        body = json_of(options["file"]) if options["file"] is not None else {}
        if not isinstance(body, dict):
            raise Failure("--file: a JSON object with the fields of a job is needed", WRONG_INPUT)
        _lay_over(body, options)
        rest = {name: value for name, value in options.items() if name not in _FIELD_OPTIONS}
        return command(*args, body=body, **rest)

    return with_body  # type: ignore[return-value]


_PLAIN = {
    **{name: name for name in ("name", "description", "route", "block_strategy", "guarantee", "priority")},
    "timeout": "timeout_s",
    "misfire_after": "misfire_after_s",
    "misfire_window": "misfire_window_s",
    "misfire_max": "misfire_max",
    "retention_days": "retention_days",
    "template": "template",
}
_TASK = {"handler": "handler", "params": "params", "glue_type": "glue_type"}
_KIND_OPTIONS = {
    "cron": "cron",
    "every": "fixed_rate",
    "second_delay": "second_delay",
    "interval": "interval",
    "at": "one_time",
    "on_demand": "api",
}
_FIELD_OPTIONS = {
    *_PLAIN,
    *_TASK,
    *_KIND_OPTIONS,
    *("anchor", "offset", "rule", "timezone", "misfire", "glue_source", "file", "envs"),
    *POLICY_OPTIONS,
    *TIMING_OPTIONS,
}


def _lay_over(body: dict[str, Any], options: Mapping[str, Any]) -> None:
    body.update({field: options[name] for name, field in _PLAIN.items() if options[name] is not None})
    task = {field: options[name] for name, field in _TASK.items() if options[name] is not None}
    if options["glue_source"] is not None:
        task["glue_source"] = options["glue_source"].read()
    if options["envs"]:
        task["envs"] = [_env_of(text) for text in options["envs"]]
    kinds = [name for name in _KIND_OPTIONS if options[name]]
    if len(kinds) > 1:
        raise Failure(f"--{kinds[1].replace('_', '-')}: a job has one schedule here; use --file", WRONG_INPUT)
    schedule: dict[str, Any] = {}
    if kinds:
        kind = _KIND_OPTIONS[kinds[0]]
        expression = None if kind == "api" else options[kinds[0]]
        schedule = {"kind": kind, "expression": expression, "anchor": None, "offset": None, "rule": None}
    own = ("timezone", "anchor", "offset", "rule", "misfire")
    schedule |= {name: options[name] for name in own if options[name] is not None}
    for name, part in (("task", task), ("schedule", schedule)):
        if part:
            body[name] = {**(body.get(name) or {}), **part}
    lay_timing(body, options)
    lay_policies(body, options)


def _env_of(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Failure(f"--env: {text!r} is not valid: NAME=VALUE", WRONG_INPUT)
    return {"name": name, "value": value}


@jobs.command()
@click.option("--app", help="The appname.")
@click.option("--disabled", is_flag=True, help="Create it without slots.")
@click.option("--xxl-style", is_flag=True, help="XXL-JOB's defaults for what is left out.")
@job_fields
@calls_api
def create(client: Client, body: dict[str, Any], app: str | None, *, disabled: bool, xxl_style: bool) -> None:
    """Create a job."""
    if app is not None:
        body["app"] = app
    if xxl_style:
        body["xxl_style"] = True
    if disabled:
        body["enabled"] = False
    show.one(client, client.call("POST", "/api/v1/jobs", body))


@jobs.command()
@click.argument("job_id", type=int)
@job_fields
@calls_api
def update(client: Client, job_id: int, body: dict[str, Any]) -> None:
    """Change a job; what is left out stays."""
    show.one(client, client.call("PATCH", _path(job_id), body))


@jobs.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@calls_api
def batch(client: Client, file: IO[str]) -> None:
    """Create up to 10,000 jobs, all or none, from a JSON list or one JSON object a line (- for standard input)."""
    found = json_of(file, lines=True)
    body = found if isinstance(found, dict) and "jobs" in found else {"jobs": found}
    answer = client.call("POST", "/api/v1/jobs/batch", body)
    show.as_json(answer) if client.as_json else click.echo("\n".join(map(str, answer["ids"])))


@jobs.command()
@click.argument("job_id", type=int)
@click.option(
    "--stop-running", is_flag=True, help="Stop its runs that are running; else they end by themselves."
)
@click.option(
    "--keep-history", is_flag=True, help="Keep its runs and versions as long as those of other jobs."
)
@calls_api
def delete(client: Client, job_id: int, *, stop_running: bool, keep_history: bool) -> None:
    """Delete a job: what waits ends, and its history is removed a little later."""
    query = {"running": "stop" if stop_running else None, "keep_history": "true" if keep_history else None}
    answer = client.call("DELETE", _path(job_id), query=query)
    if client.as_json:
        show.as_json(answer)
    elif answer and answer["still_running"]:
        click.echo(f"not reached, still running: {', '.join(map(str, answer['still_running']))}")


@jobs.command()
@click.argument("job_id", type=int)
@calls_api
def enable(client: Client, job_id: int) -> None:
    """Let a job's slots begin."""
    show.one(client, client.call("POST", f"{_path(job_id)}/enable"))


@jobs.command()
@click.argument("job_id", type=int)
@calls_api
def disable(client: Client, job_id: int) -> None:
    """Let a job have no more slots; it can still be triggered."""
    show.one(client, client.call("POST", f"{_path(job_id)}/disable"))


@jobs.command()
@click.argument("job_id", type=int)
@click.option("--params", help="Instead of the job's own.")
@click.option("--address", "addresses", multiple=True, help="Instead of the app's executors (repeat it).")
@click.option("--task-id", help="A name of your own: submitted twice, it runs once.")
@click.option("--at", "run_at", help="Not before: ISO 8601 with an offset, or milliseconds since 1970.")
@click.option("--delay", "delay_s", help="Not before so long from now: seconds, or text such as 30m.")
@click.option("--ttl", "ttl_s", help="How long it may wait from its instant on; then it ends as expired.")
@click.option("--priority", type=int, help="1 low, 5 medium, 10 high, 15 very high, or any between.")
@click.option("--key", help="A name for this call: made again with it, it gets the same answer.")
@click.option("--wait", is_flag=True, help="Until it has ended; the exit code is 0 if it succeeded.")
@calls_api
def trigger(client: Client, job_id: int, key: str | None, *, wait: bool, **given: Any) -> int:
    """Run a job, now or later."""
    given["addresses"] = list(given["addresses"]) or None
    body = {name: value for name, value in given.items() if value is not None}
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = client.call("POST", f"{_path(job_id)}/trigger", body, headers=headers)
    if not wait:
        show.as_json(answer) if client.as_json else click.echo(answer["run_id"])
        return 0
    run = _ended(client, answer["run_id"])
    show.one(client, run)
    return 0 if run["state"] == "succeeded" else FAILED


@jobs.command("trigger-batch")
@click.argument("job_id", type=int)
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--key", help="A name for this call: made again with it, it gets the same answer.")
@calls_api
def trigger_batch(client: Client, job_id: int, file: IO[str], key: str | None) -> int:
    """Run a job up to 10,000 times, from a JSON list or one JSON object a line (- for standard input)."""
    found = json_of(file, lines=True)
    body = found if isinstance(found, dict) and "submissions" in found else {"submissions": found}
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = client.call("POST", f"{_path(job_id)}/trigger/batch", body, headers=headers)
    if client.as_json:
        show.as_json(answer)
    else:
        show.table(answer["results"], ("status", "run_id", "task_id", "detail"))
    return 0 if answer["accepted"] == len(answer["results"]) else FAILED


@jobs.command()
@click.argument("job_id", type=int)
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--from", "from_", help="ISO 8601 with an offset; now if left out.")
@click.option("--timezone", help="In which zone to show times.")
@calls_api
def preview(client: Client, job_id: int, count: int, from_: str | None, timezone: str | None) -> None:
    """When a job is due next."""
    query = {"count": count, "from": from_, "timezone": timezone}
    answer = client.call("GET", f"{_path(job_id)}/preview", query=query)
    show.as_json(answer) if client.as_json else show.fires(answer)


@jobs.command()
@click.argument("job_id", type=int)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most to list.")
@calls_api
def versions(client: Client, job_id: int, limit: int) -> None:
    """List a job's versions, newest first: who changed what, and when."""
    found = list(client.items(f"{_path(job_id)}/versions", query={}, limit=limit))
    columns = ("version", "created", "author", "enabled", "changed")
    show.rows(client, found, columns)


@jobs.command()
@click.argument("job_id", type=int)
@click.argument("number", type=int)
@calls_api
def version(client: Client, job_id: int, number: int) -> None:
    """Show a job as it was at a version."""
    show.one(client, client.call("GET", f"{_path(job_id)}/versions/{number}"))


@jobs.command()
@click.argument("job_id", type=int)
@click.argument("old", type=int)
@click.argument("new", type=int)
@calls_api
def diff(client: Client, job_id: int, old: int, new: int) -> None:
    """What differs between two versions of a job."""
    answer = client.call("GET", f"{_path(job_id)}/versions/{old}/diff/{new}")
    if client.as_json:
        show.as_json(answer)
    else:
        show.table(answer["changes"], ("field", "old", "new"), none="no difference")


@jobs.command()
@click.argument("job_id", type=int)
@click.argument("number", type=int)
@click.option("--enabled/--disabled", default=None, help="Instead of what that version had.")
@calls_api
def rollback(client: Client, job_id: int, number: int, *, enabled: bool | None) -> None:
    """Make an earlier version of a job its newest."""
    body = {"version": number} | ({} if enabled is None else {"enabled": enabled})
    show.one(client, client.call("POST", f"{_path(job_id)}/rollback", body))


def _ended(client: Client, run_id: int) -> Any:
    """The run, or the attempt that speaks for it, when it has ended."""
    while True:
        run = client.call("GET", f"/api/v1/runs/{run_id}")
        is_over = run["state"] not in _OPEN
        if run["state"] == "retrying" or (is_over and run["attempt"] > 1 and run["state"] != "succeeded"):
            query = {"root_id": run["root_id"], "job_id": run["job_id"]}
            tries = list(client.items("/api/v1/runs", query=query, limit=_TRIES))
            good = [one for one in tries if one["state"] == "succeeded" and one["shard"] == run["shard"]]
            if good:
                return good[0]
            run_id = max((one["id"] for one in tries), default=run_id)
        if is_over and run["state"] != "retrying":
            return run
        time.sleep(_POLL_S)


def json_of(file: IO[str], *, lines: bool = False) -> Any:
    text = file.read()
    try:
        return json.loads(text)
    except ValueError as error:
        whole = error
    if lines:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            pass
    raise Failure(f"{file.name}: this is not JSON: {whole}", WRONG_INPUT)


def _schedule_text(schedule: Any) -> str:
    if isinstance(schedule, list):
        return " | ".join(map(_schedule_text, schedule))
    kind, expression = schedule["kind"], schedule["expression"]
    if isinstance(expression, dict):
        expression = " ".join(f"{name}={value}" for name, value in expression.items())
    match kind:
        case "cron" | "calendar" | "one_time":
            return f"{expression} ({schedule['timezone']})"
        case "fixed_rate" | "interval":
            return f"every {expression}"
        case "second_delay":
            return f"{expression} after each end"
        case _:
            return str(kind)


def _path(job_id: int) -> str:
    return f"/api/v1/jobs/{job_id}"
