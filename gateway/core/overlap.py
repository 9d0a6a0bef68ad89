"""How many runs of one job may be under way at once, over all executors, and what becomes of one more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_CONCURRENCY = 10_000
MAX_QUEUE = 100_000
QUEUE_LIMIT = 1000


class Overlap(StrEnum):
    """What becomes of a run that is due while as many runs of its job as may be are under way."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """`places`: how many runs of the job at once. `queue_limit`: how many more wait under `queue`; the next is skipped.

    Under `allow` the job has no limit of its own.
    """

    overlap: Overlap = Overlap.ALLOW
    places: int = 1
    queue_limit: int = QUEUE_LIMIT

    @property
    def limited(self) -> bool:
        return self.overlap is not Overlap.ALLOW


UNLIMITED = Concurrency()
