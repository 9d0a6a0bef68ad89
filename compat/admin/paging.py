"""Which rows of a list a call wants: `start` and `length`, or `offset` and `pagesize`."""

from __future__ import annotations

from compat.admin.parameters import Parameters
from gateway.core.positions import MAX_START, Window

LENGTH = 10
MOST_SEARCH = 255
"""No name is longer, and the databases refuse patterns that are too long."""
MOST = 10_000
"""A call gets at most so many rows, whatever it asks for."""


def window_of(given: Parameters) -> Window:
    """Raises `InvalidValue` for what is no number. One that means nothing is taken for the nearest that does."""
    start_name, length_name = ("offset", "pagesize")
    if "start" in given.names or "length" in given.names:
        start_name, length_name = ("start", "length")
    start = given.number(start_name, 0)
    length = given.number(length_name, LENGTH)
    return Window(min(max(start, 0), MAX_START), min(length, MOST) if length > 0 else MOST)
