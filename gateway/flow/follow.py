"""Follow: what other nodes have changed reaches this node's memory.

In: a look at the database, with the counts of changes and the rows left for this node. Out: apps, executors and
job definitions as they are now, and the waiting rows of its parts in the agenda.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.core.cluster import Roster
from gateway.core.context import Context
from gateway.core.model import NewRun
from gateway.core.policy import seed_of
from gateway.core.ports import AppReader
from gateway.core.states import WAITING

OLD_NODES_EVERY_S = 20.0


class Loads(Protocol):
    async def load(self) -> None:
        """Read all that there are."""
        ...


class FollowsPauses(Loads, Protocol):
    def apply_soon(self) -> None:
        """Let what waits and what is claimed follow them."""
        ...


class Follower:
    """`on_jobs` is called when changes of jobs may have been missed, `on_queued` gets rows left by other nodes."""

    def __init__(
        self,
        context: Context,
        apps: AppReader,
        on_jobs: Callable[[], None],
        on_queued: Callable[[Sequence[NewRun]], None],
        pauses: FollowsPauses,
        tokens: Loads,
    ) -> None:
        self._context = context
        self._apps = apps
        self._on_jobs = on_jobs
        self._on_queued = on_queued
        self._pauses = pauses
        self._tokens = tokens
        self._read_all_at = 0.0
        self._known = {"app": -1, "executor": -1, "job": -1, "pause": -1, "access": -1}

    async def load(self, revisions: dict[str, int]) -> None:
        """All apps and executors, for a start. `revisions` were read before."""
        registry = self._context.registry
        for app in await self._apps.all_apps():
            registry.set_app(app)
        registry.set_settings(await self._apps.executor_settings())
        there, _ = await self._apps.executors_since(-1)
        registry.load(there)
        await self._pauses.load()
        await self._tokens.load()
        self._known |= {"access": 0} | revisions

    async def follow(self, roster: Roster) -> None:
        known, found = self._known, roster.revisions
        if found.get("app", 0) != known["app"]:
            await self.reload_apps()
            known["app"] = found.get("app", 0)
        if self._hears_of_none_from_old_nodes(roster):
            self._context.registry.merge(*await self._apps.executors_since(-1))
        elif found.get("executor", 0) != known["executor"]:
            self._context.registry.merge(*await self._apps.executors_since(known["executor"]))
            known["executor"] = found.get("executor", 0)
        if found.get("job", 0) != known["job"]:
            self._context.specs.clear()
            self._on_jobs()
            known["job"] = found.get("job", 0)
        if found.get("pause", 0) != known["pause"]:
            await self._pauses.load()
            known["pause"] = found.get("pause", 0)
            self._pauses.apply_soon()
        if found.get("access", 0) != known["access"]:
            await self._tokens.load()
            known["access"] = found.get("access", 0)
        if roster.requests:
            await self._take_requests(roster.requests)

    def _hears_of_none_from_old_nodes(self, roster: Roster) -> bool:
        """A node of the version before counts no changes: while one is there, all rows are read now and then."""
        now = self._context.clock.monotonic()
        if (
            all(member.address for member in roster.members.values() if member.live)
            or now < self._read_all_at
        ):
            return False
        self._read_all_at = now + OLD_NODES_EVERY_S
        return True

    async def reload_apps(self) -> None:
        registry, gate = self._context.registry, self._context.gate
        before = {app.id: app for app in registry.apps()}
        present = await self._apps.all_apps()
        if self._context.int_ids is not None and any(app.int_ids or app.dialect for app in present):
            await self._context.int_ids.refill()  # before the first of them is taken
        for app in present:
            registry.set_app(app)
            if before.get(app.id) != app:
                gate.app_changed(app.id)
        for app_id in before.keys() - {app.id for app in present}:
            registry.drop_app(app_id)
            gate.app_changed(app_id)
        registry.set_settings(await self._apps.executor_settings())

    async def _take_requests(self, requests: Sequence[tuple[int, int]]) -> None:
        mine = [run_id for run_id, part in requests if part in self._context.held]
        if not mine:
            return
        found = await self._context.runs.get_many(mine)
        self._on_queued([seed_of(run) for run in found.values() if run.state in WAITING])
        await self._context.runs.forget_requests(mine)
