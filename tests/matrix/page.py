"""docs/compatibility.md, made of results."""

from __future__ import annotations

from pathlib import Path

from tests.matrix.clients import CLIENTS, FEATURES, MIXED, NOT_RUN
from tests.matrix.drive import LACK, NO, Result

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"

MIXED_TITLES = ", ".join(CLIENTS[name].title for name in MIXED)
HEAD = """\
# Compatibility

Written by `python tests/matrix/run.py --write`, which starts two executors of each released client, unchanged, against a gateway
and drives them through every column. What they did is counted by the executors themselves. Part of these clients run with all
tests. How to connect a client, and what differs between them, stands in [executors](executors.md).
"""
LEGEND = """\
`yes`: it works. `–`: the client has nothing of the kind; the note says what happens instead. `NO`: it does not work; the command says why.
Java clients ran on Java 17, those before 2.2.0 with `--add-opens` of `java.base/java.lang`, `java.util`, `java.io` and `java.math`.
"""


def page(results: dict[str, dict[str, Result]], together: Result) -> str:
    notes: dict[str, int] = {}
    rows = []
    for name, client in CLIENTS.items():
        cells = []
        for feature in FEATURES:
            result = results.get(name, {}).get(feature, Result(NO))
            if result.mark in {NO, LACK}:
                result = Result(NO)
            note = result.note
            number = f" [{notes.setdefault(note, len(notes) + 1)}]" if note else ""
            cells.append(result.mark + number)
        rows.append(f"| {client.title} | {' | '.join(cells)} |")
    lines = [
        HEAD,
        "## What was run\n",
        f"| client | {' | '.join(FEATURES)} |",
        "| --- " * (len(FEATURES) + 1) + "|",
    ]
    lines += [*rows, "", LEGEND]
    lines += [f"{number}. {note[0].upper()}{note[1:]}." for note, number in notes.items()]
    lines += [
        "",
        "## Several releases in one app\n",
        f"{together.mark}: one broadcast to {MIXED_TITLES}, each with its shard.",
    ]
    lines += ["", "## The columns\n", "| column | what is checked |", "| --- | --- |"]
    lines += [f"| {feature} | {what} |" for feature, what in FEATURES.items()]
    lines += ["", "## Not run\n", "| client | why, and what covers it |", "| --- | --- |"]
    lines += [f"| {client} | {why} |" for client, why in NOT_RUN.items()]
    return "\n".join(lines) + "\n"


def marks(text: str) -> dict[str, dict[str, str]]:
    """The cells of the page, without the numbers of notes: by title and column."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    columns = [cell.strip() for cell in lines[0].strip("|").split("|")][1:]
    found = {}
    for line in lines[2 : 2 + len(CLIENTS)]:
        title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found[title] = dict(zip(columns, (cell.partition(" [")[0] for cell in cells), strict=True))
    return found
