"""What commands print: aligned text for people, JSON for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import click


class Asked(Protocol):
    """Whoever runs a command may ask for JSON."""

    @property
    def as_json(self) -> bool: ...


def rows(asked: Asked, found: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    as_json(found) if asked.as_json else table(found, columns)


def row(asked: Asked, answer: Mapping[str, Any], columns: Sequence[str]) -> None:
    as_json(answer) if asked.as_json else table([answer], columns)


def one(asked: Asked, answer: Mapping[str, Any]) -> None:
    as_json(answer) if asked.as_json else record(answer)


def as_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], none: str = "nothing found") -> None:
    """One line a row; a column that is empty in all rows keeps its place."""
    lines = [[_cell(row.get(name)) for name in columns] for row in rows]
    if not lines:
        click.echo(none)
        return
    lines.insert(0, [name.upper().replace("_", " ") for name in columns])
    widths = [max(_width(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def fires(preview: Mapping[str, Any]) -> None:
    """What is due next, a line each; warnings for people stand apart from it."""
    click.echo("\n".join(fire["time"] for fire in preview["next"]) or "never")
    for warning in preview["warnings"]:
        click.echo(warning, err=True)


def record(values: Mapping[str, Any]) -> None:
    """One line a field; nested fields by their path, instants once."""
    flat = dict(_flat(values, ""))
    shown = {
        name: value
        for name, value in flat.items()
        if not (name.endswith("_ms") and name.removesuffix("_ms") in flat)
    }
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name.ljust(width)}  {_cell(value)}".rstrip())


def _flat(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, value


def _cell(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return " ".join(str(value).split())


def _width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
