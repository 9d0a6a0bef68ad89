"""How far something is: a bar on a terminal, lines now and then elsewhere. On standard error."""

from __future__ import annotations

import sys
from typing import Any

import click

_STEP = 10  # a line every so many percent


class Progress:
    """Called with what is being done, how much of it is done and how much there is, in the units of whoever calls."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._what = ""
        self._bar: Any = None
        self._done = 0
        self._told = -1

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.end()
            self._what = what
        if self._is_terminal:
            self._draw(what, done, total)
        else:
            self._tell(what, done, total)

    def end(self) -> bool:
        """What comes next begins on a line of its own; whether that needed a line's end."""
        is_open = self._bar is not None
        if is_open:
            self._bar.render_finish()
        self._what, self._bar, self._done, self._told = "", None, 0, -1
        return is_open

    def _draw(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = click.progressbar(length=max(total, 1), label=f"{what:<24}", file=sys.stderr)
            self._bar.render_progress()
        self._bar.length = max(total, 1)
        self._bar.update(done - self._done)
        self._done = done

    def _tell(self, what: str, done: int, total: int) -> None:
        percent = done * 100 // total if total else 100
        if percent // _STEP > self._told:
            self._told = percent // _STEP
            click.echo(f"{what}: {done:,} of {total:,}", err=True)
