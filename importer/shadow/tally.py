"""What became of the slots of a job, counted; of each kind of disagreement only the first and the last few are kept."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

FIRST = 3
LAST = 3
LATE_MS = 5000


@dataclass(frozen=True, slots=True)
class Example:
    """One disagreement, or several slots in a row: `what` is its category, `log_ids` are rows of the old log."""

    what: str
    at_ms: int
    words: str
    log_ids: tuple[int, ...] = ()
    to_ms: int = 0
    count: int = 1


@dataclass(slots=True)
class Kept:
    """The first and the last of many."""

    count: int = 0
    first: list[Example] = field(default_factory=list)
    last: deque[Example] = field(default_factory=lambda: deque(maxlen=LAST))

    def add(self, example: Example) -> None:
        self.count += 1
        if len(self.first) < FIRST:
            self.first.append(example)
        else:
            self.last.append(example)

    def copy(self) -> Kept:
        return Kept(self.count, [*self.first], deque(self.last, LAST))


@dataclass(slots=True)
class Tally:
    """`lateness` counts by whole seconds. `others`: rows that are no slots', by kind."""

    agreed: int = 0
    duplicates: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    extra: Counter[str] = field(default_factory=Counter)
    unclear: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    lateness: Counter[int] = field(default_factory=Counter)
    drifts: int = 0
    drift_ms: int = 0
    examples: dict[str, Kept] = field(default_factory=dict)

    def agree(self, late_ms: int) -> None:
        self.agreed += 1
        self.lateness[max(late_ms, 0) // 1000] += 1

    def keep(self, example: Example) -> None:
        self.examples.setdefault(example.what, Kept()).add(example)

    def add(self, other: Tally) -> None:
        """The counts of another, not its examples."""
        self.agreed += other.agreed
        self.duplicates += other.duplicates
        self.drifts += other.drifts
        self.drift_ms += other.drift_ms
        for name in ("missing", "extra", "unclear", "others", "lateness"):
            getattr(self, name).update(getattr(other, name))

    @property
    def late(self) -> int:
        """Runs that the old admin started more than 5 s after their slot."""
        return sum(count for late_s, count in self.lateness.items() if late_s * 1000 > LATE_MS)

    def late_s(self, share: float) -> int | None:
        """The lateness that this share of the runs did not exceed, by the nearest rank."""
        if not self.lateness:
            return None
        left = max(1, -(-self.agreed * share // 1))
        for late_s in sorted(self.lateness):
            left -= self.lateness[late_s]
            if left <= 0:
                return late_s
        return max(self.lateness)

    @property
    def differs(self) -> bool:
        return bool(self.duplicates or self.missing.total() or self.extra.total())
