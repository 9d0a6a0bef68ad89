"""A report as lines of a terminal, as wide as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from importer.report.document import Column, Document, Section, Table
from importer.report.text import pad, width, wrap

NARROWEST = 60
_GAP = "  "
_LEAST = 8  # columns of a terminal that a column of a table keeps
_LONGEST_WORD = 26  # an instant with its offset has 25 characters


def lines_of(document: Document, columns: int) -> Iterator[str]:
    """Without line ends, none longer than `columns`; folded sections are left out."""
    columns = max(columns, NARROWEST)
    yield from wrap(document.title, columns)
    yield ""
    label = max((width(name) for name, _ in document.facts), default=0)
    for name, text in document.facts:
        yield from _hanging(pad(name, label) + _GAP, text, columns)
    for section in document.sections:
        if not section.folded:
            yield ""
            yield from _section(section, columns)


def _section(section: Section, columns: int) -> Iterator[str]:
    yield from wrap(section.title, columns)
    for line in section.lines:
        head, rest = line.split(" ", 1) if section.are_steps and " " in line else ("-", line)
        yield from _hanging(f"  {head} ", rest, columns)
    if section.table is not None:
        yield from _table(section.table, columns)


def _hanging(head: str, text: str, columns: int) -> Iterator[str]:
    indent = width(head)
    for number, line in enumerate(wrap(text, columns - indent)):
        yield (head if number == 0 else " " * indent) + line


def _table(table: Table, columns: int) -> Iterator[str]:
    titles = tuple(column.title for column in table.columns)
    rows = [titles, *table.rows]
    widths = _widths(rows, columns)
    for row in rows:
        yield from _row(table.columns, row, widths)
    if table.left_out:
        yield f"  and {table.left_out:,} more {table.what}: see the report (--report FILE)"


def _row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    cells = [wrap(cell, room) for cell, room in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        line = _GAP.join(
            pad(cell[number] if number < len(cell) else "", room, right=column.is_number)
            for column, cell, room in zip(columns, cells, widths, strict=True)
        )
        yield f"  {line}".rstrip()


def _widths(rows: Sequence[Sequence[str]], columns: int) -> list[int]:
    """What each column gets: what it wants where there is room, else the widest give way first, and words last."""
    cells = list(zip(*rows, strict=True))
    widths = [max(map(width, column)) for column in cells]
    room = columns - len(_GAP) * len(widths)
    words = [max(width(word) for cell in column for word in cell.split(" ")) for column in cells]
    _narrow(widths, room, [max(min(word, _LONGEST_WORD), _LEAST) for word in words])
    _narrow(widths, room, [_LEAST] * len(widths))
    return widths


def _narrow(widths: list[int], room: int, least: Sequence[int]) -> None:
    """Take from the widest, one by one, until they fit or none is above its least."""
    for _ in range(sum(widths) - room):
        able = [index for index, one in enumerate(widths) if one > least[index]]
        if not able:
            return
        widths[max(able, key=widths.__getitem__)] -= 1
