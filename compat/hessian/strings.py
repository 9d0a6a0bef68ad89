"""Text as Java writes it: lengths count UTF-16 units, and so do the pieces of what is long."""

from __future__ import annotations

import re
from collections.abc import Iterator

CHUNK = 0x8000
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def _pair(match: re.Match[str]) -> str:
    code = ord(match[0]) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


def pieces(text: str) -> Iterator[tuple[int, bytes]]:
    """Pieces of at most 32,768 units with their lengths, one at least; no pair is cut apart."""
    units = text if text.isascii() else _ASTRAL.sub(_pair, text)
    start = 0
    while len(units) - start > CHUNK:
        end = start + CHUNK
        if "\ud800" <= units[end - 1] <= "\udbff":
            end -= 1
        yield end - start, units[start:end].encode("utf-8", "surrogatepass")
        start = end
    yield len(units) - start, units[start:].encode("utf-8", "surrogatepass")
