"""The pulse of the old admin over all jobs: in which seconds something was due, and in which it started something."""

from __future__ import annotations

from importer.shadow.values import PRE_READ_MS, SECOND_MS, Silence

# So many around one instant say that it was silent; a silence that is told has more: slots far apart can be lost one by one.
LEAST_SLOTS = 3
LEAST_OF_SILENCE = 5
MOST_SILENCES = 50
_NEAR_S = PRE_READ_MS // SECOND_MS


class Pulse:
    """Seconds are forgotten once they are judged: what is left of them are the silences."""

    def __init__(self) -> None:
        self._due: dict[int, int] = {}
        self._started: dict[int, int] = {}
        self._from_s: int | None = None
        self._until_s = 0
        self._slots = 0
        self._unknown: list[tuple[int, int]] = []
        self.silences: list[Silence] = []
        self.more = 0

    def due(self, at_ms: int) -> None:
        second = at_ms // SECOND_MS
        self._due[second] = self._due.get(second, 0) + 1

    def started(self, at_ms: int) -> None:
        second = at_ms // SECOND_MS
        self._started[second] = self._started.get(second, 0) + 1

    def ignore(self, from_ms: int, to_ms: int) -> None:
        """What was started in that stretch is not known: there is no silence in it."""
        self._unknown.append((from_ms // SECOND_MS, to_ms // SECOND_MS))

    def is_silent(self, at_ms: int) -> bool:
        """Whether several slots were due around that instant, and nothing was started."""
        first = at_ms // SECOND_MS
        around = range(first - _NEAR_S, first + _NEAR_S + 1)
        due = sum(self._due.get(second, 0) for second in around)
        return due >= LEAST_SLOTS and not any(second in self._started for second in range(first, around.stop))

    def settle(self, upto_ms: int) -> None:
        """Seconds before that instant are over; `is_silent` may be asked about those just before it until then."""
        upto_s = upto_ms // SECOND_MS - 2 * _NEAR_S
        for second in sorted(second for second in self._due if second < upto_s):
            slots = self._due.pop(second)
            is_unknown = any(first <= second <= last for first, last in self._unknown)
            if is_unknown or any(after in self._started for after in range(second, second + _NEAR_S + 1)):
                self._end()
            else:
                self._from_s = second if self._from_s is None else self._from_s
                self._until_s = second
                self._slots += slots
        self._unknown = [stretch for stretch in self._unknown if stretch[1] >= upto_s]
        for second in [second for second in self._started if second < upto_s]:
            del self._started[second]

    def current(self) -> list[Silence]:
        """All silences, the one that lasts included."""
        last = self._silence()
        return [*self.silences, last] if last else [*self.silences]

    def _end(self) -> None:
        silence = self._silence()
        if silence is not None and len(self.silences) < MOST_SILENCES:
            self.silences.append(silence)
        elif silence is not None:
            self.more += 1
        self._from_s, self._slots = None, 0

    def _silence(self) -> Silence | None:
        if self._from_s is None or self._slots < LEAST_OF_SILENCE:
            return None
        return Silence(self._from_s * SECOND_MS, (self._until_s + 1) * SECOND_MS, self._slots)
