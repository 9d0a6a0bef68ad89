"""Late: results of runs that had been given up and tried again.

In: a result that is the first word of its executor. Out: the run has succeeded after all, and its next attempt does not
start, or ends without consequences; or the result is only written down. By what the rows say at that moment, in one transaction.
"""

from __future__ import annotations

import asyncio

from gateway.core.context import Context
from gateway.core.ending import End
from gateway.core.errors import StoreError
from gateway.core.late import Correction, correction, is_unheard, last_of
from gateway.core.model import ExecutorResult, Run
from gateway.core.policy import outcome_of, seed_of
from gateway.flow.ports import Finisher

TRIES = 10


async def correct(context: Context, finisher: Finisher, run_id: int, result: ExecutorResult) -> bool:
    """Write it; returns when it is committed. False if another result was faster. Raises if the database does not take it."""
    for _ in range(TRIES):  # the next attempt moves on meanwhile
        run = (await context.runs.get_many([run_id])).get(run_id)
        if run is None or not is_unheard(run):
            return False
        await finisher.prepare([run.job_id])
        last = last_of(run, await context.runs.family(run.job_id, run.slot_key))
        found = correction(run, result, last, context.clock.now_ms())
        if run_id not in await _written(finisher, _end(run, result, found)):
            context.counters.add("results_late")
            return True
    raise StoreError(f"the attempt after run {run_id} moves faster than it can be read")


def _end(run: Run, result: ExecutorResult, found: Correction) -> End:
    return End(
        seed_of(run),
        outcome_of(result.code, stop=None),
        result.code,
        result.message,
        found.reason,
        run.sent_ms or result.received_ms,
        run.answered_ms or result.received_ms,
        result.received_ms,
        late=found,
    )


async def _written(finisher: Finisher, end: End) -> frozenset[int]:
    done: asyncio.Future[frozenset[int]] = asyncio.get_running_loop().create_future()

    def on_written(lost: frozenset[int] | Exception) -> None:
        if done.done():
            return
        if isinstance(lost, Exception):
            done.set_exception(lost)
        else:
            done.set_result(lost)

    finisher.finish([end], on_written)
    return await done
