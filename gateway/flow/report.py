"""Report: results of executors become durable before they are acknowledged.

In: callbacks. Out: endings for `complete`. A result is acknowledged once its transaction has committed; when
that takes longer than half a second, once it is in the node's spool, which is replayed, here or by another node,
until the database has taken it. Repeated, late or foreign results are acknowledged as well: a client would repeat them for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.errors import GatewayError, StoreError
from gateway.core.inflight import Flight
from gateway.core.late import LATE, is_unheard
from gateway.core.model import BROADCAST_PARENT, ExecutorResult, Run, TriggerKind
from gateway.core.policy import came_first, matches_old_run, matches_run, outcome_of, seed_of
from gateway.core.ports import ForeignResults, Spool
from gateway.core.sequel import Sequel
from gateway.core.states import ENDED_BY_RESULT, IN_FLIGHT, RunState
from gateway.flow.late import correct
from gateway.flow.ports import Finisher

log = structlog.get_logger(__name__)

SPARED = "it had ended before the kill that was to take it along"
SPOOL_CHECK_S = 0.05
REPLAY_AT_ONCE = 50  # another node has little time to take them
STORE_LIMIT_S = 15.0


class Elsewhere(Protocol):
    """Nodes that reach the database while this one does not."""

    @property
    def are_there(self) -> bool: ...

    async def pass_results(self, results: Sequence[ExecutorResult], client: str) -> bool:
        """True once one of them has made these durable."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    """A callback that has not been answered yet; `durable` is the answer."""

    since: float
    durable: asyncio.Future[bool]
    results: Sequence[ExecutorResult]
    client: str


class Reporter:
    def __init__(
        self,
        context: Context,
        finisher: Finisher,
        foreign: ForeignResults,
        spool: Spool,
        elsewhere: Elsewhere,
    ) -> None:
        self._context = context
        self._elsewhere = elsewhere
        self._finisher = finisher
        self._foreign = foreign
        self._spool = spool
        self._waiting: deque[_Waiting] = deque()
        self._spooling: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted: list[tuple[set[int], asyncio.Future[Mapping[int, Run]]]] = []
        self._is_finding = False
        self._replayed = 0  # of the results in the spool's oldest file

    async def report(self, results: Sequence[ExecutorResult], client: str) -> bool:
        """True once all results are durable, False if neither database nor spool took them."""
        if not self._context.writer.healthy and await self._pass_on(results, client):
            return True
        return await self._report_here(results, client)

    async def report_passed_on(self, results: Sequence[ExecutorResult], client: str) -> bool:
        """Results that another node could not write down; False if this one cannot either."""
        return self._context.writer.healthy and await self._report_here(results, client)

    async def _report_here(self, results: Sequence[ExecutorResult], client: str) -> bool:
        durable: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(self._context.clock.monotonic(), durable, results, client)
        if not self._context.writer.healthy:
            self._spool_soon(waiting)
            return await durable
        flights = self._flights(results)
        self._waiting.append(waiting)
        if flights is not None:
            self._finish_known(results, flights, durable)
        else:
            self._start(self._look_up(results, client, durable))
        return await durable

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ runs of this node

    def _flights(self, results: Sequence[ExecutorResult]) -> list[Flight] | None:
        """The flights of these results, or None if any needs a look into the database."""
        flights: list[Flight] = []
        for result in results:
            flight = self._context.flights.get(result.run_id)
            if flight is None or flight.ended or not matches_run(result, flight.order.trigger_ms):
                return None
            if flight.ended_elsewhere or flight.let_go:
                return None
            if not self._knows_what_follows(flight.seed.job_id):
                return None
            flights.append(flight)
        return (
            flights
            if len(flights) < 2 or len({flight.seed.id for flight in flights}) == len(flights)
            else None
        )

    def _knows_what_follows(self, job_id: int) -> bool:
        """Whether the job and those that it starts are in memory."""
        spec = self._context.specs.get(job_id)
        if spec is None:
            return False
        return not spec.job.children or all(
            self._context.specs.get(child.job_id) is not None for child in spec.job.children
        )

    def _finish_known(
        self, results: Sequence[ExecutorResult], flights: list[Flight], durable: asyncio.Future[bool]
    ) -> None:
        ends: list[End] = []
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for result, flight in zip(results, flights, strict=True):
            order = flight.order
            is_spared = flight.stop_asked and flight.stop_again and came_first(result)
            stop = flight.stop_outcome if flight.stop_asked and not is_spared else None
            reason = SPARED if is_spared else flight.stop_reason if flight.stop_asked else None
            ends.append(
                End(
                    flight.seed,
                    outcome_of(result.code, stop=stop),
                    result.code,
                    result.message,
                    reason,
                    # An answer that is not written yet goes with the result.
                    0 if flight.answer_written else order.sent_ms or result.received_ms,
                    0 if flight.answer_written else flight.answered_ms or result.received_ms,
                    result.received_ms,
                    again=stop is not None and flight.stop_again,
                )
            )

        def on_written(lost: frozenset[int] | Exception) -> None:
            if isinstance(lost, Exception):
                for flight in flights:
                    flight.ended = False
                    flight.committed = None
            _settle(committed, lost)
            _settle(durable, lost)

        self._finisher.finish(ends, on_written)
        for flight in flights:
            flight.ended = True
            flight.committed = committed

    # ------------------------------------------------------------ all others

    async def _look_up(
        self, results: Sequence[ExecutorResult], client: str, durable: asyncio.Future[bool]
    ) -> None:
        try:
            await self.store(results, client)
        except Exception as error:
            # The callback goes to the spool when its time is up.
            log.warning("result_not_stored", results=len(results), error=str(error)[:200])
        else:
            _settle(durable, frozenset())

    async def store(self, results: Sequence[ExecutorResult], client: str) -> None:
        """Write results whose runs must be looked up; returns when they are committed.

        Raises if the database does not take them.
        """
        found = await self._find({result.run_id for result in results})
        foreign: list[tuple[ExecutorResult, str]] = []
        ends: dict[int, End] = {}
        late: dict[int, ExecutorResult] = {}
        pending: list[asyncio.Future[bool]] = []
        for result in results:
            run = found.get(result.run_id)
            why = _why_foreign(result, run)
            if run is None or why:
                foreign.append((result, why or ""))
            elif is_unheard(run):
                late[run.id] = result
            elif run.state in ENDED_BY_RESULT or run.id in ends:
                self._context.counters.add("results_repeated")
            else:
                flight = self._context.flights.get(run.id)
                if flight is not None and flight.ended and flight.committed is not None:
                    pending.append(flight.committed)
                    continue
                if flight is not None:
                    flight.ended = True
                ends[run.id] = _late_end(run, result, flight)
        if foreign:
            await self._foreign.keep(foreign, client)
            self._context.counters.add("results_foreign", len(foreign))
        if ends:
            await self._finisher.prepare(end.seed.job_id for end in ends.values())
            stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._finisher.finish(list(ends.values()), lambda lost: _settle(stored, lost))
            pending.append(stored)
        for one in pending:
            if not await asyncio.shield(one):
                raise StoreError("the database does not take a result")
        for run_id, result in late.items():
            if not await correct(self._context, self._finisher, run_id, result):
                self._context.counters.add("results_repeated")

    async def _find(self, run_ids: set[int]) -> Mapping[int, Run]:
        """Rows by id, and perhaps others: all that are wanted while a query is under way share the next one."""
        found: asyncio.Future[Mapping[int, Run]] = asyncio.get_running_loop().create_future()
        self._wanted.append((run_ids, found))
        if len(self._wanted) == 1 and not self._is_finding:
            self._start(self._find_wanted())
        return await found

    async def _find_wanted(self) -> None:
        self._is_finding = True
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, []
                try:
                    rows = await self._context.runs.get_many(set().union(*(ids for ids, _ in wanted)))
                except Exception as error:
                    for _, found in wanted:
                        if not found.done():
                            found.set_exception(error)
                else:
                    for _, found in wanted:
                        if not found.done():
                            found.set_result(rows)
        finally:
            self._is_finding = False

    # ------------------------------------------------------------ spool

    async def watch(self) -> None:
        """Spool what waits too long, and answer in time even if the spool does not. A loop."""
        clock, limit = self._context.clock, self._context.tuning.spool_after_s
        last_moment = self._context.tuning.report_limit_s - 2 * SPOOL_CHECK_S
        while True:
            await clock.sleep(SPOOL_CHECK_S)
            now = clock.monotonic()
            for waiting in self._spooling:
                if not waiting.durable.done() and now - waiting.since >= last_moment:
                    waiting.durable.set_result(False)
            self._spooling = [waiting for waiting in self._spooling if not waiting.durable.done()]
            while self._waiting and (
                self._waiting[0].durable.done() or now - self._waiting[0].since >= limit
            ):
                waiting = self._waiting.popleft()
                if not waiting.durable.done():
                    self._spool_soon(waiting)

    def _spool_soon(self, waiting: _Waiting) -> None:
        self._spooling.append(waiting)
        self._start(self._spool_one(waiting))

    async def _spool_one(self, waiting: _Waiting) -> None:
        spooled = await self._to_spool(waiting.results, waiting.client)
        if not waiting.durable.done():
            waiting.durable.set_result(spooled)

    async def _to_spool(self, results: Sequence[ExecutorResult], client: str) -> bool:
        try:
            await self._spool.append(results, client)
        except GatewayError as error:
            log.error("spool_refused", results=len(results), error=str(error))
            return False
        self._context.counters.add("results_spooled", len(results))
        return True

    async def replay(self) -> None:
        """Empty the spool into the database, by another node while this one is cut off from it.

        Raises `StoreError` if neither takes it; nothing is lost then.
        """
        while self._can_write and (batch := await self._spool.oldest()) is not None:
            name, entries = batch
            while piece := entries[self._replayed : self._replayed + REPLAY_AT_ONCE]:
                by_client: dict[str, list[ExecutorResult]] = {}
                for result, client in piece:
                    by_client.setdefault(client, []).append(result)
                for client, results in by_client.items():
                    await self._store_anywhere(results, client)
                self._replayed += len(piece)
            self._replayed = 0  # whatever becomes of the file: what comes twice does no harm
            await self._spool.forget(name)
            log.info("spool_replayed", results=len(entries))

    @property
    def _can_write(self) -> bool:
        return self._context.writer.healthy or self._elsewhere.are_there

    async def _store_anywhere(self, results: Sequence[ExecutorResult], client: str) -> None:
        if not self._context.writer.healthy:
            if not await self._pass_on(results, client):
                raise StoreError("no node that reaches the database takes the spool's results")
            return
        try:
            async with asyncio.timeout(STORE_LIMIT_S):
                await self.store(results, client)
        except TimeoutError:  # the writer tries for as long as it takes; another node may be able to
            raise StoreError("the database does not take the spool's results") from None

    async def _pass_on(self, results: Sequence[ExecutorResult], client: str) -> bool:
        if not await self._elsewhere.pass_results(results, client):
            return False
        self._context.counters.add("results_passed_on", len(results))
        return True


def _settle(durable: asyncio.Future[bool], lost: frozenset[int] | Exception) -> None:
    """A committed batch is durable whatever it lost: a run that could not end so had ended before."""
    if durable.done():
        return
    if isinstance(lost, Exception):
        durable.set_result(False)
    else:
        durable.set_result(True)


def _why_foreign(result: ExecutorResult, run: Run | None) -> str | None:
    if run is None:
        return "no run has this log id"
    if run.state not in IN_FLIGHT | ENDED_BY_RESULT | {RunState.LOST} and not run.address:
        return "the run was never sent"
    if run.shard == BROADCAST_PARENT:
        return "it is the parent of shards, and was never sent"
    matches = matches_old_run if run.trigger_kind is TriggerKind.IMPORTED else matches_run
    if not matches(result, run.trigger_ms):
        return "the log time is not this run's"
    return None


def _late_end(run: Run, result: ExecutorResult, flight: Flight | None) -> End:
    stop, again = None, False
    if run.state is RunState.STOPPING:
        stop, again = run.outcome or RunState.STOPPED, run.sequel == Sequel.AGAIN
    elif flight is not None and flight.stop_asked:
        stop, again = flight.stop_outcome, flight.stop_again
    reason = LATE if run.state is RunState.LOST else None  # one that was stopped says why already
    if again and came_first(result):
        stop, again, reason = None, False, SPARED
    return End(
        seed_of(run),
        outcome_of(result.code, stop=stop),
        result.code,
        result.message,
        reason,
        run.sent_ms or (flight.order.sent_ms if flight else 0) or result.received_ms,
        run.answered_ms or (flight.answered_ms if flight else 0) or result.received_ms,
        result.received_ms,
        # What followed the end of an old admin's run was that one's to decide.
        is_last=run.trigger_kind is TriggerKind.IMPORTED,
        again=again,
    )
