"""Cursors of lists: the last id of a page, marked with the list it belongs to."""

from __future__ import annotations

import re

from gateway.core.errors import InvalidValue

_SHAPE = re.compile(r"([a-z])([0-9a-f]{1,15})", re.ASCII)


def encode(kind: str, last_id: int) -> str:
    return f"{kind}{last_id:x}"


def decode(kind: str, cursor: str) -> int:
    """The id in a cursor. Raises `InvalidValue`."""
    match = _SHAPE.fullmatch(cursor)
    if match is None or match[1] != kind:
        raise InvalidValue("cursor", cursor, "the next_cursor of a page of this list")
    return int(match[2], 16)
