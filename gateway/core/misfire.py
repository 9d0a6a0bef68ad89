"""How much of what was missed `fire_all` makes up for: slots of a window, and so many of them at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_WINDOW_S = 30 * 86_400
MAX_MOST = 1000


@dataclass(frozen=True, slots=True)
class MisfireLimits:
    """The newest `most` of the missed slots run that are at most `window_s` old; the older ones are skipped."""

    window_s: int = 86_400
    most: int = 100

    def spared(self, missed: Sequence[int], now_ms: int, *, further: int = 0) -> int:
        """How many of these slots, in order, run: the last ones. `further`: missed ones that will follow them."""
        oldest_ms = now_ms - self.window_s * 1000
        within = sum(slot >= oldest_ms for slot in missed)
        return max(min(within, self.most - further), 0)

    @property
    def words(self) -> str:
        return f", at most {self.most} slots of the last {self.window_s} s"


DAY_OF_100 = MisfireLimits()
