"""Whether an old admin is at work, by what changes in its database while somebody looks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import Refused
from importer.plan.alive import ENOUGH_MS, PATIENCE, Life, Patience, opinion
from importer.source.values import SignsOfLife
from importer.watch import demand_stopped, watch
from tests.kit.operations import StillClock

NOW = 1_800_000_000_000
QUIET = SignsOfLife(
    database_now_ms=NOW,
    last_log_ms=NOW - 30_000,
    last_log_id=700,
    last_beat_ms=NOW - 20_000,
    last_fire_ms=NOW - 30_000,
    next_due_ms=NOW + 30_000,
)


def later(seconds: float, **changes: object) -> SignsOfLife:
    return replace(QUIET, database_now_ms=NOW + int(seconds * 1000), **changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"last_log_id": 702}, "2 rows were added to its log"),
        ({"next_due_ms": NOW + 90_000, "last_fire_ms": NOW + 30_000}, "next times"),
        ({"last_beat_ms": NOW + 1_000}, "executors register"),
        ({"last_checkin_ms": NOW + 1_000}, "checks in"),
    ],
)
def test_what_changes_shows_life_at_once(changes, word) -> None:
    found = opinion(QUIET, later(1, **changes))
    assert found.life is Life.ALIVE
    assert word in found.reasons[0]


def test_a_replica_may_be_behind() -> None:
    late = replace(QUIET, next_due_ms=NOW - 60_000, connections=0, read_only=True)
    found = opinion(late, replace(late, database_now_ms=NOW + ENOUGH_MS))
    assert found.life is Life.UNKNOWN
    assert "replica" in found.reasons[0]
    # What it shows has happened all the same.
    moved = replace(late, database_now_ms=NOW + 1_000, last_log_id=701)
    assert opinion(late, moved).life is Life.ALIVE


# Nobody sees who is connected; some other tests are in a hurry.
HURRY = Patience(quiet_ms=0)


@pytest.mark.parametrize(
    ("first", "seconds", "word"),
    [
        (replace(QUIET, next_due_ms=NOW + 3_000), 6, "a job is 3 s late"),
        (replace(QUIET, next_due_ms=NOW - 60_000), 6, "a job is 66 s late"),
        (replace(QUIET, connections=0), 6, "nobody else is connected"),
        (replace(QUIET, last_beat_ms=NOW - 120_000, next_due_ms=0), 35, "still listed"),
        (replace(QUIET, last_checkin_ms=NOW - 5_000, next_due_ms=0), 60, "not checked in"),
        # Quartz may keep one job waiting while others run.
        (replace(QUIET, last_checkin_ms=NOW - 5_000, next_due_ms=NOW - 60_000), 25, "a job is 85 s late"),
    ],
)
def test_what_would_have_changed_shows_that_it_is_stopped(first, seconds, word) -> None:
    found = opinion(first, after(first, seconds), HURRY)
    assert found.life is Life.STOPPED
    assert word in " ".join(found.reasons)
    assert opinion(first, after(first, seconds - 1), HURRY).life is Life.UNKNOWN


def after(first: SignsOfLife, seconds: float) -> SignsOfLife:
    return replace(first, database_now_ms=NOW + int(seconds * 1000))


@pytest.mark.parametrize("seconds", [1, 14, 22, 75, 600])
def test_whoever_is_connected_may_be_a_paused_admin(seconds) -> None:
    """A backup's lock, or a JVM that collects garbage: a job is late, and nothing changes."""
    late = replace(QUIET, next_due_ms=NOW - 14_000, connections=3, others=("xxl@10.0.0.5 (3)",))
    found = opinion(late, after(late, seconds))
    assert (found.life, found.reasons) == (Life.CONNECTED, ("xxl@10.0.0.5 (3)",))
    locked = opinion(late, replace(after(late, seconds), waits_for_lock=True))
    assert locked.reasons[1] == "one of them waits for a lock, as a backup takes one"


@pytest.mark.parametrize(
    "first",
    [
        replace(QUIET, next_due_ms=NOW - 14_000),
        replace(QUIET, last_beat_ms=NOW - 200_000, next_due_ms=0),
        replace(QUIET, last_checkin_ms=NOW - 5_000, next_due_ms=NOW - 60_000),
    ],
)
def test_where_nobody_sees_who_is_connected_a_pause_is_waited_for(first) -> None:
    assert PATIENCE.quiet_ms == 75_000
    for seconds in (6, 25, 60, 74):
        found = opinion(first, after(first, seconds))
        assert found.life is Life.UNKNOWN
    assert "nothing must change for 75 s" in found.reasons[-1]
    assert opinion(first, after(first, 75)).life is Life.STOPPED


