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
ENOUGH_MS = 120_000
_REPLICA = "this server takes no writes, so it may be a replica that shows them late: give the one that the old admin uses"


class Life(StrEnum):
    ALIVE = "alive"
    STOPPED = "stopped"
    # Nothing has changed, but somebody is connected: it may be paused, or wait for a lock.
    CONNECTED = "connected"
    # Nothing has changed, and nothing had to.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is still must have been still.

    `quiet_ms`: where it cannot be seen who is connected; a long pause of a JVM, and a backup that locks all tables, are
    shorter. `others_ms`: until others that are connected are taken for what stays. `alone_ms`: since the last of them left.
    """

    quiet_ms: int = 75_000
    others_ms: int = 15_000
    alone_ms: int = SHORTEST_LOOK_MS


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Opinion:
    """`reasons` are what was seen, in words that follow "because"."""

    life: Life
    reasons: tuple[str, ...]


def opinion(
    first: SignsOfLife, now: SignsOfLife, patience: Patience = PATIENCE, alone_since_ms: int | None = None
) -> Opinion:
    """From the looks at the beginning and now; their distance is that of the database's clock.

    `alone_since_ms`: the first look, of those up to now, from which on no other connection was seen.
    """
    moved = tuple(_moved(first, now))
    if moved:
        return Opinion(Life.ALIVE, moved)
    if now.connections:
        return Opinion(Life.CONNECTED, tuple(_connected(now)))
    looked_ms = now.database_now_ms - first.database_now_ms
    if looked_ms < SHORTEST_LOOK_MS:
        return Opinion(Life.UNKNOWN, ("it was not looked at for long enough",))
    if now.read_only:
        return Opinion(Life.UNKNOWN, (_REPLICA,))
    still = tuple(_still(now, looked_ms))
    if now.connections == 0:
        since_ms = first.database_now_ms if alone_since_ms is None else alone_since_ms
        if now.database_now_ms - since_ms < patience.alone_ms:
            return Opinion(Life.UNKNOWN, ("others were connected to its database a moment ago",))
    elif still and looked_ms < patience.quiet_ms:
        return Opinion(Life.UNKNOWN, (*still, _unseen(patience)))
    if still:
        return Opinion(Life.STOPPED, still)
    return Opinion(Life.UNKNOWN, tuple(_waiting(now)))


def _connected(now: SignsOfLife) -> list[str]:
    found = [", ".join(now.others) if now.others else f"{now.connections} connections"]
    if now.waits_for_lock:
        found.append("one of them waits for a lock, as a backup takes one")
    return found


def _unseen(patience: Patience) -> str:
    return (
        f"it cannot be seen who else is connected, so nothing must change for {patience.quiet_ms // 1000} s: an admin "
        "that is paused, or waits for a backup, looks stopped for a while"
    )


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
    return found
