"""The way back: what a cutover has enabled is disabled again, and the old admin is told where to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.clock import Clock
from gateway.core.confine import schedule_of
from gateway.store.cutovers import CutoverStore, ImportedSource

CLAIMED_S = 0.5
"""What was claimed before a job was disabled has been sent by then, or is not any more."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How many jobs were disabled, and how many somebody had disabled before; their next slots, by their ids in the source."""

    disabled: int
    others: int
    since_ms: int
    following: Mapping[str, int]


async def take_back(store: CutoverStore, clock: Clock, imported: ImportedSource) -> TakenBack:
    """Disable what a cutover has enabled. No slot after `since_ms` is sent from here."""
    live = sorted((one for one in await store.items(imported.id) if one.live), key=lambda one: one.new_id)
    jobs = await store.load([one.new_id for one in live])
    done = await store.disable(imported, live)
    await store.mark(imported, 0)
    await clock.sleep(CLAIMED_S)
    since_ms = clock.now_ms()
    following: dict[str, int] = {}
    for one in live:
        job = jobs.get(one.new_id)
        slot_ms = schedule_of(job).next_after(since_ms) if job is not None and job.enabled else None
        if slot_ms is not None:
            following[one.old_key] = slot_ms
    return TakenBack(len(done), len(live) - len(done), since_ms, following)


def is_told_next_times(imported: ImportedSource) -> bool:
    """Whether the old admin keeps next times in a table of its own; before 2.1 Quartz does, and skips what is past."""
    major, _, rest = imported.release.partition(".")
    return not (major == "1" or (major == "2" and rest.startswith("0")))


def next_times_sql(taken: TakenBack) -> str:
    """For the old admin's database: else it takes all since it was stopped for missed, and fires once what is to be made up for."""
    lines = ["-- Before the old admin is started. Nothing else of its database has to change."]
    lines += [
        f"UPDATE xxl_job_info SET trigger_next_time = {slot_ms} WHERE id = {int(old_id)} AND trigger_status = 1;"  # noqa: S608 – numbers
        for old_id, slot_ms in sorted(taken.following.items(), key=lambda one: int(one[0]))
    ]
    return "\n".join([*lines, ""])
