"""At most so many starts in any second."""

from __future__ import annotations

import math
from collections import deque


class StartRate:
    """The instants of the last starts decide: no span of the window's length ever holds more of them than it may.

    A rate below one a second means one start in a longer window: 0.2 a second is one in 5 s. Whoever takes over
    does not know the last starts of the one before and waits a whole window first.
    """

    def __init__(self, per_second: float, now_ms: int) -> None:
        self.per_second = per_second
        self._most = max(1, math.floor(per_second))
        self._window_ms = math.ceil(self._most * 1000 / per_second)
        self._starts: deque[int] = deque([now_ms] * self._most, maxlen=self._most)

    def next_ms(self) -> int:
        """The first instant at which one more may start."""
        return self._starts[0] + self._window_ms if len(self._starts) == self._most else 0

    def note(self, now_ms: int) -> None:
        self._starts.append(now_ms)

    def changed(self, per_second: float, now_ms: int) -> StartRate:
        """The same starts under another rate."""
        if per_second == self.per_second:
            return self
        other = StartRate(per_second, now_ms)
        kept = [at for at in self._starts if at > now_ms - other._window_ms]
        other._starts = deque(kept[-other._most :], maxlen=other._most)
        return other
