"""Reruns: what people do about runs that have ended. Implements `core.reruns.RerunDesk`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.core.acting import author
from gateway.core.catalog import RunCatalog
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Level, Source
from gateway.core.listing import RunFilter
from gateway.core.model import Job, NewRun, Run
from gateway.core.reruns import (
    Redriven,
    Rerun,
    require_failed_shards,
    require_markable,
    require_rerunnable,
    rerun_move,
    rerun_row,
)
from gateway.core.retry import FAILURES
from gateway.core.work import Work
from gateway.flow.loops import Flow
from gateway.flow.operations import FlowOperations

AT_ONCE = 500
PAGE = 500
PAGES = 50  # each looks at a bounded number of rows


class FlowReruns:
    def __init__(self, flow: Flow, operations: FlowOperations, runs: RunCatalog) -> None:
        self._flow = flow
        self._context = flow.context
        self._operations = operations
        self._runs = runs

    async def rerun(self, run_id: int, how: Rerun) -> int:
        run = await self._runs.get(run_id)
        (result,) = await self._again([run], how, once=False)
        if not result.new_run_id:
            raise Conflict(result.error)
        return result.new_run_id

    async def redrive(self, run_ids: Sequence[int], how: Rerun) -> list[Redriven]:
        results: dict[int, Redriven] = {}
        wanted = list(dict.fromkeys(run_ids))
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            found = await self._context.runs.get_many(some)
            results.update({one: Redriven(one, error=f"run {one} does not exist") for one in some})
            done = await self._again([found[one] for one in some if one in found], how, once=True)
            results.update({one.run_id: one for one in done})
        return [results[run_id] for run_id in wanted]

    async def redrive_where(
        self, wanted: RunFilter, how: Rerun, limit: int, cursor: str | None
    ) -> tuple[list[Redriven], str | None]:
        results: list[Redriven] = []
        for _ in range(PAGES):
            page = await self._runs.page(wanted, cursor=cursor, limit=min(PAGE, limit - len(results)))
            results += await self._again(page.items, how, once=True)
            cursor = page.next_cursor
            if cursor is None or len(results) >= limit:
                break
        return results, cursor

    async def _again(self, runs: Collection[Run], how: Rerun, *, once: bool) -> list[Redriven]:
        """A new run for each of these; `once`: only for failures that have not been run again."""
        context = self._context
        refused: dict[int, str] = {}
        rows: dict[int, NewRun] = {}
        jobs: dict[int, Job | Conflict | NotFound] = {}
        await context.specs.ensure([(job_id, 0) for job_id in {run.job_id for run in runs}])
        drawn = await context.draw_ids([run.app_id for run in runs])
        ids = dict(zip((run.id for run in runs), drawn, strict=True))
        moves = []
        for run in runs:
            try:
                require_rerunnable(run)
                if how.only_failed:
                    require_failed_shards(run)
                if once:
                    _require_open_failure(run)
            except Conflict as error:
                refused[run.id] = str(error)
                continue
            if run.job_id not in jobs:
                jobs[run.job_id] = await self._job(run.job_id)
            job = jobs[run.job_id]
            if not isinstance(job, Job):
                refused[run.id] = str(job)
                continue
            row = rerun_row(run, job, how, ids[run.id], context.clock.now_ms(), author())
            rows[run.id] = row
            moves.append(rerun_move(run, row, context.chance.getrandbits(62)))
        lost: frozenset[int] = frozenset()
        if moves:
            left = [(row.id, row.part) for row in rows.values() if row.part not in context.held]
            lost = (await context.writer.write(Work(moves=moves, requests=left))).lost_moves
            self._hand_on([row for run_id, row in rows.items() if run_id not in lost], dict(left))
        refused.update({run_id: f"run {run_id} was changed or run again at this moment" for run_id in lost})
        return [
            Redriven(run.id, error=refused[run.id])
            if run.id in refused
            else Redriven(run.id, rows[run.id].id)
            for run in runs
        ]

    async def _job(self, job_id: int) -> Job | Conflict | NotFound:
        """The job, or why no run of it may be submitted."""
        try:
            return await self._operations.startable(job_id)
        except (Conflict, NotFound) as error:
            return error

    def _hand_on(self, rows: Sequence[NewRun], left: dict[int, int]) -> None:
        self._flow.queued([row for row in rows if row.id not in left])
        for part in {row.part for row in rows if row.id in left}:
            self._flow.neighbours.nudge_owner(part)

    async def mark_succeeded(self, run_id: int, reason: str) -> Run:
        run = await self._runs.get(run_id)
        require_markable(run)
        was = f"it was {run.state.word}" + (f": {run.reason}" if run.reason else "")
        text = f"marked as succeeded by {author()}: {reason} ({was})"
        await self._flow.completer.prepare([run.job_id])
        if not await self._flow.completer.mark_succeeded(run, text):
            raise Conflict(f"run {run_id} was changed at this moment: look at it again")
        now_ms = self._context.clock.now_ms()
        self._context.journal.note(now_ms, Level.INFO, Source.RUN, run_id, "marked_succeeded", text)
        return await self._runs.get(run_id)


def _require_open_failure(run: Run) -> None:
    if run.state not in FAILURES:
        raise Conflict(f"run {run.id} is {run.state.word}: it has not failed")
    if run.rerun_id:
        raise Conflict(f"run {run.id} was run again already, as run {run.rerun_id}")
