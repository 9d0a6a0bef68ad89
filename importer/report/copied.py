"""What became of the rows of the log and of the daily report, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Protocol

from importer.report.text import count, ranges
from importer.report.values import Copied

_MOST_NAMED = 20
_BEGUN_AGAIN = (
    "its newest rows were removed there after {}, and ids have begun again: taken from that beginning on, with other ids; "
    "what was removed before it had come is gone, also from the counts of these days"
)


class Logs(Protocol):
    """`importer.history.LogsImported`, as far as it is told."""

    @property
    def runs(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def renamed(self) -> int: ...
    @property
    def unknown(self) -> int: ...
    @property
    def unknown_jobs(self) -> Collection[int]: ...
    @property
    def timeless(self) -> int: ...
    @property
    def old(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def strays(self) -> int: ...
    @property
    def unsearched(self) -> bool: ...
    @property
    def emptied(self) -> datetime | None: ...
    @property
    def shortened(self) -> bool: ...


class Days(Protocol):
    @property
    def days(self) -> int: ...
    @property
    def covered(self) -> int: ...
    @property
    def old(self) -> int: ...
    @property
    def begun(self) -> date | None: ...


def copied_logs(found: Logs, log_days: int, unread: Mapping[str, int]) -> Copied:
    """`unread`: how many values of each column could not be read."""
    values = [(number, f"{number:,} values of {column} cannot be read") for column, number in unread.items()]
    jobs = ranges(found.unknown_jobs, _MOST_NAMED)
    parts = (
        (found.unknown, f"{found.unknown:,} of jobs that are not here" + (f" ({jobs})" if jobs else "")),
        (found.timeless, f"{found.timeless:,} without any time"),
        (
            found.lost,
            f"{found.lost:,} that had no result yet are lost, until their executors report one here",
        ),
        (found.renamed, f"{found.renamed:,} have another id"),
        (found.old, f"{found.old:,} are so old that the retention of this gateway removes them soon"),
        (
            found.left,
            f"up to {found.left:,} of the newest are not settled yet: the same command takes them later",
        ),
        *values,
        (
            found.strays,
            f"{found.strays:,} of these days with ids far below {found.first:,}, that of the others: not taken over",
        ),
        (
            found.unsearched,
            f"without an index on trigger_time, none with ids below {found.first:,} were looked for",
        ),
        (found.emptied is not None, _BEGUN_AGAIN.format(found.emptied)),
        (
            found.shortened,
            "its last id is smaller than it was: if ids have begun again there, some are missing",
        ),
        (1, f"before the last {count(log_days, 'day')}: not asked for"),
    )
    told = "; ".join(words for number, words in parts if number)
    return Copied(found.runs + found.unknown + found.timeless, found.runs, told)


def copied_days(found: Days, unread: Mapping[str, int]) -> Copied:
    dayless = unread.get("trigger_day", 0)
    parts = (
        (dayless, f"{dayless:,} without any day"),
        (found.covered, f"{count(found.covered, 'day')} counted from the imported runs instead"),
        (found.begun is not None, f"of {found.begun}, on which its log begins, what that has no rows of"),
        (found.old, f"{count(found.old, 'day')} older than any that are kept here"),
    )
    told = "; ".join(words for number, words in parts if number)
    return Copied(found.days + found.covered + found.old + dayless, found.days, told)
