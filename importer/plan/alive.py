"""Whether an old admin is at work, from two looks at its database some seconds apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from importer.plan.resume import PRE_READ_MS
from importer.source.values import SignsOfLife

# One pre-read, and a pass of its scheduler that took its time.
SHORTEST_LOOK_MS = PRE_READ_MS + 1_000
# A job that is due is taken within a second; a busy admin is later, but then other rows change.
LATE_MS = 3_000
# Executors beat every 30 s, an admin removes those that have not for 90 s, and looks every 30 s.
BEAT_MS, STALE_MS = 35_000, 150_000
# Quartz checks in every 20 s at most.
CHECKIN_MS, SURELY_CHECKED_IN_MS = 25_000, 60_000
ENOUGH_MS = 75_000
_REPLICA = "this server takes no writes, so it may be a replica that shows them late: give the one that the old admin uses"


class Life(StrEnum):
    ALIVE = "alive"
    STOPPED = "stopped"
    # Nothing has changed, and nothing had to.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Opinion:
    """`reasons` are what was seen, in words that follow "because"."""

    life: Life
    reasons: tuple[str, ...]


def opinion(first: SignsOfLife, now: SignsOfLife) -> Opinion:
    """From the looks at the beginning and now; their distance is that of the database's clock."""
    moved = tuple(_moved(first, now))
    if moved:
        return Opinion(Life.ALIVE, moved)
    looked_ms = now.database_now_ms - first.database_now_ms
    if looked_ms < SHORTEST_LOOK_MS:
        return Opinion(Life.UNKNOWN, ("it was not looked at for long enough",))
    if now.read_only:
        return Opinion(Life.UNKNOWN, (_REPLICA,))
    still = tuple(_still(now, looked_ms))
    if still:
        return Opinion(Life.STOPPED, still)
    return Opinion(Life.UNKNOWN, tuple(_waiting(now)))


def _moved(first: SignsOfLife, now: SignsOfLife) -> list[str]:
    found = []
    if now.last_log_id > first.last_log_id:
        found.append(f"{now.last_log_id - first.last_log_id} rows were added to its log")
    if now.last_fire_ms != first.last_fire_ms or now.next_due_ms != first.next_due_ms:
        found.append("its jobs were given their next times")
    if now.last_beat_ms > first.last_beat_ms:
        found.append("executors register there")
    if now.last_checkin_ms > first.last_checkin_ms:
        found.append("its scheduler checks in")
    return found


def _still(now: SignsOfLife, looked_ms: int) -> list[str]:
    """What an admin at work would have changed by now."""
    found: list[str] = []
    checkin_age_ms = now.database_now_ms - now.last_checkin_ms
    if looked_ms < CHECKIN_MS and checkin_age_ms < SURELY_CHECKED_IN_MS:
        return found
    late_ms = now.database_now_ms - now.next_due_ms
    if now.next_due_ms and late_ms >= LATE_MS:
        found.append(f"a job is {late_ms // 1000} s late and nothing has changed for {looked_ms // 1000} s")
    beat_age_ms = now.database_now_ms - now.last_beat_ms
    if looked_ms >= BEAT_MS and now.last_beat_ms and beat_age_ms >= STALE_MS:
        found.append(f"executors that last registered {beat_age_ms // 1000} s ago are still listed")
    if now.connections == 0:
        found.append("nobody else is connected to its database")
    if looked_ms >= SURELY_CHECKED_IN_MS and now.last_checkin_ms:
        found.append(f"its scheduler has not checked in for {looked_ms // 1000} s")
    return found


def _waiting(now: SignsOfLife) -> list[str]:
    found = ["nothing has changed in its database"]
    ahead_ms = now.next_due_ms - now.database_now_ms
    if ahead_ms > 0:
        found.append(f"its next job is due in {ahead_ms // 1000} s only")
    elif not now.next_due_ms:
        found.append("no job is enabled there")
    if now.connections:
        found.append(f"{now.connections} others are connected to its database")
    return found
