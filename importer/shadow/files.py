"""A shadow's report as a file: JSON, Markdown or HTML by its ending."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from importer.report.files import STANDARD_OUTPUT, write_pieces
from importer.report.markdown import markdown_of
from importer.report.page import page_of
from importer.shadow.document import PAGE, document_of


def write_shadow(path: str, found: Mapping[str, Any]) -> None:
    """Raises `OSError`. A file that is there is replaced at the end, as a whole."""
    write_pieces(path, pieces_of(path, found))


def pieces_of(path: str, found: Mapping[str, Any]) -> Iterator[str]:
    ending = Path(path).suffix.lower()
    if path == STANDARD_OUTPUT or ending == ".json":
        yield json.dumps(found, ensure_ascii=False, indent=2)
        yield "\n"
        return
    document = document_of(found, PAGE)
    yield from markdown_of(document) if ending == ".md" else page_of(document)
