"""On whose behalf something is done: a name that goes from where a call is authenticated to where a change is written.

It travels with the task, as ids do for logs, so that no signature in between has to carry it. What nobody asked for is the
system's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SYSTEM = "system"
_author: ContextVar[str] = ContextVar("author", default=SYSTEM)


def author() -> str:
    """Whose doing this is: the name of a token, or `system`."""
    return _author.get()


@contextmanager
def acting_for(name: str) -> Iterator[None]:
    """All that the block does is `name`'s doing."""
    before = _author.set(name)
    try:
        yield
    finally:
        _author.reset(before)
