"""What a report is made of: the plan, what it was made from, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from importer.plan.values import Plan
from importer.source.values import Installation


@dataclass(frozen=True, slots=True)
class Copied:
    """Rows that follow the plan in batches: the log, the daily report. `why`: what became of those not taken over."""

    read: int = 0
    taken: int = 0
    why: str = "not asked for"


@dataclass(frozen=True, slots=True)
class Report:
    """`written`: whether the plan was carried out, or only made. `source` and `target` are names without passwords.

    No text that holds one of `secrets` leaves a report.
    """

    made_ms: int
    source: str
    target: str
    installation: Installation
    plan: Plan
    written: bool = False
    logs: Copied = Copied()
    days: Copied = Copied()
    secrets: frozenset[str] = field(repr=False, default=frozenset())
