"""One attempt to write what several stages want, as one transaction.

Either hopefully (guarded updates whose matched rows are counted) or carefully (rows locked and read first,
each guard judged alone). Lock order: node, part, job, next fire, run, request; ids ascending.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.chain import ChainEnd
from gateway.core.errors import LeaseLost
from gateway.core.model import Counters, NewRun
from gateway.core.work import (
    NOTHING_LOST,
    After,
    JobFire,
    JoinEnd,
    JudgedBy,
    KeyedCall,
    Lease,
    Move,
    TaskName,
    Value,
    Work,
    Written,
)
from gateway.store.engine import Database
from gateway.store.joins import Joins
from gateway.store.names import NOTHING_TAKEN, Taken, Tools, take_names
from gateway.store.shapes import (
    applied_one,
    by_shape,
    fits,
    fits_row,
    row_after,
    values_of,
    variants,
    without_state,
)
from gateway.store.sqltext import in_list, in_lists, insert_runs, quote_mysql, quote_sqlite, update_by_id

_WITH_PAUSES = " UNION ALL SELECT 0,n FROM revision WHERE name='pause'"


class GuardMissedError(Exception):
    """An optimistic statement matched fewer rows than it named."""


@dataclass(slots=True)
class Merged:
    """Several works as one transaction."""

    lease: Lease | None = None
    fires: list[JobFire] = field(default_factory=list)
    keyed: list[KeyedCall] = field(default_factory=list)
    names: list[TaskName] = field(default_factory=list)
    inserts: list[NewRun] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    parts: set[int] = field(default_factory=set)
    requests: list[tuple[int, int]] = field(default_factory=list)
    judged: list[JudgedBy] = field(default_factory=list)
    joins: list[JoinEnd] = field(default_factory=list)
    pauses: int | None = None

    @classmethod
    def of(cls, works: Iterable[Work]) -> Merged:
        merged = cls()
        for work in works:
            merged.lease = work.lease or merged.lease
            merged.fires.extend(work.fires)
            merged.keyed.extend(work.keyed)
            merged.names.extend(work.names)
            merged.inserts.extend(work.inserts)
            merged.moves.extend(work.moves)
            merged.parts.update(work.parts)
            merged.requests.extend(work.requests)
            merged.judged.extend(work.judged)
            merged.joins.extend(work.joins)
            if work.pauses is not None:
                # Of claims made before and after a change both are lost, at worst: they are made again.
                merged.pauses = work.pauses if merged.pauses is None else min(merged.pauses, work.pauses)
        merged.fires.sort(key=lambda fire: fire.job_id)
        merged.moves.sort(key=lambda move: move.run_id)
        return merged


class Cursor:
    """The driver's own cursor, without SQLAlchemy's result objects."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def execute(self, sql: str) -> int:
        """Run finished text; the number of rows it matched."""
        await self._cursor.execute(sql)
        return int(self._cursor.rowcount)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        await self._cursor.execute(sql)
        return list(await self._cursor.fetchall())


async def open_cursor(conn: AsyncConnection) -> Cursor:
    raw = await conn.get_raw_connection()
    cursor = raw.driver_connection.cursor()  # type: ignore[union-attr]
    return Cursor(await cursor if hasattr(cursor, "__await__") else cursor)


