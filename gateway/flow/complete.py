"""Complete: the last move of an attempt and all that it causes, in one transaction.

In: results, refusals, losses and stops. Out: a final state with the rows of the children it starts, or `retrying`
with the queued row of the next attempt; and the end of a broadcast parent once the last of its shards has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from gateway.core.chain import chain_end
from gateway.core.children import Child
from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.late import Correction
from gateway.core.model import BROADCAST_PARENT, Job, NewRun, Run
from gateway.core.policy import clip, ending, parent_ending, seed_of
from gateway.core.ports import Writer
from gateway.core.sequel import HAS_SEQUEL, Sequel
from gateway.core.states import LATE, SOURCES, RunState
from gateway.core.work import After, JoinEnd, Lease, Move, Value, Work, Written
from gateway.flow.follow_ups import NONE, again_of, children_of, retry_of

log = structlog.get_logger(__name__)

NO_SEQUEL = "an attempt before it had succeeded by then: nothing follows"

OnQueued = Callable[[Iterable[NewRun]], None]
OnEnded = Callable[[list[NewRun]], None]
OnLeft = Callable[[int], None]


class Completer:
    def __init__(
        self,
        context: Context,
        on_queued: OnQueued,
        on_ended: OnEnded,
        writer: Writer | None = None,
        on_left: OnLeft | None = None,
    ) -> None:
        """`on_queued` gets the rows that an end has caused, but for those that have been left to their owner.

        `on_ended` gets the runs of other nodes' parts that have ended here, `on_left` the parts that rows of other jobs
        have been left in.
        """
        self._context = context
        self._on_ended = on_ended
        self._writer = writer or context.writer
        self._on_queued = on_queued
        self._on_left = on_left or (lambda _part: None)
        self._parents: dict[tuple[int, int], asyncio.Task[None]] = {}

    def finish(self, ends: Sequence[End], on_written: Callable[[frozenset[int] | Exception], None]) -> None:
        """Write these endings; `on_written` gets the ids of runs that could not end so, or the error.

        Their jobs must have been loaded (`prepare`), else they get no retry and start no children.
        """
        joins: list[JoinEnd] = []
        moves = [self._move(end, joins) for end in ends]
        moves += [move.pair for move in moves if move.pair is not None]
        lease = self._context.lease if any(end.as_owner for end in ends) else None

        def written_(result: Written | Exception) -> None:
            if isinstance(result, Exception):
                on_written(result)
                return
            lost = result.lost_moves
            foreign: list[NewRun] = []
            for end in ends:
                flight = self._context.flights.pop(end.seed.id)
                if flight is not None:
                    flight.ended = True  # it may have been claimed again, and still wait to be sent
                if end.holds and end.seed.id not in lost:
                    self._context.gate.places.hold(end.seed.id)
                elif end.seed.id not in lost:
                    self._context.gate.free(end.seed.id)
                if end.seed.root_id != end.seed.id and end.seed.id not in lost:
                    self._close_parent(end.seed)
                if end.seed.part not in self._context.held and end.seed.id not in lost:
                    foreign.append(end.seed)
            if foreign:
                self._on_ended(foreign)
            self._context.counters.add("finished", sum(end.seed.id not in lost for end in ends))
            on_written(lost)

        self._context.signals.reached("before_result_commit", [end.seed.id for end in ends])
        self._submit(moves, joins, lease, written_)

    def _submit(
        self,
        moves: Sequence[Move],
        joins: Sequence[JoinEnd],
        lease: Lease | None,
        on_written: Callable[[Written | Exception], None],
    ) -> None:
        """Write these moves; the rows that they cause go on where they belong."""
        held = self._context.held
        caused = [(move, row) for move in moves if move.then for row in move.then]
        instead = [
            (move.otherwise, row)
            for move in moves
            if move.otherwise is not None
            for row in move.otherwise.then
        ]
        requests = {row.id: row.part for _, row in (*caused, *instead) if row.part not in held}

        def written_(result: Written | Exception) -> None:
            on_written(result)  # first, for it makes room that what follows may need
            if isinstance(result, Written) and (caused or joins or instead):
                gone = result.lost_moves | {move.run_id for move in result.otherwise}
                rows = [row for move, row in caused if move.run_id not in gone]
                rows += [row for move, row in instead if move in result.otherwise]
                rows += [one.row for one in joins if one.row.id in result.joined]
                left = requests | {one.row.id: one.row.part for one in joins if one.is_foreign}
                self._on_queued([row for row in rows if row.id not in left])
                for part in {row.part for row in rows if row.id in left}:
                    self._on_left(part)

        work = Work(moves=moves, requests=list(requests.items()), lease=lease, joins=joins)
        self._writer.submit(work, written_)

    async def mark_succeeded(self, run: Run, reason: str) -> bool:
        """Say that a run which has failed need not bother anyone; its job must have been loaded. False if it moved.

        Its outcome stays what it was, and the children start that its failure has not started.
        """
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()

        def on_written(result: Written | Exception) -> None:
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)

        seed, job = seed_of(run), self._context.specs.job(run.job_id)
        causes = NONE if job is None else children_of(self._context, seed, job, RunState.SUCCEEDED)
        values: dict[str, Value] = {"reason": "; ".join(filter(None, (reason, causes.note)))}
        move = Move(run.id, RunState.SUCCEEDED, frozenset({run.state}), values, then=causes.rows)
        self._submit([move], list(causes.joins(move, self._context)), None, on_written)
        return run.id not in (await done).lost_moves

    async def prepare(self, job_ids: Iterable[int], *, patiently: bool = False) -> None:
        """Load the jobs whose policies will be needed, and those that they start."""
        wanted, children = set(job_ids), set[int]()
        while True:
            needed = [(job_id, 0) for job_id in wanted | children]
            if patiently:
                await self._context.specs.ensure_patiently(needed, self._context.clock)
            else:
                await self._context.specs.ensure(needed)
            found = {child.job_id for job_id in wanted for child in self._children(job_id)}
            if found <= children:
                return
            children |= found

    def _children(self, job_id: int) -> Sequence[Child]:
        job = self._context.specs.job(job_id)
        return () if job is None else job.children

    def _move(self, end: End, joins: list[JoinEnd]) -> Move:
        """The move that ends this run, and what is to be done where its row says that something else follows."""
        if end.late is not None:
            return self._late_move(end, end.late, joins)
        move = last = self._move_as(end, joins)
        if end.again:
            move.sequels = frozenset({Sequel.AGAIN})
            move.otherwise = last = self._move_as(replace(end, again=False), joins, instead=True)
        if end.seed.attempt > 1:
            last.sequels = HAS_SEQUEL
            last.otherwise = self._without_sequel(end)
        return move

    def _without_sequel(self, end: End) -> Move:
        """An attempt before it has succeeded meanwhile: no other follows, and no children."""
        seed = replace(end.seed, starts_children=False)
        reason = "; ".join(filter(None, (end.reason, NO_SEQUEL)))
        move = self._move_as(replace(end, seed=seed, again=False, is_last=True, reason=reason), [])
        move.sequels = frozenset({Sequel.NOTHING})
        if move.to is RunState.SUCCEEDED:
            move.values = {
                **move.values,
                "rerun_id": 0,
            }  # nothing is left that the other would have dealt with
        return move

    def _late_move(self, end: End, found: Correction, joins: list[JoinEnd]) -> Move:
        """What is to become of the last attempt is done with it."""
        if found.state is RunState.RETRYING:
            values: dict[str, Value] = {
                "outcome": int(end.outcome),
                "result_code": end.code,
                "message": clip(end.message),
                "reason": end.reason,
            }
            return Move(end.seed.id, RunState.RETRYING, LATE, values)
        seed = replace(end.seed, state=found.before or RunState.RUNNING)
        move = self._move_as(replace(end, seed=seed, sources=LATE), joins)
        if not found.ends_chain:
            move.chain = None
        if found.beside is not None:
            move.pair, found.beside.pair = found.beside, move
        return move

    def _move_as(self, end: End, joins: list[JoinEnd], *, instead: bool = False) -> Move:
        """The move that ends this run, with the rows it causes; ends for children that join go to `joins`."""
        seed = end.seed
        job = self._job(seed)
        finished_ms = end.finished_ms or self._context.clock.now_ms()
        counted = seed.attempt - seed.uncounted
        verdict = ending(end.outcome, counted, None if end.is_last else job, again=end.again)
        causes = NONE
        if job is not None and verdict.retry:
            context = self._context
            causes = again_of(context, seed) if end.again else retry_of(context, seed, job, finished_ms)
        elif job is not None and job.children:
            causes = children_of(self._context, seed, job, verdict.state)
        values: dict[str, Value] = {
            "outcome": int(end.outcome),
            "finished_ms": finished_ms,
            "result_code": end.code,
        }
        if end.message is not None:
            values["message"] = clip(end.message)
        if end.reason is not None or causes.note:
            values["reason"] = "; ".join(filter(None, (end.reason, causes.note)))
        if end.sent_ms:
            values["sent_ms"] = After("due_ms", end.sent_ms - seed.due_ms)
        if end.holds:
            values["open_part"] = seed.part
        if seed.reshaped:
            values["shard"] = seed.shard
        if end.answered_ms:
            values["answered_ms"] = After("due_ms", end.answered_ms - seed.due_ms)
        sources = end.sources if end.sources is not None else SOURCES[verdict.state]
        chain = None if verdict.retry else chain_end(seed, job, finished_ms)
        move = Move(seed.id, verdict.state, sources, values, claim=end.claim, then=causes.rows, chain=chain)
        if causes.waiting:
            joins.extend(causes.joins(move, self._context, instead=instead))
        return move

    def _job(self, run: NewRun) -> Job | None:
        """As it is known now; as it was when it was claimed, where it is not known any more."""
        job = self._context.specs.job(run.job_id)
        if job is None and (flight := self._context.flights.get(run.id)) is not None:
            return flight.order.job
        return job

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
        await self.prepare([job_id], patiently=True)
        end = End(
            seed_of(parent),
            state,
            reason=reason,
            sources=frozenset({RunState.RUNNING, RunState.STOPPING}),
            is_last=True,
        )
        await self.ended(end)

    async def ended(self, end: End) -> None:
        """Write one ending and wait for it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_written(result: frozenset[int] | Exception) -> None:
            if done.done():
                return
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(None)

        self.finish([end], on_written)
        await done
