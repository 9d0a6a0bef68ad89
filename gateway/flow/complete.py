"""Complete: the last move of an attempt and all that it causes, in one transaction.

In: results, refusals, losses and stops. Out: a final state, or `retrying` together with the queued row of the
next attempt; and the end of a broadcast parent once the last of its shards has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from gateway.core.chain import chain_end
from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.model import BROADCAST_PARENT, Job, NewRun
from gateway.core.policy import clip, ending, next_attempt, parent_ending, seed_of
from gateway.core.ports import Writer
from gateway.core.states import SOURCES, RunState
from gateway.core.work import After, Move, Value, Work, Written

log = structlog.get_logger(__name__)

OnQueued = Callable[[Iterable[NewRun]], None]
OnEnded = Callable[[list[NewRun]], None]


class Completer:
    def __init__(
        self, context: Context, on_queued: OnQueued, on_ended: OnEnded, writer: Writer | None = None
    ) -> None:
        """`on_queued` gets the rows of next attempts, but for those that have been left to their owner.

        `on_ended` gets the runs of other nodes' parts that have ended here.
        """
        self._context = context
        self._on_ended = on_ended
        self._writer = writer or context.writer
        self._on_queued = on_queued
        self._parents: dict[tuple[int, int], asyncio.Task[None]] = {}

    def finish(self, ends: Sequence[End], on_written: Callable[[frozenset[int] | Exception], None]) -> None:
        """Write these endings; `on_written` gets the ids of runs that could not end so, or the error.

        The jobs of runs that did not succeed must have been loaded (`prepare`), else they get no retry.
        """
        moves: list[Move] = []
        retries: dict[int, NewRun] = {}
        for end in ends:
            move = self._move(end)
            if move.then:
                retries[end.seed.id] = move.then[0]
            moves.append(move)

        foreign: list[NewRun] = []
        requests = {one.id: one.part for one in retries.values() if one.part not in self._context.held}

        def written_(result: Written | Exception) -> None:
            if isinstance(result, Exception):
                on_written(result)
                return
            lost = result.lost_moves
            for end in ends:
                flight = self._context.flights.pop(end.seed.id)
                if flight is not None:
                    flight.ended = True  # it may have been claimed again, and still wait to be sent
                if end.seed.root_id != end.seed.id and end.seed.id not in lost:
                    self._close_parent(end.seed)
                if end.seed.part not in self._context.held and end.seed.id not in lost:
                    foreign.append(end.seed)
            if retries:
                won = [retry for run_id, retry in retries.items() if run_id not in lost]
                self._on_queued([retry for retry in won if retry.id not in requests])
            if foreign:
                self._on_ended(foreign)
            self._context.counters.add("finished", sum(end.seed.id not in lost for end in ends))
            on_written(lost)

        self._context.signals.reached("before_result_commit", [end.seed.id for end in ends])
        lease = self._context.lease if any(end.as_owner for end in ends) else None
        self._writer.submit(Work(moves=moves, requests=list(requests.items()), lease=lease), written_)

    async def prepare(self, job_ids: Iterable[int]) -> None:
        """Load the jobs whose retry policy will be needed."""
        await self._context.specs.ensure([(job_id, 0) for job_id in set(job_ids)])

    def _move(self, end: End) -> Move:
        seed = end.seed
        job = self._job(seed)
        finished_ms = end.finished_ms or self._context.clock.now_ms()
        verdict = ending(end.outcome, seed.attempt, job)
        then = self._retry(seed, job, finished_ms) if verdict.retry and job is not None else ()
        values: dict[str, Value] = {
            "outcome": int(end.outcome),
            "finished_ms": finished_ms,
            "result_code": end.code,
        }
        if end.message is not None:
            values["message"] = clip(end.message)
        if end.reason is not None:
            values["reason"] = end.reason
        if end.sent_ms:
            values["sent_ms"] = After("due_ms", end.sent_ms - seed.due_ms)
        if end.answered_ms:
            values["answered_ms"] = After("due_ms", end.answered_ms - seed.due_ms)
        sources = end.sources if end.sources is not None else SOURCES[verdict.state]
        chain = None if then else chain_end(seed, job, finished_ms)
        return Move(seed.id, verdict.state, sources, values, claim=end.claim, then=then, chain=chain)

    def _job(self, run: NewRun) -> Job | None:
        """As it is known now; as it was when it was claimed, where it is not known any more."""
        job = self._context.specs.job(run.job_id)
        if job is None and (flight := self._context.flights.get(run.id)) is not None:
            return flight.order.job
        return job

    def _retry(self, seed: NewRun, job: Job, finished_ms: int) -> tuple[NewRun, ...]:
        (run_id,) = self._context.run_ids.take(1)
        now_ms = self._context.clock.now_ms()
        wait_ms = job.retry.wait_ms(seed.attempt - 1, self._context.chance.random())
        return (next_attempt(seed, run_id, now_ms, max(now_ms, finished_ms + wait_ms)),)

    # ------------------------------------------------------------ broadcast

    def _close_parent(self, shard: NewRun) -> None:
        """Look, soon, whether this was the last shard; one look serves all shards that end meanwhile."""
        key = (shard.job_id, shard.slot_key)
        if key in self._parents:
            return
        task = asyncio.get_running_loop().create_task(self._look_at_parent(*key))
        self._parents[key] = task

    async def _look_at_parent(self, job_id: int, slot_key: int) -> None:
        await self._context.clock.sleep(0.05)
        self._parents.pop((job_id, slot_key), None)
        try:
            await self.close_parent(job_id, slot_key)
        except Exception as error:
            log.warning("parent_not_closed", job_id=job_id, slot=slot_key, error=str(error)[:200])

    async def close_parent(self, job_id: int, slot_key: int) -> None:
        """End a broadcast parent if all its shards have ended. Safe to repeat."""
        family = await self._context.runs.family(job_id, slot_key)
        parents = [run for run in family if run.shard == BROADCAST_PARENT]
        parent = max(parents, key=lambda run: run.attempt, default=None)
        state = parent_ending(family)
        if parent is None or state is None or parent.state not in SOURCES[state]:
            return
        shards = [run for run in family if run.shard != BROADCAST_PARENT]
        failed = sorted(
            {run.shard for run in shards if run.state not in (RunState.SUCCEEDED, RunState.RETRYING)}
        )
        reason = None if state is RunState.SUCCEEDED else f"shards that did not succeed: {failed}"
        await self.prepare([job_id])
        now_ms = self._context.clock.now_ms()
        values: dict[str, Value] = {
            "outcome": int(state),
            "finished_ms": now_ms,
            "reason": reason,
        }
        sources = frozenset({RunState.RUNNING, RunState.STOPPING})
        chain = chain_end(seed_of(parent), self._context.specs.job(job_id), now_ms)
        await self._context.writer.write(Work(moves=[Move(parent.id, state, sources, values, chain=chain)]))
