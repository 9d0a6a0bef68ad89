"""A report as Markdown, in which nothing of the database can be read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterator

from importer.report.document import Column, Document, Section, Table

# Also what autolinks and mentions are made of.
_MARKUP = re.compile(r"[\\`*_\[\]<>|~&$]|(?<=\w):(?=//)|@(?=\w)")
_BLOCK = re.compile(r"^(\d{0,9})([#+=.)-])")  # what a heading, a list or a rule begins with
_COMMAND = ": xxljob-gateway "
_TICKS = re.compile(r"`+")


def markdown_of(document: Document) -> Iterator[str]:
    """Pieces of the text, in order."""
    yield f"# {escape(document.title)}\n\n"
    for name, text in document.facts:
        yield f"- **{escape(name)}**: {escape(text)}\n"
    for section in document.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield f"\n## {escape(section.title)}\n\n"
    if section.folded:
        yield "<details>\n<summary>Show</summary>\n\n"
    for line in section.lines:
        yield f"{_step(line)}\n" if section.are_steps else f"- {_line(line)}\n"
    if section.table is not None:
        if section.lines:
            yield "\n"
        yield from _table(section.table)
    if section.folded:
        yield "\n</details>\n"


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(escape(column.title) for column in table.columns) + " |\n"
    yield "| " + " | ".join("---:" if column.is_number else "---" for column in table.columns) + " |\n"
    for row in table.rows:
        cells = (_cell(column, text) for column, text in zip(table.columns, row, strict=True))
        yield "| " + " | ".join(cells) + " |\n"
    if table.left_out:
        yield f"\nand {table.left_out:,} more {table.what}: the report in JSON has all of them.\n"


def _cell(column: Column, text: str) -> str:
    if not column.is_value or not text:
        return escape(text)
    return _code(text).replace("|", "\\|")


def _code(text: str) -> str:
    fence = "`" * (max(map(len, _TICKS.findall(text)), default=0) + 1)
    blank = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _step(text: str) -> str:
    """A command can be copied from it."""
    prose, found, command = text.partition(_COMMAND)
    return f"{escape(prose)}: {_code(_COMMAND[2:] + command)}" if found else escape(text)


def _line(text: str) -> str:
    return _BLOCK.sub(r"\1\\\2", escape(text).lstrip())


def escape(text: str) -> str:
    """Prose that may hold values."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};" if found[0] in ":@&<" else f"\\{found[0]}", text)
