"""Claim: runs that may start are routed, and become the moves of one transaction.

In: runs that nothing holds up. Out: `dispatching` rows with address, job version and claim token, and the flights that
carry them to the dispatcher once the transaction is committed.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.chain import chain_end
from gateway.core.claims import claim_move, skip_move, stop_move
from gateway.core.context import Context
from gateway.core.data_time import data_ms_of, params_at
from gateway.core.errors import StoreError
from gateway.core.generations import MAX_INT_ID, REST, int_ids
from gateway.core.inflight import Flight
from gateway.core.model import BROADCAST_PARENT, App, Job, NewRun, Route
from gateway.core.placement import ANYWHERE, is_drained_since
from gateway.core.ports import RunOrder
from gateway.core.reruns import Replay, is_replay
from gateway.core.routing import PROBED, Router
from gateway.core.shards import expand_move, is_pinned, shards_of
from gateway.core.states import WAITING, RunState
from gateway.core.work import JudgedBy, Move, Value
from gateway.flow.replay import Replays

_WEIGHTED = Route.WEIGHTED


class Batch:
    """`runs` are those that `moves` speak of, `waited` those among them that had to wait for a place.

    `unroutable` are runs that are due while nobody may run them, and why; `early` those that may wait for somebody.
    """

    def __init__(self, context: Context, router: Router, replays: Replays) -> None:
        self._context = context
        self._replays = replays
        self._router = router
        tuning, clock = context.tuning, context.clock
        self.now_ms = clock.now_ms()
        self._budget_ms = tuning.lease_ms - tuning.lease_margin_ms
        self._send_before = clock.monotonic() + self._budget_ms / 1000
        self._wall_before_ms = clock.wall_ms() + self._budget_ms
        self._token = context.chance.getrandbits(62)
        self.moves: list[Move] = []
        self.runs: list[NewRun] = []
        self.waited: list[NewRun] = []
        self.flights: dict[int, Flight] = {}
        self.expanded: dict[int, tuple[NewRun, ...]] = {}
        self.unroutable: list[tuple[NewRun, str]] = []
        self.early: list[NewRun] = []
        self.judged: dict[int, JudgedBy] = {}

    def skip(self, run: NewRun, reason: str, job: Job | None) -> None:
        self._add(run, skip_move(run, reason, self.now_ms, job))
        self._context.counters.add("skipped")

    def stop(self, run: NewRun, reason: str, job: Job | None) -> None:
        self._add(run, stop_move(run, reason, self.now_ms, job))

    def end(self, run: NewRun, state: RunState, reason: str, job: Job | None) -> None:
        """End a run that waited."""
        values: dict[str, Value] = {"reason": reason, "finished_ms": self.now_ms}
        chain = chain_end(run, job, self.now_ms)
        self._add(run, Move(run.id, state, WAITING, values, chain=chain))
        self._context.counters.add(state.word)

    def start(self, run: NewRun, job: Job, waited: str = "") -> None:
        """`waited`: what held it up, where its row does not say so yet."""
        addresses: Sequence[str]
        if run.addresses:
            addresses = self._of_shard(run, job, run.addresses) if is_pinned(run) else run.addresses
        elif job.placement is ANYWHERE and job.route is not _WEIGHTED:
            addresses = self._context.registry.addresses(run.app_id)
        else:
            addresses = self._among(run.app_id, job)
        if not addresses:
            if run.due_ms > self.now_ms:
                self.early.append(run)  # an executor may still come
            else:
                self.unroutable.append((run, self._why_none(run.app_id, job)))
        elif run.shard == BROADCAST_PARENT:
            replay = self._replays.get(run)
            if replay is None and is_replay(run):
                self.early.append(run)  # it has waited for a place for so long that it must be read again
                return
            if replay is None or not replay.shards:
                replay = Replay(shards_of(run, job, addresses))
            self._expand(run, job, replay)
        else:
            flight = self._fly(run, job, addresses)
            self.flights[run.id] = flight
            move = claim_move(flight, self.now_ms, self.now_ms + self._budget_ms)
            if waited := waited or run.paused_by:
                since_ms = run.waiting_ms or run.due_ms
                move.values = {**move.values, "waiting_ms": since_ms, "reason": f"waits: {waited}"}
            self._add(run, move)

    def _expand(self, run: NewRun, job: Job, replay: Replay) -> None:
        try:
            ids = self._context.ids_of(run.app_id).take(len(replay.shards))
        except StoreError:  # many parents with many shards: the reserve is filled once a second
            self.early.append(run)
            return
        move = expand_move(run, job, replay.shards, ids, self.now_ms, replay.total)
        self.expanded[run.id] = move.then
        self._add(run, move)

    def judged_by(self, app: App | None, job_id: int) -> None:
        """A claim of this job holds only while its app's limits are what they are now."""
        if app is not None and app.limited:
            judged = self.judged.setdefault(app.id, JudgedBy(app.id, app.updated_ms))
            judged.job_ids.add(job_id)

    def _add(self, run: NewRun, move: Move) -> None:
        self.runs.append(run)
        self.moves.append(move)

    def _fly(self, run: NewRun, job: Job, addresses: Sequence[str]) -> Flight:
        context = self._context
        if job.concurrency.limited and not run.addresses:
            addresses = self._idle(job.id, addresses)
        if run.app_id in context.registry.int_apps and run.id > MAX_INT_ID:
            addresses = self._for_long_id(run.app_id, addresses)
        weights = context.registry.weights(run.app_id, addresses) if job.route is _WEIGHTED else None
        address = self._router.choose(job.route, job.id, addresses, weights)
        executor = context.registry.executor(run.app_id, address)
        app = context.registry.app(run.app_id)
        params, data_ms = run.params, run.data_ms
        if data_ms or job.timing.data_offset_s is not None:
            data_ms = data_ms_of(run, job)
            params = params_at(run, job, data_ms)
        order = RunOrder(
            run_id=run.id,
            job=job,
            appname=app.appname if app else "",
            address=address,
            dialect=executor.dialect if executor else (app.dialect if app else "") or REST,
            params=params,
            shard=run.shard,
            shard_total=run.shard_total,
            trigger_ms=run.trigger_ms or max(run.due_ms, self.now_ms),
            due_ms=run.due_ms,
            send_before=self._send_before,
            wall_before_ms=self._wall_before_ms,
            data_ms=data_ms,
        )
        context.link.prepare(order)
        if (place := context.gate.places.get(run.id)) is not None:
            place.address = address
        candidates = tuple(addresses) if job.route in PROBED and not is_pinned(run) else ()
        return Flight(run, order, self._token, candidates=candidates)

    def _for_long_id(self, app_id: int, addresses: Sequence[str]) -> Sequence[str]:
        """A run that was made before the first old executor came: those that can take its id, if there are any."""
        executor = self._context.registry.executor
        able = [one for one in addresses if (has := executor(app_id, one)) and not int_ids(has.dialect)]
        return able or addresses

    def _idle(self, job_id: int, addresses: Sequence[str]) -> Sequence[str]:
        """Executors without a run of this job, if there are any: a kill there would take no other with it."""
        busy = self._context.gate.places.busy(job_id)
        return tuple(address for address in addresses if address not in busy) or addresses

    def _among(self, app_id: int, job: Job) -> Sequence[str]:
        """Where its runs may go."""
        registry = self._context.registry
        addresses = registry.addresses(app_id)
        by_weight = job.route is _WEIGHTED
        if by_weight or job.placement.label:
            return job.placement.among(addresses, registry.settings_of(app_id), by_weight=by_weight)
        return addresses

    def _why_none(self, app_id: int, job: Job) -> str:
        registry = self._context.registry
        app = registry.app(app_id)
        if app is None:
            return "the app of this job does not exist"
        by_weight = job.route is _WEIGHTED
        present, setting_of = registry.present(app_id), registry.settings_of(app_id)
        return job.placement.why_none(app.appname, present, setting_of, by_weight=by_weight)

    def _of_shard(self, run: NewRun, job: Job, addresses: Sequence[str]) -> Sequence[str]:
        """A shard stays where it was put. Its retry moves to the executor of its number if that one has left.

        So does a shard that was made before its executor began to drain; one made later was asked for by address.
        """
        (address,) = addresses
        is_drained = is_drained_since(self._context.registry.setting(run.app_id, address), run.created_ms)
        if not is_drained and run.attempt == 1:
            return addresses
        live = self._among(run.app_id, job)
        if not live:
            return live if is_drained else addresses
        return addresses if address in live else (live[run.shard if run.shard < len(live) else 0],)
