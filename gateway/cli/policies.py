"""Options of a job: its policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from gateway.cli.root import WRONG_INPUT, Failure

F = TypeVar("F", bound=Callable[..., Any])

_RETRY = {
    "attempts": "max_attempts",
    "retry_intervals": "intervals_s",
    "retry_initial": "initial_interval_s",
    "retry_coefficient": "backoff_coefficient",
    "retry_maximum": "maximum_interval_s",
    "retry_jitter": "jitter",
    "retry_on": "on",
}
_LISTS = {"retry_intervals", "retry_on"}
_LIMITS = {
    "overlap": "overlap",
    "max_concurrency": "max_concurrency",
    "queue_limit": "queue_limit",
    "ttl": "ttl_s",
    "label_fallback": "label_fallback",
}
_PATIENCE = {
    "deadline": "deadline_s",
    "on_deadline": "on_deadline",
    "lost_after": "lost_after_s",
    "hold_limit_on_lost": "hold_limit_on_lost",
}
POLICY_OPTIONS = frozenset({*_RETRY, *_LIMITS, *_PATIENCE, "label", "children", "join", "shards"})

_OPTIONS = (
    click.option("--label", help="Only executors with this label, whatever the route ('' for any)."),
    click.option(
        "--label-fallback", help="fail or any: what becomes of a run while no executor has the label."
    ),
    click.option(
        "--overlap", help="allow, skip, queue or replace: what becomes of a run beyond --max-concurrency."
    ),
    click.option("--max-concurrency", type=int, help="Most runs of the job at once, over all executors."),
    click.option("--queue-limit", type=int, help="With --overlap queue: how many more may wait."),
    click.option("--ttl", help="How long a run may wait before it expires: seconds, or text such as 10m."),
    click.option("--attempts", type=int, help="All attempts, the first one included."),
    click.option("--retry-intervals", help="The waits between attempts, by comma: 10s,1m,10m."),
    click.option(
        "--retry-initial", help="The first wait; each next one is --retry-coefficient times as long."
    ),
    click.option("--retry-coefficient", type=float, help="1 unless given."),
    click.option("--retry-maximum", help="The longest wait."),
    click.option("--retry-jitter", type=float, help="The share of a wait that chance may take away, 0 to 1."),
    click.option("--retry-on", help="What is tried again, by comma: failed,timed_out,lost."),
    click.option(
        "--child",
        "children",
        multiple=True,
        help="A job that its end starts: 12, 12:failure or 12:end (repeat it; '' for none).",
    ),
    click.option(
        "--shard",
        "shards",
        multiple=True,
        help="A shard by its name, or NAME=PARAMS (repeat it; '' for none).",
    ),
    click.option("--deadline", help="How long an attempt may run: seconds, or text such as 10m."),
    click.option("--on-deadline", help="alert or kill."),
    click.option("--lost-after", help="How long an executor must have nothing of a run until it is lost."),
    click.option(
        "--hold-limit-on-lost/--no-hold-limit-on-lost",
        default=None,
        help="A run that is given up keeps its place in limits until its executor says that it runs nothing of the job.",
    ),
    click.option("--join", help="any or all: what a job with several parents waits for."),
)


def policy_options(command: F) -> F:
    """Give a command these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def lay_policies(body: dict[str, Any], options: Mapping[str, Any]) -> None:
    """What these options say goes over the body."""
    retry = {
        field: _parts(options[name]) if name in _LISTS else options[name]
        for name, field in _RETRY.items()
        if options[name] is not None
    }
    body.update({field: options[name] for name, field in _LIMITS.items() if options[name] is not None})
    if retry:
        body["retry"] = {**(body.get("retry") or {}), **retry}
    body.update({field: options[name] for name, field in _PATIENCE.items() if options[name] is not None})
    if options["label"] is not None:
        body["label"] = options["label"] or None
    if options["children"]:
        body["children"] = [_child(text) for text in options["children"] if text]
    if options["shards"]:
        body["shards"] = [_shard(text) for text in options["shards"] if text]
    if options["join"] is not None:
        body["join"] = options["join"]


def _shard(text: str) -> dict[str, Any]:
    name, is_given, params = text.partition("=")
    return {"name": name, **({"params": params} if is_given else {})}


def _child(text: str) -> dict[str, Any]:
    job_id, _, on = text.partition(":")
    if not job_id.isdecimal():
        raise Failure(
            f"--child: {text!r} is not valid: the id of a job, and perhaps :failure or :end", WRONG_INPUT
        )
    return {"job": int(job_id), **({"on": on} if on else {})}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
