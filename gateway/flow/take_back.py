"""Take back: claims whose bytes have provably not left.

In: flights of which nothing was sent. Out: their rows `queued` again, or `skipped` where their job no longer wants them.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.claims import skip_move, why_not_back
from gateway.core.context import Context
from gateway.core.inflight import Flight
from gateway.core.model import NewRun
from gateway.core.states import RunState
from gateway.core.work import Move, Value, Work

_WITHDRAWN = frozenset({RunState.DISPATCHING})


async def take_back(context: Context, flights: Sequence[Flight], why: str) -> list[NewRun]:
    """The runs that wait again."""
    now_ms = context.clock.now_ms()
    # At once: the link says of a call that was recalled that it was not sent, and that must fail no run.
    for flight in flights:
        context.flights.pop(flight.seed.id)
        context.gate.free(flight.seed.id)
    wanted = [(job_id, 0) for job_id in {flight.seed.job_id for flight in flights}]
    await context.specs.ensure_patiently(wanted, context.clock)
    moves: list[Move] = []
    back: list[NewRun] = []
    for flight in flights:
        run, spec = flight.seed, context.specs.get(flight.seed.job_id)
        reason = why_not_back(flight, spec, now_ms)
        if reason is None:
            back.append(run)
            values: dict[str, Value] = {"reason": why, "claim_token": 0}
            moves.append(Move(run.id, RunState.QUEUED, _WITHDRAWN, values, claim=flight.claim))
        else:
            job = spec.job if spec else None
            moves.append(skip_move(run, reason, now_ms, job, sources=_WITHDRAWN, claim=flight.claim))
    # With the lease: after a take-over these rows are the new owner's to settle, who would miss the change.
    written = await context.writer.write(Work(moves=moves, lease=context.lease))
    return [run for run in back if run.id not in written.lost_moves]
