"""An import is undone: what goes and what stays, why it is refused, and the steps. What is said in between is the command's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.app.target import looking_at, refuse_if_running, working_on
from gateway.core.acting import SYSTEM, acting_for, author
from gateway.core.clock import Clock, SystemClock
from gateway.core.errors import Refused
from gateway.core.retention import calm_in_ms
from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.store.import_logs import LogImportStore
from gateway.store.many import chunks
from gateway.store.undo import UndoStore
from gateway.store.undoing import Undoing
from importer.apply import NAME, Progress, full_disks_told, quiet

_MOST_NAMED = 10


class Undo:
    """Of one import in one target. `name`: None for the only one."""

    def __init__(self, settings: Settings, name: str | None) -> None:
        self._settings = settings
        self._name = name
        self._clock = SystemClock()

    async def see(self, *, to_write: bool) -> Undoing:
        """Nothing is written. Raises `Refused`, also where a gateway runs on the database and it is `to_write`."""
        if to_write:
            refuse_if_running(self._settings)
        async with looking_at(self._settings) as db:
            if db is None:
                raise Refused("there is no import here: the database has not been made yet")
            found = await what_to_undo(db, self._clock, self._name)
        refuse(found)
        return found

    async def state(self, wanted: Undoing) -> Undoing | None:
        """What is there now of it; None when all of it is gone."""
        async with looking_at(self._settings) as db:
            if db is None:
                return None
            store = UndoStore(db, self._clock)
            return await store.look(wanted.source) if wanted.source in await store.names() else None

    async def undo(self, wanted: Undoing, progress: Progress) -> None:
        async with working_on(self._settings) as db:
            await undo(db, self._clock, wanted, progress)


async def what_to_undo(db: Database, clock: Clock, name: str | None) -> Undoing:
    store = UndoStore(db, clock)
    names = await store.names()
    if not names:
        raise Refused("there is no import here, so nothing to undo")
    if name is None and len(names) > 1:
        raise Refused(f"--name: there are several imports here, say which: {', '.join(names)}")
    if name is not None and name not in names:
        raise Refused(f"--name: there is no import {name!r} here, but {', '.join(names)}")
    found = await store.look(name or names[0])
    return replace(found, runs=await store.count_runs(found))


def refuse(found: Undoing) -> None:
    """Raises `Refused` with all the reasons, and the ways out."""
    reasons = []
    if found.live:
        reasons.append(f"{_jobs(found.live)} cut over: give `xxljob-gateway cutover --back` first")
    if found.enabled:
        reasons.append(f"{_jobs(found.enabled)} enabled: `xxljob-gateway jobs disable ID` first")
    if found.with_runs:
        reasons.append(
            f"{_jobs(found.with_runs, 'has', 'have')} runs of this gateway, which would lose their job: "
            "delete such jobs yourself (`xxljob-gateway jobs delete ID`), the others can be undone then"
        )
    if found.parents:
        reasons.append(
            f"{_jobs(found.parents, 'starts', 'start')} jobs of the import, and did not come with it: take those from its "
            "children first"
        )
    if reasons:
        raise Refused(f"the import from {found.source} cannot be undone: {'; '.join(reasons)}")


def _jobs(ids: Sequence[int], one: str = "is", many: str = "are") -> str:
    named = ", ".join(map(str, ids[:_MOST_NAMED]))
    if len(ids) > _MOST_NAMED:
        named += f" and {len(ids) - _MOST_NAMED} more"
    return f"job {named} {one}" if len(ids) == 1 else f"{len(ids)} jobs ({named}) {many}"


async def undo(db: Database, clock: Clock, wanted: Undoing, progress: Progress = quiet) -> None:
    """Raises `Conflict` where it is not as it was seen. Ended in the middle, the same call goes on with it."""
    refuse(wanted)
    store = UndoStore(db, clock)
    has_company = await LogImportStore(db, clock).has_company()
    done = 0
    with acting_for(NAME if author() == SYSTEM else author()):
        async with full_disks_told():
            await store.begin(wanted)
            groups = [tuple(some) for some in chunks((-wanted.source_id, *wanted.job_ids))]
            for remove, counts in ((store.remove_runs, True), (store.remove_days, False)):
                for some in groups:
                    while removed := await remove(some):
                        if counts:
                            done += removed
                            progress("runs", done, max(wanted.runs, done))
                        if has_company:  # not when runs are claimed for the next second
                            await clock.sleep(calm_in_ms(clock.now_ms()) / 1000)
            progress("removing", 0, 1)
            await store.remove(wanted)
            progress("removing", 1, 1)
