"""A report as sections of lines and tables, before it is Markdown, HTML or lines of a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Column:
    """`is_value`: its cells are values of a database, not prose."""

    title: str
    is_value: bool = False
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`left_out`: how many rows more there are, and `left_out_of` what they are."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0
    what: str = "rows"


@dataclass(frozen=True, slots=True)
class Section:
    """`folded`: only for those who look for it; a terminal does not show it. `are_steps`: its lines have numbers."""

    title: str
    lines: tuple[str, ...] = ()
    table: Table | None = None
    folded: bool = False
    are_steps: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...] = field(default=())
