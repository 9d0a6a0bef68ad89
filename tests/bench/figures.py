"""What a scenario hands back, what was asked for, and the table of it all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEADINGS = (
    "figure",
    "asked at least",
    "aim",
    "reached",
    "CPU cores gateway / database / load",
    "notes",
)


@dataclass(frozen=True)
class Target:
    """What a figure must reach and what it should; each a value per component, `text` as a person reads it."""

    asked: tuple[float, ...]
    aim: tuple[float, ...]
    asked_text: str
    aim_text: str
    at_most: bool = False

    def verdict(self, values: Sequence[float]) -> str:
        if self._holds(values, self.aim):
            return "aim reached"
        return "asked reached, aim not" if self._holds(values, self.asked) else "NOT REACHED"

    def _holds(self, values: Sequence[float], limits: Sequence[float]) -> bool:
        pairs = zip(values, limits, strict=True)
        return all(value <= limit if self.at_most else value >= limit for value, limit in pairs)


NO_TARGET = Target((), (), "–", "–")
TARGETS = {
    "steady": Target((8000,), (15000,), "8,000", "15,000"),
    "steady_results": Target((5000,), (8000,), "5,000", "8,000"),
    "lateness": Target((3, 20), (1, 5), "3 / 20 ms", "1 / 5 ms", at_most=True),
    "burst_5000": Target((0.6,), (0.25,), "none missed, last < 0.6 s", "< 0.25 s", at_most=True),
    "burst_20000": Target((3,), (1.5,), "none missed, last < 3 s", "< 1.5 s", at_most=True),
    "results_1": Target((8000,), (12000,), "8,000", "12,000"),
    "results_20": Target((40000,), (60000,), "40,000", "60,000"),
    "triggers": Target((3000,), (5000,), "3,000", "5,000"),
    "batches": Target((20000,), (20000,), "–", "20,000"),
    "statements": Target((0.05, 20), (0.03, 10), "0.05; 20", "0.03; 10", at_most=True),
    "cpu": Target((0.2,), (0.1,), "0.2", "0.1", at_most=True),
    "crash": Target((0, 0), (0, 0), "none missed, none twice", "the same", at_most=True),
    "failover": Target((3.0,), (1.5,), "none missed, < 3 s silent", "< 1.5 s", at_most=True),
    "idle_job": Target((1000,), (1000,), "< 1 kB", "the same", at_most=True),
    "flat": Target((2.0,), (1.25,), "at most 2", "1.25", at_most=True),
    "unchanged": Target((1.5,), (1.2,), "at most 1.5", "1.2", at_most=True),
    "memory": Target((120,), (80,), "120 MB", "80 MB", at_most=True),
    "first_answer": Target((1.0,), (0.6,), "1.0 s", "0.6 s", at_most=True),
}


@dataclass(frozen=True)
class Cores:
    """CPU seconds per second. `database` is None where it runs inside the gateway (SQLite)."""

    gateway: float
    database: float | None
    load: float

    def __str__(self) -> str:
        database = "in gateway" if self.database is None else f"{self.database:.2f}"
        return f"{self.gateway:.2f} / {database} / {self.load:.2f}"


@dataclass
class Figure:
    """One line of the table. `spoiled` says why `values` do not count although they are good."""

    name: str
    target: str | None
    values: tuple[float, ...]
    reached: str
    cores: Cores | None = None
    spoiled: str = ""
    notes: list[str] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> Target:
        return NO_TARGET if self.target is None else TARGETS[self.target]

    @property
    def verdict(self) -> str:
        if self.spoiled:
            return f"NOT REACHED: {self.spoiled}"
        return self.limits.verdict(self.values) if self.target is not None else ""

    def cells(self) -> list[str]:
        limits = self.limits
        notes = "; ".join(filter(None, [self.verdict, *self.notes]))
        cores = "" if self.cores is None else str(self.cores)
        return [self.name, limits.asked_text, limits.aim_text, self.reached, cores, notes]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "asked": self.limits.asked,
            "aim": self.limits.aim,
            "verdict": self.verdict,
        }


def table(figures: Iterable[Figure]) -> str:
    """In Markdown, padded so that it can be read as it is."""
    rows = [list(HEADINGS), *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    lines = [
        "| "
        + " | ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|---|")
    return "\n".join(lines)


def failed(name: str, error: Exception) -> Figure:
    """The line of a scenario that broke."""
    lines = f"{type(error).__name__}: {error}".splitlines() or [type(error).__name__]
    return Figure(
        name, None, (), "–", spoiled=f"the scenario broke: {lines[0][:200]}", detail={"error": lines}
    )
