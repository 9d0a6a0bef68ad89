"""The way back: what a cutover has enabled is disabled again, and the old admin is told where to go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.clock import Clock
from gateway.core.confine import schedule_of
from gateway.store.cutovers import CutoverStore, ImportedSource
from gateway.store.imports import Item

CLAIMED_MS = 500
"""What was claimed before a job was disabled has been sent by then, or is not any more."""
TABLE = "xxl_job_info"
BEFOREHAND = (
    "-- Written before the jobs were disabled, and not again after that: something stopped the command. Give it again\n"
    "-- before the old admin is started; it writes this file anew."
)


@dataclass(frozen=True, slots=True)
class NextTime:
    """The slot with which the old admin goes on with a job. `only_later`: unless it has gone further itself since."""

    old_id: int
    slot_ms: int
    only_later: bool


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How many jobs were disabled, and how many somebody had disabled before."""

    disabled: int
    others: int
    since_ms: int
    following: tuple[NextTime, ...]


async def take_back(store: CutoverStore, clock: Clock, imported: ImportedSource) -> TakenBack:
    """Disable what a cutover has enabled. No slot after `since_ms` is sent from here."""
    live = await live_items(store, imported)
    done = await store.disable(imported, live)
    await store.mark(imported, 0)
    await clock.sleep(CLAIMED_MS / 1000)
    following = await next_times(store, imported, now=done)
    return TakenBack(len(done), len(live) - len(done), clock.now_ms(), following)


async def live_items(store: CutoverStore, imported: ImportedSource) -> list[Item]:
    items = await store.items(imported.id)
    return sorted((one for one in items if one.live), key=lambda one: one.new_id)


async def next_times(
    store: CutoverStore, imported: ImportedSource, *, now: Collection[int] = ()
) -> tuple[NextTime, ...]:
    """Of all jobs that were given back, in this call (`now`) or in an earlier one, after which the old admin may have run."""
    items = await store.items(imported.id)
    given_back = await store.given_back(items)
    fresh = frozenset(now)
    since = {one: at_ms + CLAIMED_MS for one, at_ms in given_back.items()}
    return await _following(store, imported, [one for one in items if one.new_id in since], since, fresh)


async def next_times_beforehand(
    store: CutoverStore, imported: ImportedSource, now_ms: int
) -> tuple[NextTime, ...]:
    """As if the jobs were disabled now."""
    live = await live_items(store, imported)
    since = dict.fromkeys([one.new_id for one in live], now_ms)
    return await _following(store, imported, live, since, frozenset())


async def _following(
    store: CutoverStore,
    imported: ImportedSource,
    items: Sequence[Item],
    since: Mapping[int, int],
    fresh: frozenset[int],
) -> tuple[NextTime, ...]:
    jobs = await store.load(imported.id, items)
    found: list[NextTime] = []
    for one in items:
        job = jobs.get(one.new_id)
        slot_ms = None if job is None else schedule_of(job).next_after(since[one.new_id])
        if slot_ms is not None:
            found.append(NextTime(int(one.old_key), slot_ms, one.new_id not in fresh))
    return tuple(sorted(found, key=lambda one: one.old_id))


def is_told_next_times(imported: ImportedSource) -> bool:
    """Whether the old admin keeps next times in a table of its own; before 2.1 Quartz does, and skips what is past."""
    major, _, rest = imported.release.partition(".")
    return not (major == "1" or (major == "2" and rest.startswith("0")))


def next_times_sql(following: Sequence[NextTime], table: str = TABLE, *, beforehand: bool = False) -> str:
    """For the old admin's database: else it takes all since it was stopped for missed, and fires once what is to be made up for."""
    name = "`" + table.replace("`", "``") + "`"
    lines = ["-- Before the old admin is started. Nothing else of its database has to change."]
    lines += [BEFOREHAND] * beforehand
    lines += [
        f"UPDATE {name} SET trigger_next_time = {one.slot_ms} WHERE id = {one.old_id} AND trigger_status = 1"  # noqa: S608 – numbers
        f"{f' AND trigger_next_time < {one.slot_ms}' if one.only_later else ''};"
        for one in following
    ]
    return "\n".join([*lines, ""])
