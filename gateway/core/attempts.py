"""How often somebody may be wrong: failures of a name or a caller, each of which makes the next wait longer."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass

FREE = 5
"""Failures that cost nothing: people mistype."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 900.0
FORGET_S = 3600.0
MOST_KEPT = 10_000


@dataclass(slots=True)
class _Record:
    failures: int
    last: float
    before: float
    """The one before `last`."""


class Attempts:
    """Kept in memory, by any key, bounded: the oldest records are forgotten first. Instants are monotonic seconds."""

    def __init__(self, free: int = FREE) -> None:
        self._free = free
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """How long until the next attempt; 0 if it may be made."""
        record = self._records.get(key)
        if record is None or now - record.last >= FORGET_S:
            return 0.0
        over = record.failures - self._free
        if over < 0:
            return 0.0
        wait_s = min(FIRST_WAIT_S * float(1 << min(over, 20)), LONGEST_WAIT_S)
        return max(record.last + wait_s - now, 0.0)

    def failed(self, key: str, now: float) -> None:
        record = self._records.pop(key, None)
        if record is None or now - record.last >= FORGET_S:
            record = _Record(0, now, now)
        record.failures += 1
        record.before, record.last = record.last, now
        self._records[key] = record
        while len(self._records) > MOST_KEPT:
            self._records.popitem(last=False)

    def forgive(self, key: str, at: float) -> None:
        """Take back the failure of that instant: an attempt counts as one from its beginning, so that many at once
        count as many. The wait that there was goes on as if it had not been, unless somebody has failed since.
        """
        record = self._records.get(key)
        if record is not None:
            record.failures -= 1
            if record.last == at:
                record.last = record.before

    def succeeded(self, key: str) -> None:
        self._records.pop(key, None)


class Known:
    """Secrets that were right before, as digests under a key that never leaves the process.

    Whoever knows one is let in also while others are made to wait, so that nobody locks the owner out by being wrong.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def add(self, name: str, secret: str) -> None:
        self._digests[self._digest(name, secret)] = None
        while len(self._digests) > MOST_KEPT:
            self._digests.popitem(last=False)

    def has(self, name: str, secret: str) -> bool:
        return self._digest(name, secret) in self._digests

    def discard(self, name: str, secret: str) -> None:
        self._digests.pop(self._digest(name, secret), None)

    def _digest(self, name: str, secret: str) -> bytes:
        text = f"{len(name)} {name} {secret}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).digest()
