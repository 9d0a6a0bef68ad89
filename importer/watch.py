"""An old admin's database is looked at until it is known whether that is at work."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.clock import Clock
from gateway.core.errors import Refused
from importer.plan.alive import PATIENCE, Life, Opinion, Patience, opinion
from importer.source.source import Source
from importer.source.values import SignsOfLife

LOOK_EVERY_S = 1.0
LOOKING = "looking for signs of life"

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it, of how much."""
Tell = Callable[[str], None]
"""A line for whoever waits."""


async def watch(
    source: Source,
    clock: Clock,
    watch_ms: int,
    progress: Progress,
    patience: Patience = PATIENCE,
    tell: Tell = lambda _line: None,
) -> tuple[Opinion, SignsOfLife, int]:
    """Look until it is known. The opinion, the first look, and by how much the source's clock is ahead of ours."""
    before_ms = clock.now_ms()
    first = await source.signs()
    ahead_ms = first.database_now_ms - (before_ms + clock.now_ms()) // 2
    alone_since_ms = None if first.connections else first.database_now_ms
    if first.connections is None:
        tell(
            f"Looking for {patience.quiet_ms // 1000} s or more: without the right PROCESS it is not seen who is connected "
            "(--old-admin-is-stopped skips it)"
        )
    while True:
        await clock.sleep(LOOK_EVERY_S)
        now = await source.signs()
        looked_ms = now.database_now_ms - first.database_now_ms
        if now.connections:
            alone_since_ms = None
        elif alone_since_ms is None:
            alone_since_ms = now.database_now_ms
        found = opinion(first, now, patience, alone_since_ms)
        progress(LOOKING, min(looked_ms, watch_ms) // 1000, watch_ms // 1000)
        is_known = found.life in {Life.ALIVE, Life.STOPPED}
        is_known |= found.life is Life.CONNECTED and looked_ms >= patience.others_ms
        if is_known or looked_ms >= watch_ms:
            return found, first, ahead_ms


def demand_stopped(found: Opinion, name: str) -> None:
    """Raises `Refused` unless it is known to be stopped."""
    seen = "; ".join(found.reasons)
    if found.life is Life.ALIVE:
        raise Refused(
            f"the old admin of {name} is at work: {seen}. Stop it (every node of it), then cut over"
        )
    if found.life is Life.CONNECTED:
        raise Refused(
            f"somebody is connected to the database of {name}: {seen}. If that is the old admin, it is not stopped, but "
            "paused, waiting or idle: stop it (every node of it). If it is known to be something else, such as a "
            "monitoring tool or a proxy's pool: --old-admin-is-stopped"
        )
    if found.life is Life.UNKNOWN:
        raise Refused(
            f"it cannot be seen whether the old admin of {name} is stopped: {seen}. "
            "Look for longer (--watch 10m), or say it yourself: --old-admin-is-stopped"
        )
