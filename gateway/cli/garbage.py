"""Commands that make a million values which live to their end: nobody need look for garbage among these, again and again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keeping() -> Iterator[Callable[[], None]]:
    """No garbage is looked for until what it gives is called, and then among what was made since."""
    was_enabled = gc.isenabled()
    gc.disable()

    def made() -> None:
        gc.freeze()
        if was_enabled:
            gc.enable()

    try:
        yield made
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