def test_the_last_connection_must_be_gone_for_a_while() -> None:
    """One that is opened again and again is somebody's."""
    late = replace(QUIET, next_due_ms=NOW - 60_000, connections=0)
    now = after(late, 60)
    assert opinion(late, now, alone_since_ms=NOW + 55_000).life is Life.UNKNOWN
    assert opinion(late, now, alone_since_ms=NOW + 54_000).life is Life.STOPPED


def test_nothing_that_had_to_change_tells_nothing() -> None:
    """A job a day, no executors: an admin at work would look the same."""
    rare = replace(QUIET, next_due_ms=NOW + 3_600_000, last_beat_ms=0)
    found = opinion(rare, after(rare, 75))
    assert found.life is Life.UNKNOWN
    assert found.reasons == ("nothing has changed in its database", "its next job is due in 3525 s only")


class ScriptedSource:
    """An old admin that stops after some seconds, as its database shows it; its clock is ahead.

    `leaves_s`: when its connections go, where they are seen.
    """

    def __init__(
        self, clock: StillClock, first: SignsOfLife, lives_s: float = 0, leaves_s: float | None = None
    ) -> None:
        self.clock = clock
        self.first = first
        self.lives_s = lives_s
        self.leaves_s = leaves_s
        self.began_ms = clock.ms

    async def signs(self) -> SignsOfLife:
        passed_ms = self.clock.ms - self.began_ms
        rows = int(min(passed_ms, self.lives_s * 1000) // 2000)
        found = replace(
            self.first, database_now_ms=NOW + passed_ms, last_log_id=self.first.last_log_id + rows
        )
        if self.leaves_s is None:
            return found
        there = passed_ms < self.leaves_s * 1000
        return replace(found, connections=3 if there else 0, others=("xxl@10.0.0.5 (3)",) if there else ())


async def looked_at(first: SignsOfLife, lives_s: float = 0, leaves_s: float | None = None):
    clock, told, lines = StillClock(NOW - 4_000), [], []
    source = ScriptedSource(clock, first, lives_s, leaves_s)
    found, _, ahead_ms = await watch(
        source, clock, ENOUGH_MS, lambda *progress: told.append(progress), tell=lines.append
    )
    assert ahead_ms == 4_000
    assert len(told) == (clock.ms - source.began_ms) // 1000
    assert [line[:25] for line in lines] == (["Looking for 75 s or more:"] if leaves_s is None else [])
    return found, (clock.ms - source.began_ms) / 1000


async def test_it_is_looked_at_for_no_longer_than_needed() -> None:
    assert (await looked_at(QUIET, lives_s=60))[1] == 2
    stopped, seconds = await looked_at(QUIET)
    assert (stopped.life, seconds) == (Life.STOPPED, 75)
    unknown, seconds = await looked_at(replace(QUIET, next_due_ms=0, last_beat_ms=0))
    assert (unknown.life, seconds) == (Life.UNKNOWN, ENOUGH_MS / 1000)


async def test_connections_that_go_and_that_stay() -> None:
    gone, seconds = await looked_at(QUIET, leaves_s=0)
    assert (gone.life, seconds) == (Life.STOPPED, 6)
    going, seconds = await looked_at(QUIET, leaves_s=4)
    assert (going.life, seconds) == (Life.STOPPED, 10)
    staying, seconds = await looked_at(replace(QUIET, next_due_ms=NOW - 14_000), leaves_s=60)
    assert (staying.life, seconds) == (Life.CONNECTED, 15)
    with pytest.raises(
        Refused, match=r"connected .*: xxl@10\.0\.0\.5 \(3\)\. .*monitoring.*--old-admin-is-stopped"
    ):
        demand_stopped(staying, "old")


async def test_only_one_that_is_known_to_be_stopped_is_let_go_on() -> None:
    demand_stopped((await looked_at(QUIET))[0], "old")
    with pytest.raises(Refused, match=r"old is at work: 1 rows were added to its log\. Stop it"):
        demand_stopped((await looked_at(QUIET, lives_s=60))[0], "old")
    with pytest.raises(Refused, match=r"cannot be seen .* --old-admin-is-stopped"):
        demand_stopped((await looked_at(replace(QUIET, next_due_ms=0, last_beat_ms=0)))[0], "old")
