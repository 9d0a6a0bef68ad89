"""Submit: what people and programs ask for becomes waiting rows.

In: submissions for one job, one at a time or thousands. Out: `queued` rows, durable before the answer, which wait for
their instant with the owner of their part; or the word that their name was used before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.core.context import Context
from gateway.core.errors import InvalidValue, KeyReused
from gateway.core.idempotency import CallRecord, CallRecords, IdempotencyKey
from gateway.core.model import Job, NewRun, TriggerKind
from gateway.core.ports import Writer
from gateway.core.submission import NAME_KEPT_MS, Submission, Submitted, run_of, wrong_time
from gateway.core.work import KeyedCall, TaskName, Work, Written

RUNS_A_COMMIT = 1000

Outcome = Submitted | InvalidValue


class Submitter:
    """`on_queued` takes rows of parts that this node holds, `on_foreign` hears of parts that have got rows elsewhere.

    Batches have a writer of their own where there is one, so that a long insert does not stand before claims.
    """

    def __init__(
        self,
        context: Context,
        records: CallRecords,
        on_queued: Callable[[Iterable[NewRun]], None],
        on_foreign: Callable[[int], None],
        batch_writer: Writer | None = None,
    ) -> None:
        self._context = context
        self._records = records
        self._on_queued = on_queued
        self._on_foreign = on_foreign
        self._batch_writer = batch_writer or context.writer

    async def one(self, job: Job, wanted: Submission, kind: TriggerKind) -> Submitted:
        """Insert a run of this job. Raises `InvalidValue`."""
        now_ms = self._context.clock.now_ms()
        problem = wrong_time(wanted, now_ms)
        if problem is not None:
            raise problem
        (run_id,) = await self._context.ids_of(job.app_id).draw(1)
        run = run_of(wanted, job, run_id, now_ms, kind)
        written = await self._write(Work(inserts=(run,), names=_names((run,), (wanted,), now_ms)))
        return Submitted(run_id, written.taken_names.get(run_id, run_id))

    async def earlier(self, namespace_id: int, key: IdempotencyKey) -> CallRecord | None:
        """What an earlier call of this key has done. Raises `KeyReused` if it was another request."""
        since_ms = self._context.clock.now_ms() - NAME_KEPT_MS
        known = await self._records.find(namespace_id, key.text, since_ms)
        if known is None:
            return None
        if known.request_hash != key.request_hash:
            raise KeyReused(key.text)
        return known.record

    async def many(
        self,
        job: Job,
        wanted: Sequence[Submission],
        kind: TriggerKind,
        key: IdempotencyKey | None = None,
        record: CallRecord | None = None,
    ) -> list[Outcome]:
        """Insert runs of this job, each for itself. With a `record` the earlier call of the key is brought to its end.

        What an earlier call has written is not written again, because its rows have the same ids.
        """
        is_first = record is None
        if record is None:
            is_short = len(wanted) <= RUNS_A_COMMIT and not any(one.task_id for one in wanted)
            run_ids = list(await self._context.ids_of(job.app_id).draw(len(wanted)))
            record = CallRecord(self._context.clock.now_ms(), run_ids, done=is_short)
        taken: dict[int, int] = {}
        for start in range(0, len(wanted), RUNS_A_COMMIT):
            work = _slice(job, wanted, kind, record, range(start, min(start + RUNS_A_COMMIT, len(wanted))))
            if key is not None and is_first and start == 0:
                work.keyed = (_call(job.namespace_id, key, record, work.inserts),)
            written = await self._write(work, self._batch_writer)
            if key is not None and work.keyed and record.run_ids[0] in written.taken_keys:
                # Somebody made the same call at the same moment: both get one answer.
                return await self.many(job, wanted, kind, key, await self.earlier(job.namespace_id, key))
            taken |= {
                row.id: written.taken_names[row.id] for row in work.inserts if row.id in written.taken_names
            }
        if key is not None and not record.done:
            record = CallRecord(record.at_ms, record.run_ids, taken, done=True)
            await self._records.finish(job.namespace_id, key.text, record.run_ids[0], record)
        return outcomes_of(wanted, CallRecord(record.at_ms, record.run_ids, taken))

    async def _write(self, work: Work, writer: Writer | None = None) -> Written:
        """All rows are of one job. Those of a part that this node does not hold are left to its owner."""
        rows = work.inserts
        is_held = not rows or rows[0].part in self._context.held
        if not is_held:
            work.requests = [(row.id, row.part) for row in rows]
        written = await (writer or self._context.writer).write(work)
        if not is_held:
            self._on_foreign(rows[0].part)
        elif not (work.keyed and work.keyed[0].run_id in written.taken_keys):
            # One commit may hold several requests of one name: the name is taken for all but the first.
            taken = written.taken_names
            self._on_queued([row for row in rows if row.id not in taken] if taken else rows)
        return written


def outcomes_of(wanted: Sequence[Submission], record: CallRecord) -> list[Outcome]:
    """The answer of a call: the same whenever it is asked for."""
    return [
        wrong_time(one, record.at_ms) or Submitted(run_id, record.taken.get(run_id, run_id))
        for one, run_id in zip(wanted, record.run_ids, strict=True)
    ]


def _slice(
    job: Job, wanted: Sequence[Submission], kind: TriggerKind, record: CallRecord, indexes: range
) -> Work:
    at_ms = record.at_ms
    good = [index for index in indexes if wrong_time(wanted[index], at_ms) is None]
    rows = [run_of(wanted[index], job, record.run_ids[index], at_ms, kind) for index in good]
    return Work(inserts=rows, names=_names(rows, [wanted[index] for index in good], at_ms))


def _names(rows: Sequence[NewRun], wanted: Sequence[Submission], now_ms: int) -> Sequence[TaskName]:
    """The name of a run that waits for its instant is kept for seven days from then."""
    return [
        TaskName(run.namespace_id, one.task_id, run.id, max(now_ms, run.due_ms), now_ms - NAME_KEPT_MS)
        for run, one in zip(rows, wanted, strict=True)
        if one.task_id
    ]


def _call(namespace_id: int, key: IdempotencyKey, record: CallRecord, rows: Sequence[NewRun]) -> KeyedCall:
    return KeyedCall(
        namespace_id,
        key.text,
        record.run_ids[0],
        record.at_ms,
        record.at_ms - NAME_KEPT_MS,
        key.request_hash,
        record.text(),
        frozenset(row.id for row in rows),
    )
