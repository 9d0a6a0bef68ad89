"""A report as one HTML page that needs nothing else and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from importer.report.document import Column, Document, Section, Table

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { opacity: .7; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
th { position: sticky; top: 0; background: Canvas; font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; min-width: 3rem; }
.number { text-align: right; white-space: nowrap; width: 1%; }
code { background: var(--soft); border-radius: 3px; padding: 0 .25em; font-size: .92em; }
summary { cursor: pointer; font-size: 1.1rem; font-weight: 600; margin-top: 2rem; }
.more { opacity: .7; }
"""


def page_of(document: Document) -> Iterator[str]:
    """Pieces of the page, in order."""
    title = escape(document.title)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<dl>\n"
    )
    for name, text in document.facts:
        yield f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n"
    yield "</dl>\n"
    for section in document.sections:
        yield from _section(section)
    yield "</body>\n</html>\n"


def _section(section: Section) -> Iterator[str]:
    title = escape(section.title)
    yield f"<details>\n<summary>{title}</summary>\n" if section.folded else f"<section>\n<h2>{title}</h2>\n"
    if section.are_steps:
        yield "".join(f"<p>{escape(line)}</p>\n" for line in section.lines)
    elif section.lines:
        yield "<ul>\n" + "".join(f"<li>{escape(line)}</li>\n" for line in section.lines) + "</ul>\n"
    if section.table is not None:
        yield from _table(section.table)
    yield "</details>\n" if section.folded else "</section>\n"


def _table(table: Table) -> Iterator[str]:
    heads = "".join(f"<th{_kind(column)}>{escape(column.title)}</th>" for column in table.columns)
    yield f'<div class="wide">\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    for row in table.rows:
        cells = zip(table.columns, row, strict=True)
        yield (
            "<tr>"
            + "".join(f"<td{_kind(column)}>{_cell(column, text)}</td>" for column, text in cells)
            + "</tr>\n"
        )
    yield "</tbody>\n</table>\n</div>\n"
    if table.left_out:
        yield f'<p class="more">and {table.left_out:,} more {escape(table.what)}: the report in JSON has all of them.</p>\n'


def _kind(column: Column) -> str:
    return ' class="number"' if column.is_number else ""


def _cell(column: Column, text: str) -> str:
    return f"<code>{escape(text)}</code>" if column.is_value and text else escape(text)
