"""Plan: slots of enabled jobs become `planned` rows, a few seconds ahead.

In: jobs whose next fire is near. Out: rows in state `planned` (or `skipped` by the misfire policy), and the
job's next fire moved past them, both in one transaction under a compare-and-set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from gateway.core.chain import is_chained, link_of
from gateway.core.clock import iso_utc
from gateway.core.confine import ConfinedChain
from gateway.core.context import Context
from gateway.core.errors import LeaseLost, StoreError
from gateway.core.events import Level, Source
from gateway.core.model import Job, Misfire, NewRun, TriggerKind
from gateway.core.policy import SlotPlan, is_misfire, late_before, misfire_reason, plan_slots
from gateway.core.ports import DueJob, Writer
from gateway.core.shards import first_row
from gateway.core.specs import Spec
from gateway.core.states import RunState
from gateway.core.work import JobFire, Work, Written

log = structlog.get_logger(__name__)

JOBS_PER_LOOK = 1000
JOBS_PER_WORK = 100  # few enough that sends are not held up while their rows are prepared
SLOTS_PER_JOB = 5000
SLOTS_AT_ONCE = 100
ROWS_PER_WORK = 5000  # a transaction that takes too long is given up and begun again, for ever

OnPlanned = Callable[[list[NewRun]], object]


class Planner:
    """Moves jobs' next fires forward. `planned_until_ms` is the instant up to which every slot has its row.

    That is: every slot of the parts that this node holds.
    """

    def __init__(self, context: Context, on_planned: OnPlanned, writer: Writer | None = None) -> None:
        self._context = context
        self._writer = writer or context.writer
        self._on_planned = on_planned
        self._writes: set[asyncio.Future[Written]] = set()
        self.planned_until_ms = 0

    async def run_once(self) -> None:
        """Plan everything due by `now + near`, up to `now + far`. Returns when the rows are committed."""

        def planned_until(until_ms: int) -> None:
            self.planned_until_ms = max(self.planned_until_ms, until_ms)

        await self._look(self._context.held, self._on_planned, planned_until)

    async def run_ahead(self, parts: Collection[int]) -> list[NewRun]:
        """As `run_once`, for parts that this node owns and does not hold yet: late slots are judged together.

        The planned rows are the caller's to hand on.
        """
        planned: list[NewRun] = []
        await self._look(parts, planned.extend, lambda _: None)
        return planned

    async def settled(self) -> None:
        """Return when no rows that are now on their way to the database still are."""
        if self._writes:
            await asyncio.wait(tuple(self._writes))

    async def _look(
        self, mine: Collection[int], on_planned: OnPlanned, planned_until: Callable[[int], None]
    ) -> None:
        context = self._context
        # It stands still, else the few jobs that have just come near would always be one more look.
        near_ms = context.clock.now_ms() + context.tuning.plan_near_ms
        while True:
            due = await context.jobs.due(near_ms, JOBS_PER_LOOK, tuple(mine)) if mine else []
            await context.specs.ensure([(job.job_id, job.version) for job in due])
            chunks = [due[start : start + JOBS_PER_WORK] for start in range(0, len(due), JOBS_PER_WORK)]
            # The database may have kept us waiting: what is late is so by now.
            now_ms = context.clock.now_ms()
            moved = await asyncio.gather(*(self._plan(chunk, now_ms, mine, on_planned) for chunk in chunks))
            if any(moved):
                # Earliest first: what is due before the last of them has its rows.
                planned_until(min(near_ms, due[-1].next_fire_at) - 1)
                continue
            planned_until(near_ms)
            return

    async def _plan(
        self, due: Sequence[DueJob], now_ms: int, mine: Collection[int], on_planned: OnPlanned
    ) -> int:
        """Plan these jobs; how many of them were moved forward."""
        far_ms = now_ms + self._context.tuning.plan_far_ms
        outlooks: list[_Outlook] = []
        for one in due:
            spec = self._context.specs.get(one.job_id)
            if spec is None or spec.job.version != one.version or not spec.readable:
                continue  # edited or deleted since it was read; the next look sees the new state
            outlook = _Outlook.of(spec, one, now_ms, far_ms)
            outlooks.append(outlook)
            if len(outlook.plan.skipped) + len(outlook.plan.runs) > SLOTS_AT_ONCE:
                await self._context.clock.sleep(
                    0
                )  # after an outage this takes long, and results must be answered
        outlooks = await self._without_rows(outlooks, now_ms)
        moved = 0
        for some in _portions(outlooks):
            int_apps = frozenset(self._context.registry.int_apps) if self._context.int_ids else frozenset()
            ids, short_ids = await self._ids(some, int_apps)
            # Parts may have been let go of meanwhile; between this look and the write nothing can happen.
            fires = [
                self._fire(outlook, short_ids if outlook.job.app_id in int_apps else ids, now_ms)
                for outlook in some
                if outlook.job.part in mine
            ]
            moved += await self._write(fires, on_planned)
        return moved

    async def _ids(
        self, outlooks: Sequence[_Outlook], int_apps: Collection[int]
    ) -> tuple[Iterator[int], Iterator[int]]:
        """Ids for all their rows, and those of 32 bits for rows of these apps."""
        short = sum(outlook.rows for outlook in outlooks if outlook.job.app_id in int_apps) if int_apps else 0
        total = sum(outlook.rows for outlook in outlooks)
        ids = iter(await self._context.run_ids.draw(total - short))
        if not short or self._context.int_ids is None:
            return ids, ids
        return ids, iter(await self._context.int_ids.draw(short))

    async def _without_rows(self, outlooks: list[_Outlook], now_ms: int) -> list[_Outlook]:
        """Without late slots that have a row: one stands for all that are skipped, and must not be another's.

        A slot that had been claimed, or stopped, when its job was changed has kept its row.
        """
        late = [one for one in outlooks if one.slots and is_misfire(one.slots[0], now_ms, one.job)]
        spans = [(outlook.job.id, outlook.slots[0], outlook.slots[-1]) for outlook in late]
        present = await self._context.runs.slots_with_rows(spans) if spans else {}
        return [
            outlook.without(present[outlook.job.id], now_ms) if outlook.job.id in present else outlook
            for outlook in outlooks
        ]

    async def _write(self, fires: list[JobFire], on_planned: OnPlanned) -> int:
        """Commit these fires; how many of them moved their job."""
        if not fires:
            return 0
        parts = frozenset(fire.part for fire in fires)
        work = Work(fires=fires, lease=self._context.lease, parts=parts)
        writing = asyncio.ensure_future(self._writer.write(work))
        self._writes.add(writing)
        try:
            written = await writing
        except LeaseLost:
            raise
        except StoreError as error:
            # The database takes all but refused data: one such job must not keep the others from firing.
            if len(fires) == 1:
                log.error("job_not_planned", job_id=fires[0].job_id, error=str(error)[:300])
                return 0
            middle = len(fires) // 2
            return await self._write(fires[:middle], on_planned) + await self._write(
                fires[middle:], on_planned
            )
        finally:
            self._writes.discard(writing)
        if written.lost_fires:
            self._context.specs.invalidate(written.lost_fires)
        planned = [
            row
            for fire in fires
            if fire.job_id not in written.lost_fires
            for row in fire.rows
            if row.state is RunState.PLANNED
        ]
        self._context.counters.add("planned", len(planned))
        on_planned(planned)
        return sum(fire.job_id not in written.lost_fires for fire in fires)

    def _fire(self, outlook: _Outlook, ids: Iterator[int], now_ms: int) -> JobFire:
        job, plan = outlook.job, outlook.plan
        rows: list[NewRun] = []
        if plan.skipped:
            rows.append(_skipped(job, next(ids), plan.skipped, now_ms))
            self._context.counters.add("skipped", len(plan.skipped))
            self._context.journal.note(
                now_ms, Level.WARN, Source.JOB, job.id, "misfire", _missed(plan.skipped), name=job.name
            )
        limit_ms = late_before(now_ms, job)
        rows.extend(_planned(job, next(ids), slot, now_ms, is_catch_up=slot < limit_ms) for slot in plan.runs)
        return JobFire(
            job.id,
            job.part,
            job.version,
            outlook.expected,
            outlook.following,
            tuple(rows),
            chain_run_id=link_of(rows[0]) if rows and is_chained(job) else 0,
            fired=outlook.fired,
            edition=job.edition,
        )


@dataclass(slots=True, eq=False)
class _Outlook:
    """What is ahead of one job: its slots, divided by policy, and the next fire after them. `expected`: the present one."""

    spec: Spec
    expected: int
    slots: Sequence[int]
    plan: SlotPlan
    following: int | None
    fired: int

    @classmethod
    def of(cls, spec: Spec, due: DueJob, now_ms: int, far_ms: int) -> _Outlook:
        if isinstance(spec.schedule, ConfinedChain):
            return cls._of_chain(spec, spec.schedule, due, now_ms, far_ms)
        slots, following = _slots(spec, due.next_fire_at, far_ms)
        fired, most = 0, spec.job.timing.window.max_fires
        if most:
            slots = slots[: max(most - due.fired, 1)]
            fired = due.fired + len(slots)
            following = following if fired < most else None
        plan = _divided(spec, slots, following, now_ms, fired)
        return cls(spec, due.next_fire_at, slots, plan, following, fired)

    @classmethod
    def _of_chain(
        cls, spec: Spec, schedule: ConfinedChain, due: DueJob, now_ms: int, far_ms: int
    ) -> _Outlook:
        """An end has left the instant at which the delay is over: only here it becomes a slot, moves on, or is the last."""
        most = spec.job.timing.window.max_fires
        is_over = 0 < most <= due.fired
        slot_ms = None if is_over else schedule.slot_of(due.next_fire_at, now_ms)
        if slot_ms is None or slot_ms >= far_ms:
            return cls(spec, due.next_fire_at, (), plan_slots((), now_ms, spec.job, further=0), slot_ms, 0)
        plan = plan_slots((slot_ms,), now_ms, spec.job, further=0)
        return cls(spec, due.next_fire_at, (slot_ms,), plan, None, due.fired + 1 if most else 0)

    def without(self, present: Collection[int], now_ms: int) -> _Outlook:
        rest = [slot for slot in self.slots if slot not in present]
        return replace(self, plan=_divided(self.spec, rest, self.following, now_ms, self.fired))

    @property
    def job(self) -> Job:
        return self.spec.job

    @property
    def rows(self) -> int:
        return len(self.plan.runs) + bool(self.plan.skipped)


def _divided(spec: Spec, slots: Sequence[int], following: int | None, now_ms: int, fired: int) -> SlotPlan:
    """`following` and its successors matter only as far as they are missed too, and change what becomes of these."""
    job = spec.job
    further, most = 0, job.misfire_limits.most if job.misfire is Misfire.FIRE_ALL else 1
    if job.timing.window.max_fires:
        most = min(most, job.timing.window.max_fires - fired)
    limit_ms = late_before(now_ms, job)
    while following is not None and further < most and following < limit_ms:
        further += 1
        following = spec.schedule.next_after(following)
    return plan_slots(slots, now_ms, job, further=further)


def _portions(outlooks: Sequence[_Outlook]) -> Iterator[Sequence[_Outlook]]:
    """In their order, as many together as make no transaction too large."""
    start, rows = 0, 0
    for index, outlook in enumerate(outlooks):
        if rows and rows + outlook.rows > ROWS_PER_WORK:
            yield outlooks[start:index]
            start, rows = index, 0
        rows += outlook.rows
    if start < len(outlooks):
        yield outlooks[start:]


def _slots(spec: Spec, first_ms: int, far_ms: int) -> tuple[list[int], int | None]:
    """Slots from `first_ms` on that are due before `far_ms` (never none), and the one after them."""
    slots: list[int] = []
    slot: int | None = first_ms
    while slot is not None and (not slots or slot < far_ms) and len(slots) < SLOTS_PER_JOB:
        slots.append(slot)
        slot = spec.schedule.next_after(slot)
    return slots, slot


def _planned(job: Job, run_id: int, slot_ms: int, now_ms: int, *, is_catch_up: bool) -> NewRun:
    return first_row(
        job,
        run_id,
        TriggerKind.MISFIRE if is_catch_up else TriggerKind.SCHEDULE,
        slot_key=slot_ms,
        due_ms=job.timing.due_ms(job.id, slot_ms) if job.timing.jitter_ms else slot_ms,
        now_ms=now_ms,
        state=RunState.PLANNED,
    )


def _missed(slots: Sequence[int]) -> str:
    last = "" if len(slots) == 1 else f" to {iso_utc(slots[-1])}"
    return f"{len(slots)} skipped: {iso_utc(slots[0])}{last} found too late"


def _skipped(job: Job, run_id: int, slots: Sequence[int], now_ms: int) -> NewRun:
    row = _planned(job, run_id, slots[0], now_ms, is_catch_up=False)
    row.state = RunState.SKIPPED
    row.due_ms = slots[0]
    row.reason = misfire_reason(slots[0], now_ms, job)
    row.last_slot_ms = slots[-1]
    row.slot_count = len(slots)
    row.finished_ms = now_ms
    return row
