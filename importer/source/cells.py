"""Values of single columns: what the driver gives, as text, number or time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from importer.source.text import repaired
from importer.source.values import Oddity

Cell = object

UNTOLD = "***"
_SECRET = re.compile("pass|pwd|salt|secret|token|credential|(?<!job)key", re.IGNORECASE)


def may_hold_secrets(column: str) -> bool:
    """Forks name theirs as they like."""
    return _SECRET.search(column) is not None


class Cells:
    """Collects what could not be read as it stands. `is_latin1`: texts went through a latin1 connection."""

    def __init__(self, *, is_latin1: bool = False) -> None:
        self.is_latin1 = is_latin1
        self.oddities: list[Oddity] = []

    def _odd(self, where: str, column: str, value: object, taken: str) -> None:
        told = UNTOLD if may_hold_secrets(column) else str(value)[:200]
        self.oddities.append(Oddity(where, column, told, taken))

    def text(self, where: str, column: str, value: Cell) -> str | None:
        if value is None:
            return None
        if isinstance(value, bytes):
            return self._bytes(where, column, value)
        if not isinstance(value, str):
            return str(value)
        if self.is_latin1 and not value.isascii():
            meant = repaired(value)
            if meant is None:
                self._odd(where, column, value, "the text as it stands: it is no UTF-8 taken for latin1")
                return value
            return meant
        return value

    def _bytes(self, where: str, column: str, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            self._odd(where, column, value, "each byte as a letter of latin1")
            return value.decode("latin-1")

    def number(self, where: str, column: str, value: Cell) -> int | None:
        if value is None or isinstance(value, int):
            return None if value is None else int(value)
        if isinstance(value, bytes):  # BIT
            if len(value) <= 8 and not value.isdigit():
                return int.from_bytes(value, "big")
            value = value.decode("latin-1")
        if isinstance(value, Decimal | float) and value == int(value):
            return int(value)
        try:
            return int(str(value).strip())
        except ValueError:
            self._odd(where, column, value, "nothing")
            return None

    def moment(self, where: str, column: str, value: Cell, *, is_instant: bool = False) -> datetime | None:
        """Wall-clock time, or an instant in UTC. The driver gives dates that no calendar has as text."""
        if value is None:
            return None
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 – the old admin's wall clock
        if isinstance(value, str | bytes):
            spelled = value.decode("latin-1") if isinstance(value, bytes) else value
            try:
                value = datetime.fromisoformat(spelled.strip())
            except ValueError:
                value = None
            else:
                value = value.replace(tzinfo=None)
            if value is None:
                self._odd(where, column, spelled, "nothing")
                return None
        if not isinstance(value, datetime):
            self._odd(where, column, value, "nothing")
            return None
        return value.replace(tzinfo=UTC) if is_instant else value

    def others(self, where: str, cells: Mapping[str, Cell], *, are_secret: bool = False) -> dict[str, str]:
        """What other columns say, by their names."""
        found, before = {}, len(self.oddities)
        for column, value in cells.items():
            text = self.text(where, column, value)
            if text is not None:
                found[column] = text
        if are_secret:
            self.oddities[before:] = [replace(one, value=UNTOLD) for one in self.oddities[before:]]
        return found
