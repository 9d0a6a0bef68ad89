"""On whose behalf something is done: a name that goes from where a call is authenticated to where a change is written.

It travels with the task, as ids do for logs, so that no signature in between has to carry it. What nobody asked for is the
system's own.
"""

from __future__ import annotations

from contextvars import ContextVar

SYSTEM = "system"
_author: ContextVar[str] = ContextVar("author", default=SYSTEM)


def author() -> str:
    """Whose doing this is: the name of a token, or `system`."""
    return _author.get()


class acting_for:  # noqa: N801 - a context manager, which a generator would make three times as dear
    """All that the block does is `name`'s doing."""

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = _author.set(self._name)

    def __exit__(self, *_error: object) -> None:
        _author.reset(self._before)
