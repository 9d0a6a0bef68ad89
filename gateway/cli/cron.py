"""Command: when a cron expression fires. It needs no gateway."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from gateway.cli.root import WRONG_INPUT, Failure


@click.command()
@click.argument("expression", required=False)
@click.option("--tz", default="UTC", show_default=True, help="IANA name of the time zone.")
@click.option("--count", type=click.IntRange(1, 10_000), default=5, show_default=True)
@click.option("--from", "from_", help="ISO 8601 with an offset; now if left out.")
@click.option("--jsonl", is_flag=True, help="Answer each line of standard input with one line.")
def cron(expression: str | None, tz: str, count: int, from_: str | None, *, jsonl: bool) -> None:
    """When EXPRESSION fires next: 5 fields are Unix cron, 6 or 7 Quartz.

    With --jsonl each line in is {"expr", "tz", "start_epoch", "dialect", "count"} and each line out
    {"valid": true, "next": [epoch seconds …]} or {"valid": false, "error": "…"}.
    """
    if jsonl:
        _answer_lines()
    elif expression is None:
        raise Failure("EXPRESSION: none given: a cron expression, or --jsonl, is needed", WRONG_INPUT)
    else:
        _answer(expression, tz, count, from_)


def _answer_lines() -> None:
    from gateway.core.cron import run_jsonl

    lines = (line.decode("utf-8", "replace") for line in sys.stdin.buffer)
    for answer in run_jsonl(lines):
        # Whoever asks line by line waits for each answer.
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _answer(expression: str, tz: str, count: int, from_: str | None) -> None:
    from gateway.core.clock import SystemClock
    from gateway.core.cron import parse_cron
    from gateway.core.zones import resolve_zone

    parsed = parse_cron(expression, field="EXPRESSION")
    zone = resolve_zone(tz, field="--tz")
    at: int | None = SystemClock().now_ms() // 1000 if from_ is None else _epoch(from_)
    click.echo(f"{parsed.dialect}, {zone.name}")
    for _ in range(count):
        at = None if at is None else parsed.next_after(at, zone)
        if at is None:
            click.echo("never again")
            break
        click.echo(_local(at, zone.offset_s(at)))


def _epoch(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Failure(
            f"--from: {text!r} is not valid: ISO 8601 with an offset, such as 2026-11-21T08:00:00Z",
            WRONG_INPUT,
        )
    return int(moment.timestamp())


def _local(epoch_s: int, offset_s: int) -> str:
    from datetime import timedelta, timezone

    return datetime.fromtimestamp(epoch_s, timezone(timedelta(seconds=offset_s))).isoformat()
