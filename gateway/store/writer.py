"""Group commit: one transaction for all that waits when the previous one is done.

Stages submit `Work`; the writer merges what has come into one transaction. The usual case is optimistic:
guarded updates whose number of matched rows must equal the number of moves. When one does not match, the
transaction is rolled back and repeated carefully: rows are locked and read first, and every guard is judged
one by one. The careful form is also the one that follows a commit whose outcome is unknown, because it
recognises what has already been applied.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.errors import LeaseLost, StoreError
from gateway.core.model import Counters, NewRun
from gateway.core.ports import (
    NOTHING_LOST,
    After,
    JobFire,
    LazySource,
    Lease,
    Move,
    OnWritten,
    TaskName,
    Value,
    Work,
    Written,
)
from gateway.core.states import OPEN
from gateway.store.engine import Database, is_conflict, is_gone, is_refused, is_repeatable
from gateway.store.sqltext import in_list, in_lists, insert_runs, quote_mysql, quote_sqlite, update_by_id

log = structlog.get_logger(__name__)

LAZY_S = 0.2
MAX_ROWS = 2000
FLUSH_TIMEOUT_S = 10.0
_ATTEMPTS = 3
_BACKOFF_S = (0.05, 0.2, 0.5, 1.0)


class _GuardMissedError(Exception):
    """An optimistic statement matched fewer rows than it named."""


class _RefusedError(Exception):
    """The database will never take this."""


@dataclass(slots=True)
class _Merged:
    """Several works as one transaction."""

    lease: Lease | None = None
    fires: list[JobFire] = field(default_factory=list)
    names: list[TaskName] = field(default_factory=list)
    inserts: list[NewRun] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)

    @classmethod
    def of(cls, works: Iterable[Work]) -> _Merged:
        merged = cls()
        for work in works:
            merged.lease = work.lease or merged.lease
            merged.fires.extend(work.fires)
            merged.names.extend(work.names)
            merged.inserts.extend(work.inserts)
            merged.moves.extend(work.moves)
        merged.fires.sort(key=lambda fire: fire.job_id)
        merged.moves.sort(key=lambda move: move.run_id)
        return merged


class GroupWriter:
    """Implements `core.ports.Writer` on a database. `run` is the loop; nothing is written before it starts.

    `renew_last` renews a lease at the end of a transaction instead of its beginning: for a second writer beside
    one that claims, which must not wait for the node's row during a long insert.
    """

    def __init__(self, db: Database, clock: Clock, counters: Counters, *, renew_last: bool = False) -> None:
        self._db = db
        self._renew_last = renew_last
        self._clock = clock
        self._counters = counters
        self._quote = quote_sqlite if db.is_sqlite else quote_mysql
        self._tolerant = " ON CONFLICT DO NOTHING" if db.is_sqlite else " ON DUPLICATE KEY UPDATE id=id"
        self._waiting: list[tuple[Work, OnWritten]] = []
        self._lazy: list[LazySource] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.healthy = True

    # ------------------------------------------------------------ port

    def submit(self, work: Work, on_written: OnWritten) -> None:
        self._waiting.append((work, on_written))
        self._idle.clear()
        self._arrived.set()

    def add_lazy(self, source: LazySource) -> None:
        self._lazy.append(source)

    async def write(self, work: Work) -> Written:
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()

        def on_written(result: Written | Exception) -> None:
            if done.done():
                return
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)

        self.submit(work, on_written)
        return await done

    async def drain(self) -> None:
        """Return when everything submitted so far, and what lazy sources hold, has been written."""
        self.submit(Work(), _ignore)
        await self._idle.wait()

    @property
    def backlog(self) -> int:
        return len(self._waiting)

    # ------------------------------------------------------------ loop

    async def run(self) -> None:
        while True:
            await self._clock.wait(self._arrived, LAZY_S)
            works = self._take()
            if works:
                await self._flush(works)
            if not self._waiting:
                self._idle.set()

    def _take(self) -> list[tuple[Work, OnWritten]]:
        works: list[tuple[Work, OnWritten]] = []
        for source in self._lazy:
            work = source()
            if work is not None:
                works.append((work, _ignore))
        rows = 0
        taken = 0
        for work, _ in self._waiting:
            rows += len(work.fires) + len(work.inserts) + len(work.moves)
            if taken and rows > MAX_ROWS:
                break
            taken += 1
        works += self._waiting[:taken]
        self._waiting = self._waiting[taken:]
        if not self._waiting:
            self._arrived.clear()
        return works

    async def _flush(self, works: Sequence[tuple[Work, OnWritten]]) -> None:
        merged = _Merged.of(work for work, _ in works)
        try:
            result: Written | Exception = await self._commit(merged)
        except LeaseLost as error:
            with_lease = [item for item in works if item[0].lease is not None]
            without = [item for item in works if item[0].lease is None]
            for _, on_written in with_lease:
                on_written(error)
            if without:
                await self._flush(without)
            return
        except _RefusedError as error:
            if len(works) > 1:
                # One bad row must not take its neighbours with it.
                middle = len(works) // 2
                await self._flush(works[:middle])
                await self._flush(works[middle:])
                return
            log.error("write_refused", error=str(error)[:300])
            result = StoreError(f"the database refuses this: {error}"[:500])
        for _, on_written in works:
            try:
                on_written(result)
            except Exception:
                log.exception("after_write_failed")

    async def _commit(self, merged: _Merged) -> Written:
        """Write until it is written. Only refused data and a lost lease get out."""
        careful = False
        unknown = False
        failures = 0
        repeats = 0
        while True:
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_S), self._db.write() as conn:
                    tx = _Transaction(self, conn, await _cursor(conn))
                    written = await (
                        tx.carefully(merged, applied_before=unknown) if careful else tx.hopefully(merged)
                    )
            except _GuardMissedError:
                careful = True
                self._counters.add("writes_repeated_carefully")
            except LeaseLost:
                raise
            except Exception as error:
                if is_conflict(error) and not careful:
                    careful = True
                    continue
                if is_conflict(error) or is_refused(error):
                    raise _RefusedError(str(error)) from error
                if is_repeatable(error):
                    repeats += 1
                    self._counters.add("transactions_repeated")
                    if repeats > _ATTEMPTS:
                        self.healthy = False
                        log.warning("transaction_keeps_failing", error=str(error)[:200])
                    await self._clock.sleep(random.uniform(0.005, 0.03) * repeats)  # noqa: S311 – jitter
                    continue
                if not is_gone(error):
                    log.error("write_failed", error=repr(error)[:300])
                careful = unknown = True
                if self.healthy:
                    log.warning("database_unavailable", error=str(error)[:200])
                self.healthy = False
                await self._clock.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            else:
                if not self.healthy:
                    log.info("database_available_again")
                self.healthy = True
                self._counters.add("commits")
                return written


class Cursor:
    """The driver's own cursor, without SQLAlchemy's result objects; counts statements."""

    __slots__ = ("_counters", "_cursor")

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def execute(self, sql: str) -> int:
        """Run finished text; the number of rows it matched."""
        await self._cursor.execute(sql)
        return int(self._cursor.rowcount)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        await self._cursor.execute(sql)
        return list(await self._cursor.fetchall())


async def _cursor(conn: AsyncConnection) -> Cursor:
    raw = await conn.get_raw_connection()
    cursor = raw.driver_connection.cursor()  # type: ignore[union-attr]
    return Cursor(await cursor if hasattr(cursor, "__await__") else cursor)


class _Transaction:
    """One attempt to write a merged work on an open transaction. Lock order: node, job, run; ids ascending."""

    def __init__(self, writer: GroupWriter, conn: AsyncConnection, cursor: Cursor) -> None:
        self._conn = conn
        self._cursor = cursor
        self._quote = writer._quote  # noqa: SLF001 – a part of the writer
        self._tolerant = writer._tolerant  # noqa: SLF001
        self._lock = writer._db.for_update  # noqa: SLF001
        self._counters = writer._counters  # noqa: SLF001
        self._renew_last = writer._renew_last  # noqa: SLF001
        self._now_ms = writer._clock.now_ms()  # noqa: SLF001

    async def _execute(self, sql: str) -> int:
        self._counters.add("statements")
        return await self._cursor.execute(sql)

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        self._counters.add("statements")
        return await self._cursor.rows(sql)

    async def _by_id(
        self, columns: str, table: str, key: str, ids: Collection[int], *, lock: bool = False
    ) -> list[tuple[Any, ...]]:
        """Rows by primary key, locked in ascending order if asked."""
        tail = f" ORDER BY {key}{self._lock}" if lock else ""
        rows: list[tuple[Any, ...]] = []
        for piece in in_lists(ids):
            rows += await self._rows(f"SELECT {columns} FROM {table} WHERE {key} IN ({piece}){tail}")
        return rows

    # -------------------------------------------------------- the usual case

    async def hopefully(self, merged: _Merged) -> Written:
        await self._renew(merged.lease, first=True)
        lost_fires, rows = await self._fire(merged.fires, applied_before=False)
        stale = await self._stale_jobs(merged.moves)
        taken = await self._name(merged.names)
        rows.extend(self._unnamed(merged, taken))
        await self._insert(rows, tolerant=False)
        moves = [move for move in merged.moves if move.job_id not in stale] if stale else merged.moves
        for sources, columns, group in _by_shape(moves):
            guard = f" AND state IN ({in_list(sources)})"
            # A claim is unique to its transaction, so one group never mixes guarded and unguarded claims.
            claims = {move.claim for move in group}
            if claims != {None}:
                guard += f" AND claim_token IN ({in_list([claim or 0 for claim in claims])})"
            pairs = [(move.run_id, _values(move, columns)) for move in group]
            for sql, expected in update_by_id("run", "id", pairs, columns, guard, self._quote):
                if await self._execute(sql) != expected:
                    raise _GuardMissedError
        await self._insert([row for move in moves for row in move.then], tolerant=False)
        await self._renew(merged.lease, first=False)
        if not (lost_fires or stale or taken):
            return NOTHING_LOST
        return Written(
            lost_fires=lost_fires,
            stale_jobs=stale,
            taken_names=taken,
            lost_moves=frozenset(move.run_id for move in merged.moves if move.job_id in stale),
        )

    # -------------------------------------------------------- after a miss or an unknown commit

    async def carefully(self, merged: _Merged, *, applied_before: bool) -> Written:
        await self._renew(merged.lease, first=True)
        lost_fires, rows = await self._fire(merged.fires, applied_before=applied_before)
        stale = await self._stale_jobs(merged.moves)
        taken = await self._name(merged.names)
        rows.extend(self._unnamed(merged, taken))
        await self._insert(rows, tolerant=True)
        present = await self._lock_runs(merged.moves)
        lost: set[int] = set()
        winners: list[Move] = []
        for move in merged.moves:
            state, claim, finished = present.get(move.run_id, (0, 0, 0))
            is_stale = move.job_version and move.job_id in stale
            if not is_stale and state in move.sources and (move.claim is None or move.claim == claim):
                winners.append(move)
                present[move.run_id] = (move.to, _claim_after(move, claim), finished)
            elif not (applied_before and _is_applied(move, state, claim, finished)):
                lost.add(move.run_id)
        for _, columns, group in _by_shape(winners):
            pairs = [(move.run_id, _values(move, columns)) for move in group]
            for sql, _ in update_by_id("run", "id", pairs, columns, "", self._quote):
                await self._execute(sql)
        await self._insert([row for move in winners for row in move.then], tolerant=True)
        await self._renew(merged.lease, first=False)
        return Written(lost_fires=lost_fires, lost_moves=frozenset(lost), stale_jobs=stale, taken_names=taken)

    async def _lock_runs(self, moves: Sequence[Move]) -> dict[int, tuple[int, int, int]]:
        ids = {move.run_id for move in moves}
        rows = await self._by_id("id,state,claim_token,finished_ms", "run", "id", ids, lock=True)
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    # -------------------------------------------------------- pieces of both

    async def _renew(self, lease: Lease | None, *, first: bool) -> None:
        if lease is None or first == self._renew_last:
            return
        matched = await self._execute(
            f"UPDATE node SET beat=beat+1,seen_ms={self._now_ms} "
            f"WHERE name={self._quote(lease.node)} AND epoch={lease.epoch}"
        )
        if matched != 1:
            raise LeaseLost

    async def _fire(
        self, fires: Sequence[JobFire], *, applied_before: bool
    ) -> tuple[frozenset[int], list[NewRun]]:
        if not fires:
            return frozenset(), []
        columns = "job_id,version,next_fire_at,enabled"
        ids = {fire.job_id for fire in fires}
        present = {
            row[0]: row[1:] for row in await self._by_id(columns, "job_next_fire", "job_id", ids, lock=True)
        }
        won: list[JobFire] = []
        rows: list[NewRun] = []
        missed: list[JobFire] = []
        for fire in fires:
            if present.get(fire.job_id) == (fire.version, fire.expected, 1):
                won.append(fire)
                rows.extend(fire.rows)
            else:
                missed.append(fire)
        lost = {fire.job_id for fire in missed}
        if missed and applied_before:
            lost -= await self._fired(missed)
        pairs = [(fire.job_id, (_further(fire),)) for fire in won]
        for sql, _ in update_by_id("job_next_fire", "job_id", pairs, ("next_fire_at",), "", self._quote):
            await self._execute(sql)
        return frozenset(lost), rows

    async def _fired(self, fires: Sequence[JobFire]) -> set[int]:
        """The jobs whose fire a commit of unknown outcome has done: only it has inserted these rows."""
        owners = {row.id: fire.job_id for fire in fires for row in fire.rows}
        return {owners[row[0]] for row in await self._by_id("id", "run", "id", owners)}

    async def _stale_jobs(self, moves: Sequence[Move]) -> frozenset[int]:
        """The jobs that are not at the version their moves were made for, or not at one version."""
        versions: dict[int, int] = {}
        for move in moves:
            if move.job_version and versions.setdefault(move.job_id, move.job_version) != move.job_version:
                versions[move.job_id] = -1
        rows = await self._by_id("job_id,version", "job_next_fire", "job_id", versions)
        present = {row[0]: row[1] for row in rows}
        return frozenset(job_id for job_id, version in versions.items() if present.get(job_id) != version)

    async def _name(self, names: Sequence[TaskName]) -> dict[str, int]:
        if not names:
            return {}
        clause = " ON CONFLICT DO NOTHING" if not self._lock else " ON DUPLICATE KEY UPDATE run_id=run_id"
        taken: dict[str, int] = {}
        for name in sorted(names, key=lambda one: (one.namespace_id, one.task_id, one.run_id)):
            key = f"namespace_id={name.namespace_id} AND task_id={self._quote(name.task_id)}"
            await self._execute(
                f"INSERT INTO task (namespace_id,task_id,run_id,created_ms) VALUES ({name.namespace_id},"
                f"{self._quote(name.task_id)},{name.run_id},{name.created_ms}){clause}"
            )
            ((run_id,),) = await self._rows(f"SELECT run_id FROM task WHERE {key}")
            if run_id != name.run_id:
                taken[name.task_id] = run_id
        return taken

    @staticmethod
    def _unnamed(merged: _Merged, taken: dict[str, int]) -> list[NewRun]:
        """The inserts whose name was free, or that have none."""
        if not taken:
            return merged.inserts
        refused = {
            name.run_id for name in merged.names if taken.get(name.task_id, name.run_id) != name.run_id
        }
        return [row for row in merged.inserts if row.id not in refused]

    async def _insert(self, rows: list[NewRun], *, tolerant: bool) -> None:
        rows.sort(key=lambda row: row.id)
        for sql in insert_runs(rows, self._quote, self._tolerant if tolerant else ""):
            await self._execute(sql)


def _claim_after(move: Move, claim: int) -> int:
    value = move.values.get("claim_token", claim)
    return value if isinstance(value, int) else claim


def _further(fire: JobFire) -> Value:
    """The next fire by its distance: jobs of one rate share it. The row is locked, so the sum is exact."""
    if fire.next_fire_at is None:
        return None
    return After("next_fire_at", fire.next_fire_at - fire.expected)


def _ignore(_result: Written | Exception) -> None:
    """What became of work that nobody waits for."""


def _is_applied(move: Move, state: int, claim: int, finished: int) -> bool:
    """Whether a commit of unknown outcome has done this move: the row carries what only it would have set."""
    if state != move.to:
        return False
    if "claim_token" in move.values:
        return claim == move.values["claim_token"]
    if "finished_ms" in move.values:
        return finished == move.values["finished_ms"]
    return True


def _by_shape(moves: Iterable[Move]) -> Iterable[tuple[frozenset[Any], tuple[str, ...], list[Move]]]:
    """Group moves that set the same columns under the same guard; each group stays in the order of ids.

    `moves` are in the order of ids; a run's second move is in a later group than its first.
    """
    groups: dict[tuple[Any, ...], list[Move]] = {}
    turn, previous = 0, 0
    for move in moves:
        turn = turn + 1 if move.run_id == previous else 0
        previous = move.run_id
        key = (turn, move.sources, tuple(move.values), move.to in OPEN, move.claim is None)
        groups.setdefault(key, []).append(move)
    for (_, sources, names, is_open, _), group in sorted(groups.items(), key=lambda item: item[0][0]):
        yield sources, ("state", *names) if is_open else ("state", "open_part", *names), group


def _values(move: Move, columns: tuple[str, ...]) -> tuple[Value, ...]:
    own = tuple(move.values.values())
    return (int(move.to), *own) if len(columns) == len(own) + 1 else (int(move.to), None, *own)
