"""Cursors of lists: the last id of a page, marked with the list it belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.core.errors import InvalidValue
from gateway.core.listing import Page

T = TypeVar("T")

_PAIR = re.compile(r"([a-z])([0-9a-f]{1,15})\.([0-9a-f]{1,15})", re.ASCII)
_TEXT = re.compile(r"([a-z])((?:[0-9a-f]{2}){1,300})", re.ASCII)
_SHAPE = re.compile(r"([a-z])([0-9a-f]{1,15})", re.ASCII)


def page_of(found: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """The first `limit` of what a query found that asked for one more, to know whether there is more."""
    if len(found) <= limit:
        return Page(tuple(found))
    return Page(tuple(found[:limit]), cursor(found[limit - 1]))


def encode(kind: str, last_id: int) -> str:
    return f"{kind}{last_id:x}"


def decode(kind: str, cursor: str) -> int:
    """The id in a cursor. Raises `InvalidValue`."""
    return int(_matched(_SHAPE, kind, cursor)[2], 16)


def encode_pair(kind: str, first: int, second: int) -> str:
    """For a list that is ordered by two numbers."""
    return f"{kind}{first:x}.{second:x}"


def decode_pair(kind: str, cursor: str) -> tuple[int, int]:
    """The numbers in a cursor. Raises `InvalidValue`."""
    match = _matched(_PAIR, kind, cursor)
    return int(match[2], 16), int(match[3], 16)


def encode_text(kind: str, last: str) -> str:
    """For a list that is ordered by names."""
    return f"{kind}{last.encode().hex()}"


def decode_text(kind: str, cursor: str) -> str:
    """The name in a cursor. Raises `InvalidValue`."""
    return bytes.fromhex(_matched(_TEXT, kind, cursor)[2]).decode("utf-8", "replace")


def _matched(shape: re.Pattern[str], kind: str, cursor: str) -> re.Match[str]:
    match = shape.fullmatch(cursor)
    if match is None or match[1] != kind:
        raise InvalidValue("cursor", cursor, "the next_cursor of a page of this list")
    return match
