"""Runs as answers: with the names of their apps and their task ids, which stand elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.api.models.runs import RunAnswer
from gateway.api.render import run_answer
from gateway.api.services import Services
from gateway.core.model import BROADCAST_PARENT, Run
from gateway.core.shards import Tally


async def answers_of(services: Services, runs: Sequence[Run], shards: Tally | None = None) -> list[RunAnswer]:
    names = await services.apps.names({run.app_id for run in runs})
    # A task id is the name of a whole chain, kept with its first run; chains of slots have none.
    tasks = await services.tasks.names({run.root_id for run in runs if run.slot_ms is None})
    now_ms = services.clock.now_ms()
    return [run_answer(run, names.get(run.app_id), now_ms, tasks.get(run.root_id), shards) for run in runs]


async def answer_of(services: Services, run: Run) -> RunAnswer:
    """One run; a parent with what has become of its shards."""
    shards = await services.runs.tally(run) if run.shard == BROADCAST_PARENT else None
    (answer,) = await answers_of(services, [run], shards)
    return answer
