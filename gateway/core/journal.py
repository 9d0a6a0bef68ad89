"""Events on their way to the database: a bounded queue, with a bounded rate for each source and reason.

Noting one costs no write, so that stages may do it anywhere. What is too much is counted, never silently dropped: the next
event of its kind says how many it stands for, and a full queue leaves one that says how many were lost.
"""

from __future__ import annotations

from collections import deque

from gateway.core.events import Event, Level, Source
from gateway.core.model import Counters

MOST_WAITING = 2000
MOST_KINDS = 10_000
A_MINUTE = 5
MINUTE_MS = 60_000
Kind = tuple[str, str, str]


class Journal:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._waiting: deque[Event] = deque()
        self._seen: dict[Kind, tuple[int, int, int]] = {}  # since when, how many, how many of them held back
        self._lost = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def note(
        self,
        at_ms: int,
        level: Level,
        source_type: Source,
        source_id: object,
        reason: str,
        text: str,
        *,
        name: str = "",
    ) -> None:
        """Keep it until it is written; at most five a minute of one source and reason."""
        kind = (source_type.value, str(source_id), reason)
        since, count, held_back = self._seen.get(kind, (at_ms, 0, 0))
        if at_ms - since >= MINUTE_MS:
            since, count = at_ms, 0
        if count >= A_MINUTE:
            self._seen[kind] = since, count, held_back + 1
            self._counters.add("events_held_back")
            return
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            self._counters.add("events_lost")
            return
        if held_back:
            text = f"{text} (and {held_back} more like it since the last one)"
        if len(self._seen) >= MOST_KINDS:
            self._seen.clear()
        self._seen[kind] = since, count + 1, 0
        self._waiting.append(Event(at_ms, level, *kind, text, source_name=name))

    def take(self, most: int, now_ms: int) -> list[Event]:
        """The oldest of those that wait, to be written."""
        taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if self._lost and not self._waiting:
            text = f"{self._lost} events were lost: more came than could be written"
            taken.append(Event(now_ms, Level.WARN, Source.SYSTEM, "events", "lost", text))
            self._lost = 0
        return taken

    def put_back(self, events: list[Event]) -> None:
        """They could not be written: the newest of them wait again, as far as there is room."""
        room = max(MOST_WAITING - len(self._waiting), 0)
        kept = events[-room:] if room else []
        self._lost += len(events) - len(kept)
        self._counters.add("events_lost", len(events) - len(kept))
        self._waiting.extendleft(reversed(kept))
