"""Tests only: a death at a named point."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path


class CrashPoint:
    """Tests only: the process kills itself when it first reaches a named point of the flow.

    XXLJOB_GATEWAY_CRASH_POINT names the point, XXLJOB_GATEWAY_CRASH_MARKER a file that is made at that moment and
    keeps it from happening again.
    """

    def __init__(self, point: str, marker: Path) -> None:
        self._point = point
        self._marker = marker

    def reached(self, point: str, ids: Collection[int]) -> None:
        if point == self._point and ids and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
