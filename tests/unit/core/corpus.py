"""Comparing a dialect with its golden cases; `tests/data/cron/README.md` describes the files."""

import json
from pathlib import Path

from gateway.core.cron import parse_cron
from gateway.core.errors import InvalidValue
from gateway.core.zones import resolve_zone

FOLDER = Path(__file__).parents[2] / "data" / "cron"
REJECT = "reject"


def read(name):
    with (FOLDER / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def recorded(case):
    return case["next"] if case["valid"] else REJECT


def answer(case, dialect):
    """What the gateway says to a case: the next five instants, ended by None, or "reject"."""
    try:
        expression = parse_cron(case["expr"], dialect=dialect)
    except InvalidValue:
        return REJECT
    zone, at, found = resolve_zone(case["tz"]), case["start_epoch"], []
    while at is not None and len(found) < 5:
        at = expression.next_after(at, zone)
        found.append(at)
    return found


def disagreements(dialect):
    """Lines that tell where the answers are neither the recorded ones nor the listed deviations."""
    listed = {row["id"]: row for row in read(f"{dialect}-deviations.jsonl")}
    lines = []
    for case in read(f"{dialect}-cases.jsonl"):
        ours, row = answer(case, dialect), listed.pop(case["id"], None)
        wanted = row["ours"] if row else recorded(case)
        if ours != wanted:
            lines.append(f"{case['id']} {case['expr']!r} {case['tz']} {case['start']}: {ours}, not {wanted}")
        elif row and ours == recorded(case):
            lines.append(f"{case['id']} {case['expr']!r}: listed as a deviation, but agrees")
    lines += [f"{key}: listed as a deviation, but no such case" for key in listed]
    return lines
