"""What follows the end of an attempt, where its row says more than its job does."""

from __future__ import annotations

from enum import IntEnum


class Sequel(IntEnum):
    """Stored as these numbers. An end that was prepared under one of them is not written under another.

    `AGAIN`: it was taken along by a kill that made room for another run, so it runs again, and that is no retry of its
    job's policy. `NOTHING`: an attempt before it has succeeded after all (`core.late`).
    """

    BY_JOB = 0
    AGAIN = 1
    NOTHING = 2


HAS_SEQUEL = frozenset({Sequel.BY_JOB, Sequel.AGAIN})
