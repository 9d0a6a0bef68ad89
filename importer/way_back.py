"""The way back: what a cutover has enabled is disabled again, and the old admin is told where to go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.clock import Clock
from gateway.store.cutovers import ImportedSource
from gateway.store.imports import Item
from gateway.store.way_back import WayBackStore

CLAIMED_MS = 500
"""What was claimed before a job was disabled has been sent by then, or is not any more: its row tells."""
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
class Held:
    """Jobs of an import that the old admin would run as well.

    `live`: given to this scheduler by a cutover, some of which people may have disabled or deleted. `by_hand`: the others
    that are enabled here; `names` of those that are, by id.
    """

    live: tuple[Item, ...]
    by_hand: tuple[Item, ...]
    names: Mapping[int, str]

    @property
    def items(self) -> list[Item]:
        return sorted((*self.live, *self.by_hand), key=lambda one: one.new_id)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How many jobs were disabled, and how many somebody had disabled before.

    `unknown`: ids in the source of jobs of which nothing is known here any more, so that they get no next time.
    """

    disabled: int
    others: int
    since_ms: int
    following: tuple[NextTime, ...]
    unknown: tuple[int, ...] = ()


async def held(store: WayBackStore, imported: ImportedSource) -> Held:
    items = [one for one in await store.items(imported.id) if one.live or one.wants_enabled]
    names = await store.enabled(imported, items)
    by_hand = tuple(one for one in items if not one.live and one.new_id in names)
    return Held(tuple(one for one in items if one.live), by_hand, names)


async def take_back(store: WayBackStore, clock: Clock, imported: ImportedSource) -> TakenBack:
    """Disable what the old admin would run as well. No slot after `since_ms` is sent from here."""
    taken = (await held(store, imported)).items
    done = await store.disable(imported, taken)
    await store.mark(imported, 0)
    await clock.sleep(CLAIMED_MS / 1000)
    now_ms = clock.now_ms()
    following = await next_times(store, imported, now_ms, now=[one.new_id for one in taken])
    known = await store.schedules(imported, taken)
    unknown = sorted(int(one.old_key) for one in taken if one.new_id not in known)
    return TakenBack(len(done), len(taken) - len(done), now_ms, following, tuple(unknown))


async def next_times(
    store: WayBackStore, imported: ImportedSource, now_ms: int, *, now: Collection[int] = ()
) -> tuple[NextTime, ...]:
    """Of all jobs that were given back, in this call (`now`) or in an earlier one, after which the old admin may have run.

    What people have disabled or deleted before that has no slots of the old admin's up to now.
    """
    items = await store.items(imported.id)
    given_back = await store.given_back(items)
    since = {one: now_ms if at_ms is None else at_ms for one, at_ms in given_back.items()}
    items = [one for one in items if one.new_id in since]
    return await _following(store, imported, items, since, frozenset(now))


async def next_times_beforehand(
    store: WayBackStore, imported: ImportedSource, items: Sequence[Item], now_ms: int
) -> tuple[NextTime, ...]:
    """As if the jobs were disabled now."""
    since = dict.fromkeys([one.new_id for one in items], now_ms)
    return await _following(store, imported, items, since, frozenset())


async def _following(
    store: WayBackStore,
    imported: ImportedSource,
    items: Sequence[Item],
    since: Mapping[int, int],
    fresh: frozenset[int],
) -> tuple[NextTime, ...]:
    """The slots that have not been sent from here, by what the jobs were imported with: the old admin knows no other."""
    schedules = await store.schedules(imported, items)
    handled = await store.last_handled(since)
    found: list[NextTime] = []
    for one in items:
        schedule = schedules.get(one.new_id)
        slot_ms = None if schedule is None else schedule.next_after(handled[one.new_id])
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
