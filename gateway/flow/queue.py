"""What people ask of runs that wait for a place. Implements `core.waiting.QueueDesk`.

The row is changed, and the node that owns the run's part takes it up anew.
"""

from __future__ import annotations

from gateway.core.acting import author
from gateway.core.catalog import RunCatalog
from gateway.core.errors import Conflict
from gateway.core.model import App, Run
from gateway.core.places import Scope
from gateway.core.policy import seed_of
from gateway.core.states import WAITING, RunState
from gateway.core.waiting import Queue, QueueReader, Waiting, predict, reason_of
from gateway.core.work import Move, Value, Work
from gateway.flow.loops import Flow


class FlowQueues:
    def __init__(self, flow: Flow, runs: RunCatalog, queues: QueueReader) -> None:
        self._flow = flow
        self._context = flow.context
        self._runs = runs
        self._queues = queues

    async def view(self, app: App, limit: int) -> Queue:
        context = self._context
        now_ms = context.clock.now_ms()
        waiting, count = await self._queues.waiting(app.id, now_ms, limit)
        parts = {run.part for run in waiting}
        running = [
            place
            for part in sorted(parts)
            for place in await context.runs.under_way(Scope("app", app.id, part))
            if place.shard >= 0
        ]
        jobs = [*(run.job_id for run in waiting), *(place.job_id for place in running)]
        durations = await self._queues.durations_ms(jobs)
        pauses = {run.id: context.pauses.find(run.app_id, run.job_id, now_ms) for run in waiting}
        paused = {run_id for run_id, pause in pauses.items() if pause is not None}
        predicted = predict(waiting, running, app, durations, now_ms, paused)
        items = zip(waiting, predicted, strict=True)
        first = tuple(
            Waiting(run, position, reason_of(run, app, running, pauses[run.id]), at_ms)
            for position, (run, at_ms) in enumerate(items, 1)
        )
        return Queue(len(running), count, first)

    async def move_to_front(self, run_id: int) -> Run:
        run = await self._runs.get(run_id)
        rank = await self._queues.highest_rank(run.app_id) + 1
        return await self._change(run, {"queue_rank": rank}, "moved to the front")

    async def bypass(self, run_id: int) -> Run:
        return await self._change(await self._runs.get(run_id), {"bypass": 1}, "let past the limits")

    async def _change(self, run: Run, values: dict[str, Value], what: str) -> Run:
        """Write it, and have the owner of its part take the run up again."""
        values["reason"] = f"{what} by {author()}"
        move = Move(run.id, RunState.QUEUED, WAITING, values)
        held = run.part in self._context.held
        requests = () if held else ((run.id, run.part),)
        written = await self._context.writer.write(Work(moves=[move], requests=requests))
        changed = await self._runs.get(run.id)
        if run.id in written.lost_moves:
            raise Conflict(f"run {run.id} is {changed.state.word}: only a run that waits can be {what}")
        if held:
            self._flow.queued([seed_of(changed)])
        else:
            self._flow.neighbours.nudge_owner(run.part)
        return changed
