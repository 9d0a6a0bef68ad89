"""Reports as files: which form an ending asks for, and how one is written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gateway.core.errors import InvalidValue
from importer.report.as_json import json_of
from importer.report.markdown import markdown_of
from importer.report.page import page_of
from importer.report.sections import PAGE, document_of
from importer.report.values import Report

STANDARD_OUTPUT = "-"
_ENDINGS = (".json", ".md", ".html")


def require_report(path: str, field: str = "--report") -> None:
    """Raises `InvalidValue` for a file that could not be written, or whose ending asks for no form of a report."""
    if path == STANDARD_OUTPUT:
        return
    if Path(path).suffix.lower() not in _ENDINGS:
        raise InvalidValue(
            field, path, "a file that ends in .json, .md or .html, or - for JSON on standard output"
        )
    try:
        folder = Path(path).resolve().parent
        is_there = folder.is_dir()
        can_write = not Path(path).is_dir() and os.access(path if Path(path).exists() else folder, os.W_OK)
    except OSError as error:  # what it could not even ask for
        raise InvalidValue(field, path, f"a file that this user can write ({error.strerror})") from None
    if not is_there:
        raise InvalidValue(field, path, f"a file in a directory that exists; {folder} does not")
    if not can_write:
        raise InvalidValue(field, path, "a file that this user can write")


def write_report(path: str, report: Report, next_steps: Sequence[str]) -> None:
    """Raises `OSError`. A file that is there is replaced at the end, as a whole."""
    write_pieces(path, pieces_of(path, report, next_steps))


def write_pieces(path: str, pieces: Iterable[str]) -> None:
    """As `write_report`, for any report."""
    unfinished = Path(f"{path}.part")
    try:
        with unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(pieces)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def pieces_of(path: str, report: Report, next_steps: Sequence[str]) -> Iterator[str]:
    ending = Path(path).suffix.lower()
    if path == STANDARD_OUTPUT or ending == ".json":
        return json_of(report, next_steps)
    document = document_of(report, PAGE, next_steps)
    return markdown_of(document) if ending == ".md" else page_of(document)
