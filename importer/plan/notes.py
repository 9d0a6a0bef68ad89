"""What there is to say about one app, job or user, collected while it is mapped."""

from __future__ import annotations

from collections.abc import Mapping

from importer.plan.values import Finding, Level, Verdict
from importer.source.cells import UNTOLD, may_hold_secrets

MOST_SHOWN = 200
_WEIGHT = {Verdict.IDENTICAL: 0, Verdict.EQUIVALENT: 1, Verdict.CHANGED: 2}


def shown(value: object) -> str:
    """As it stands, but for the rest of a long text."""
    text = str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}… ({len(text)} characters)"


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


class Notes:
    """The findings about one thing, and what they mean for the verdict on it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.findings: list[Finding] = []
        self.reasons: list[str] = []
        self.verdict = Verdict.IDENTICAL

    def add(
        self,
        level: Level,
        field: str,
        value: object,
        became: str,
        why: str,
        verdict: Verdict = Verdict.IDENTICAL,
    ) -> None:
        self.findings.append(Finding(level, self.where, field, shown(value), became, why))
        if verdict is not Verdict.IDENTICAL:
            self.judge(verdict, f"{field}: {why}")

    def note(self, field: str, value: object, became: str, why: str) -> None:
        self.add(Level.NOTE, field, value, became, why)

    def repaired(
        self, field: str, value: object, became: str, why: str, verdict: Verdict = Verdict.CHANGED
    ) -> None:
        self.add(Level.REPAIRED, field, value, became, why, verdict)

    def dropped(
        self,
        field: str,
        value: object,
        why: str,
        verdict: Verdict = Verdict.IDENTICAL,
        became: str = "nothing",
    ) -> None:
        self.add(Level.DROPPED, field, value, became, why, verdict)

    def warn(
        self, field: str, value: object, became: str, why: str, verdict: Verdict = Verdict.IDENTICAL
    ) -> None:
        self.add(Level.WARNING, field, value, became, why, verdict)

    def judge(self, verdict: Verdict, reason: str) -> None:
        """The worst verdict counts; each reason for one is kept."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        if _WEIGHT[verdict] > _WEIGHT[self.verdict]:
            self.verdict = verdict

    def text(self, field: str, value: str | None, most: int) -> str:
        """Without NUL characters, which not every database keeps, and within a length."""
        kept = (value or "").replace("\0", "")
        if kept != (value or ""):
            self.repaired(field, value, "without NUL characters", "no NUL character is kept in a text")
        if len(kept) > most:
            self.repaired(field, kept, kept[: most - 1] + "…", f"there is room for {most} characters")
            kept = kept[: most - 1] + "…"
        return kept

    def extras(self, extra: Mapping[str, str], *, are_secret: bool = False) -> None:
        """`are_secret`: any of these columns may hold what lets somebody in, whatever it is called."""
        for column, value in sorted(extra.items()):
            if value:
                told = UNTOLD if are_secret or may_hold_secrets(column) else value
                self.dropped(column, told, "a column of a fork, which means nothing here")
