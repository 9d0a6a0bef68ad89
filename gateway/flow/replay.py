"""Replay: which shards a parent gets that runs the failed ones of another again. Read before it is claimed."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.context import Context
from gateway.core.model import NewRun
from gateway.core.reruns import Replay, failed_shards, is_replay


class Replays:
    MOST = 1000  # parents that wait for a place; one more is read again

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[int, Replay] = {}

    async def load(self, runs: Iterable[NewRun]) -> None:
        """Know the shards of those of these runs that need it."""
        context = self._context
        for run in [run for run in runs if run.shard_name and is_replay(run)]:
            old = (await context.runs.get_many([run.parent_id])).get(run.parent_id)
            family = await context.runs.family(old.job_id, old.slot_key) if old is not None else []
            if len(self._found) >= self.MOST:
                self._found.clear()
            self._found[run.id] = failed_shards(family, context.registry.addresses(run.app_id))

    def get(self, run: NewRun) -> Replay | None:
        return self._found.get(run.id)