class Transaction:
    """One attempt to write a merged work on an open transaction."""

    def __init__(
        self, db: Database, cursor: Cursor, counters: Counters, now_ms: int, *, renews: bool
    ) -> None:
        self._cursor = cursor
        self._quote = quote_sqlite if db.is_sqlite else quote_mysql
        self._tolerant = " ON CONFLICT DO NOTHING" if db.is_sqlite else " ON DUPLICATE KEY UPDATE id=id"
        self._lock = db.for_update
        self._shared_lock = db.lock_in_share_mode
        self._counters = counters
        self._renews = renews
        self._now_ms = now_ms
        self._joins = Joins(self._execute, self._rows, db.for_update, is_sqlite=db.is_sqlite)

    async def _execute(self, sql: str) -> int:
        self._counters.add("statements")
        return await self._cursor.execute(sql)

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        self._counters.add("statements")
        return await self._cursor.rows(sql)

    async def _by_id(
        self, columns: str, table: str, key: str, ids: Collection[int], *, lock: bool = False, tail: str = ""
    ) -> list[tuple[Any, ...]]:
        """Rows by primary key, locked in ascending order if asked, and what `tail` adds to them."""
        if lock:
            tail = f" ORDER BY {key}{self._lock}"
        rows: list[tuple[Any, ...]] = []
        for piece in in_lists(ids):
            rows += await self._rows(f"SELECT {columns} FROM {table} WHERE {key} IN ({piece}){tail}")
        return rows

    # -------------------------------------------------------- the usual case

    async def hopefully(self, merged: Merged) -> Written:
        await self._own(merged)
        lost_fires, rows = await self._fire(merged.fires, applied_before=False)
        if merged.joins:
            await self._joins.lock(merged.joins)
        stale, pauses_changed = await self._stale(merged)
        moves = [move for move in merged.moves if move.job_id not in stale] if stale else merged.moves
        await self._end_chains(moves)
        taken = await self._name(merged)
        rows.extend(taken.free(merged.inserts))
        await self._insert(rows, tolerant=False)
        for sources, names, group in by_shape(moves):
            optional, fixed, columns = group[0].optional, "", names
            guard = f" AND state IN ({in_list(sources)})"
            if group[0].belated:
                guard, columns = "", names[1:]
                fixed = f"state=CASE WHEN state IN ({in_list(sources)}) THEN {group[0].to:d} ELSE state END,"
            # A claim is unique to its transaction, so one group never mixes guarded and unguarded claims.
            claims = {move.claim for move in group}
            if claims != {None}:
                guard += f" AND claim_token IN ({in_list([claim or 0 for claim in claims])})"
            if group[0].sequels is not None:
                guard += f" AND sequel IN ({in_list(group[0].sequels)})"
            pairs = [(move.run_id, values_of(move, columns)) for move in group]
            for sql, expected in update_by_id("run", "id", pairs, columns, guard, self._quote, fixed):
                if await self._execute(sql) != expected and not optional:
                    raise GuardMissedError
        await self._insert([row for move in moves for row in move.then], tolerant=False)
        joins = [one for one in merged.joins if not one.instead] if merged.joins else ()
        joined = await self._join(joins, tolerant=False)
        await self._request(merged.requests)
        if not (lost_fires or stale or taken.runs or joined):
            return NOTHING_LOST
        lost = [move for move in merged.moves if move.job_id in stale]
        return _written(lost_fires, lost, stale, taken, joined, pauses_changed=pauses_changed)

    # -------------------------------------------------------- after a miss or an unknown commit

    async def carefully(self, merged: Merged, *, applied_before: bool) -> Written:
        await self._own(merged)
        lost_fires, rows = await self._fire(merged.fires, applied_before=applied_before)
        if merged.joins:
            await self._joins.lock(merged.joins)
        stale, pauses_changed = await self._stale(merged)
        chained = {move.chain.job_id for move in merged.moves if move.chain is not None}
        await self._by_id("job_id", "job_next_fire", "job_id", chained, lock=True)  # before any run
        taken = await self._name(merged)
        rows.extend(taken.free(merged.inserts))
        await self._insert(rows, tolerant=True)
        present = await self._lock_runs(merged.moves)
        lost: list[Move] = []
        winners: list[Move] = []
        belated: list[Move] = []
        otherwise: list[Move] = []
        for move in merged.moves:
            state, claim, finished, sequel = present.get(move.run_id, (0, 0, 0, 0))
            is_stale = move.job_version and move.job_id in stale
            is_paired = move.pair is None or move.pair in winners or fits_row(move.pair, present)
            fitting = next((one for one in variants(move) if fits(one, state, claim, sequel)), None)
            if not is_stale and is_paired and fitting is not None:
                winners.append(fitting)
                if fitting is not move:
                    otherwise.append(fitting)
                present[move.run_id] = row_after(fitting, claim, finished, sequel)
            elif move.belated and move.claim == claim:
                belated.append(move)
            elif applied_before and (done := applied_one(move, state, claim, finished)) is not None:
                otherwise.extend([] if done is move else [done])
            else:
                lost.append(move)
        for _, columns, group in (*by_shape(winners), *without_state(belated)):
            pairs = [(move.run_id, values_of(move, columns)) for move in group]
            for sql, _ in update_by_id("run", "id", pairs, columns, "", self._quote):
                await self._execute(sql)
        await self._end_chains(winners)
        await self._insert([row for move in winners for row in move.then], tolerant=True)
        won = set(winners)
        joined = await self._join([one for one in merged.joins if one.move in won], tolerant=True)
        await self._request(merged.requests)
        return _written(lost_fires, lost, stale, taken, joined, otherwise, pauses_changed=pauses_changed)

    async def _lock_runs(self, moves: Sequence[Move]) -> dict[int, tuple[int, int, int, int]]:
        ids = {move.run_id for move in moves}
        rows = await self._by_id("id,state,claim_token,finished_ms,sequel", "run", "id", ids, lock=True)
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

    # -------------------------------------------------------- pieces of both

    async def _own(self, merged: Merged) -> None:
        """What proves ownership, first of all: the node's beat raised at its epoch, or its parts held still."""
        lease = merged.lease
        if lease is None:
            return
        if not self._renews:
            await self._hold(lease, merged.parts)
            return
        matched = await self._execute(
            f"UPDATE node SET beat=beat+1,seen_ms={self._now_ms} "
            f"WHERE name={self._quote(lease.node)} AND epoch={lease.epoch}"
        )
        if matched != 1:
            raise LeaseLost

    async def _hold(self, lease: Lease, parts: Collection[int]) -> None:
        """Nobody takes these parts before the transaction has ended. The claims' writer need not wait for it."""
        rows = await self._rows(
            f"SELECT id FROM part WHERE id IN ({in_list(parts)}) AND node={self._quote(lease.node)} "
            f"AND epoch={lease.epoch} ORDER BY id{self._shared_lock}"
        )
        if len(rows) != len(parts):
            raise LeaseLost

    async def _fire(
        self, fires: Sequence[JobFire], *, applied_before: bool
    ) -> tuple[list[JobFire], list[NewRun]]:
        """The fires that are lost, and the rows of the others."""
        if not fires:
            return [], []
        columns = "job_id,version,next_fire_at,enabled,edition"
        ids = {fire.job_id for fire in fires}
        present = {
            row[0]: row[1:] for row in await self._by_id(columns, "job_next_fire", "job_id", ids, lock=True)
        }
        won: list[JobFire] = []
        rows: list[NewRun] = []
        missed: list[JobFire] = []
        for fire in fires:
            if present.get(fire.job_id) == (fire.version, fire.expected, 1, fire.edition):
                won.append(fire)
                rows.extend(fire.rows)
            else:
                missed.append(fire)
        if missed and applied_before:
            fired = await self._fired(missed)
            missed = [fire for fire in missed if fire.job_id not in fired]
        pairs = [(fire.job_id, (_further(fire),)) for fire in won if not fire.chain_run_id]
        for sql, _ in update_by_id("job_next_fire", "job_id", pairs, ("next_fire_at",), "", self._quote):
            await self._execute(sql)
        chains = [(fire.job_id, (None, fire.chain_run_id)) for fire in won if fire.chain_run_id]
        both = ("next_fire_at", "chain_run_id")
        for sql, _ in update_by_id("job_next_fire", "job_id", chains, both, "", self._quote):
            await self._execute(sql)
        counted = [(fire.job_id, (fire.fired,)) for fire in won if fire.fired]
        for sql, _ in update_by_id("job_next_fire", "job_id", counted, ("fired",), "", self._quote):
            await self._execute(sql)
        return missed, rows

    async def _end_chains(self, moves: Iterable[Move]) -> None:
        """Jobs whose chain these runs are go on: at once in the same transaction, and once only.

        A run that is its job's chain no more, or never was, changes nothing.
        """
        ends: dict[int, ChainEnd] = {}
        for move in moves:
            if move.chain is not None:
                ends.setdefault(move.chain.link, move.chain)
        if not ends:
            return
        mine = f" AND job_id IN ({in_list({end.job_id for end in ends.values()})})"
        ordered = sorted(ends.values(), key=lambda end: end.job_id)
        # The link is the key of both statements, so it is what they change last: MySQL assigns from left to right.
        next_fires = [(end.link, (After("chain_delay_ms", end.ended_ms), end.ended_ms, 0)) for end in ordered]
        columns = ("next_fire_at", "chain_end_ms", "chain_run_id")
        guard = mine + " AND enabled=1 AND chain_delay_ms>0"
        for sql, _ in update_by_id("job_next_fire", "chain_run_id", next_fires, columns, guard, self._quote):
            await self._execute(sql)
        others = [(end.link, (end.ended_ms, 0)) for end in ordered]
        for sql, _ in update_by_id("job_next_fire", "chain_run_id", others, columns[1:], mine, self._quote):
            await self._execute(sql)

    async def _fired(self, fires: Sequence[JobFire]) -> set[int]:
        """The jobs whose fire a commit of unknown outcome has done: only it has inserted these rows."""
        owners = {row.id: fire.job_id for fire in fires for row in fire.rows}
        return {owners[row[0]] for row in await self._by_id("id", "run", "id", owners)}

    async def _stale(self, merged: Merged) -> tuple[frozenset[int], bool]:
        """The jobs that were changed, or their apps, since their claims were made. True: pauses were, so it is all."""
        versions: dict[int, int] = {}
        for move in merged.moves:
            if move.job_version and versions.setdefault(move.job_id, move.job_version) != move.job_version:
                versions[move.job_id] = -1  # not at one version
        tail = "" if merged.pauses is None else _WITH_PAUSES
        rows = await self._by_id("job_id,version", "job_next_fire", "job_id", versions, tail=tail)
        present = {row[0]: row[1] for row in rows}
        if versions and merged.pauses is not None and present.get(0, 0) != merged.pauses:
            return frozenset(versions), True
        stale = frozenset(job_id for job_id, version in versions.items() if present.get(job_id) != version)
        return (stale | await self._judged_otherwise(merged.judged) if merged.judged else stale), False

    async def _judged_otherwise(self, judged: Sequence[JudgedBy]) -> set[int]:
        """The jobs whose claims were judged by limits that are not those of their app now."""
        rows = await self._by_id("id,updated_ms", "app", "id", {one.app_id for one in judged})
        present = {row[0]: row[1] for row in rows}
        return {
            job_id for one in judged if present.get(one.app_id) != one.updated_ms for job_id in one.job_ids
        }

    async def _name(self, merged: Merged) -> Taken:
        """Which names and keys of this work others have, and what is not inserted for that."""
        if not merged.names and not merged.keyed:
            return NOTHING_TAKEN
        tools = Tools(self._quote, self._execute, self._rows, is_sqlite=not self._lock)
        return await take_names(merged.names, merged.keyed, tools)

    async def _request(self, requests: Sequence[tuple[int, int]]) -> None:
        if not requests:
            return
        values = ",".join(f"({run_id},{part})" for run_id, part in sorted(requests))
        tolerant = " ON CONFLICT DO NOTHING" if not self._lock else " ON DUPLICATE KEY UPDATE run_id=run_id"
        await self._execute(f"INSERT INTO request (run_id,part) VALUES {values}{tolerant}")

    async def _join(self, joins: Sequence[JoinEnd], *, tolerant: bool) -> Collection[int]:
        """The runs of children that have waited for the last of these ends."""
        if not joins:
            return ()
        last = await self._joins.count(joins, self._now_ms)
        await self._insert([one.row for one in last], tolerant=tolerant)
        await self._request([(one.row.id, one.row.part) for one in last if one.is_foreign])
        return [one.row.id for one in last]

    async def _insert(self, rows: list[NewRun], *, tolerant: bool) -> None:
        rows.sort(key=lambda row: row.id)
        for sql in insert_runs(rows, self._quote, self._tolerant if tolerant else ""):
            await self._execute(sql)


def _written(
    lost_fires: Collection[JobFire],
    lost_moves: Collection[Move],
    stale: frozenset[int],
    taken: Taken,
    joined: Collection[int],
    otherwise: Collection[Move] = (),
    *,
    pauses_changed: bool = False,
) -> Written:
    return Written(
        lost_fires=frozenset(fire.job_id for fire in lost_fires),
        lost_moves=frozenset(move.run_id for move in lost_moves),
        stale_jobs=stale,
        taken_names=taken.names,
        taken_keys=taken.keys,
        losers=frozenset((*lost_fires, *lost_moves)),
        joined=frozenset(joined),
        otherwise=frozenset(otherwise),
        pauses_changed=pauses_changed,
    )


def _further(fire: JobFire) -> Value:
    """The next fire by its distance: jobs of one rate share it. The row is locked, so the sum is exact."""
    if fire.next_fire_at is None:
        return None
    return After("next_fire_at", fire.next_fire_at - fire.expected)
