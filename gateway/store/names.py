"""Names that callers give to what they submit: each is taken once, whoever comes at the same moment.

Many names in few statements: all are inserted where they are free, then those of others are read under the locks that
this took.
A name kept for longer than its time is given up by deleting it and inserting it again, under the same locks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.core.model import NewRun
from gateway.core.work import KeyedCall, TaskName
from gateway.store.sqltext import MAX_TEXT, Quoter, insert_in_chunks

NAMES_A_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class Taken:
    """Names and keys that others have, by the runs that wanted them; and the runs that are not inserted for that."""

    names: Mapping[int, int] = field(default_factory=dict)
    keys: Mapping[int, int] = field(default_factory=dict)
    runs: frozenset[int] = frozenset()

    def free(self, inserts: list[NewRun]) -> list[NewRun]:
        return [row for row in inserts if row.id not in self.runs] if self.runs else inserts


NOTHING_TAKEN = Taken()


@dataclass(frozen=True, slots=True)
class Tools:
    """An open transaction, as far as names need it."""

    quote: Quoter
    execute: Callable[[str], Awaitable[int]]
    rows: Callable[[str], Awaitable[list[tuple[Any, ...]]]]
    is_sqlite: bool


async def take_names(names: Sequence[TaskName], keyed: Sequence[KeyedCall], tools: Tools) -> Taken:
    """Take what is free. Of a call whose key is taken, no name is."""
    calls = [
        Entry(
            one.namespace_id,
            one.key,
            one.run_id,
            one.created_ms,
            one.free_before_ms,
            f",{tools.quote(one.request_hash)},{tools.quote(one.record)}",
        )
        for one in keyed
    ]
    keys = await _Table("idempotency_key", "key_text", ",request_hash,record", tools).take(calls)
    refused = frozenset(run_id for call in keyed if call.run_id in keys for run_id in call.run_ids)
    tasks = [
        Entry(one.namespace_id, one.task_id, one.run_id, one.created_ms, one.free_before_ms)
        for one in names
        if one.run_id not in refused
    ]
    taken = await _Table("task", "task_id", "", tools).take(tasks)
    return Taken(taken, keys, refused | taken.keys())


Key = tuple[int, str]  # namespace and name


class Entry(NamedTuple):
    """A name as a row of its table: `values` follow the four columns that every table of names has."""

    namespace_id: int
    name: str
    run_id: int
    created_ms: int
    free_before_ms: int
    values: str = ""


class _Table:
    """One table of names."""

    def __init__(self, table: str, key: str, columns: str, tools: Tools) -> None:
        self._table = table
        self._key = key
        self._columns = f"namespace_id,{key},run_id,created_ms{columns}"
        self._tools = tools
        self._tolerant = (
            " ON CONFLICT DO NOTHING" if tools.is_sqlite else " ON DUPLICATE KEY UPDATE run_id=run_id"
        )

    async def take(self, entries: Sequence[Entry]) -> dict[int, int]:
        """The runs whose name another run has, and that run. Of several with one name the first gets it."""
        if not entries:
            return {}
        wanted = sorted(entries, key=lambda one: (one.namespace_id, one.name, one.run_id))
        firsts: dict[Key, Entry] = {}
        for entry in wanted:
            firsts.setdefault((entry.namespace_id, entry.name), entry)
        claimants = list(firsts.values())
        await self._insert(claimants)
        others = await self._others(claimants)
        stale = [firsts[key] for key, (_, at_ms) in others.items() if at_ms < firsts[key].free_before_ms]
        if stale:
            for namespace_id, chunk in _chunks(stale):
                await self._tools.execute(
                    f"DELETE FROM {self._table} WHERE namespace_id={namespace_id} AND {self._key} IN "
                    f"({self._list(chunk)}) AND created_ms<{max(one.free_before_ms for one in chunk)}"
                )
            await self._insert(stale)
            for entry in stale:
                del others[entry.namespace_id, entry.name]
            others |= await self._others(stale)
        taken: dict[int, int] = {}
        for entry in wanted:
            key = entry.namespace_id, entry.name
            owner = others[key][0] if key in others else firsts[key].run_id
            if owner != entry.run_id:
                taken[entry.run_id] = owner
        return taken

    async def _insert(self, entries: Sequence[Entry]) -> None:
        head = f"INSERT INTO {self._table} ({self._columns}) VALUES "
        tuples = (
            f"({one.namespace_id},{self._tools.quote(one.name)},{one.run_id},{one.created_ms}{one.values})"
            for one in entries
        )
        for sql in insert_in_chunks(head, tuples, self._tolerant):
            await self._tools.execute(sql)

    async def _others(self, entries: Sequence[Entry]) -> dict[Key, tuple[int, int]]:
        """The names that other runs have, with the run and since when: few rows of thousands, for a driver in Python."""
        found: dict[Key, tuple[int, int]] = {}
        for namespace_id, chunk in _chunks(entries):
            for name, run_id, created_ms in await self._tools.rows(
                f"SELECT {self._key},run_id,created_ms FROM {self._table} "
                f"WHERE namespace_id={namespace_id} AND {self._key} IN ({self._list(chunk)}) "
                f"AND run_id NOT IN ({','.join(str(one.run_id) for one in chunk)})"
            ):
                found[namespace_id, name] = run_id, created_ms
        return found

    def _list(self, entries: Sequence[Entry]) -> str:
        return ",".join(self._tools.quote(one.name) for one in entries)


def _chunks(entries: Sequence[Entry]) -> Iterator[tuple[int, Sequence[Entry]]]:
    start = 0
    while start < len(entries):
        namespace_id, end, size = entries[start].namespace_id, start, 0
        while (
            end < len(entries)
            and end - start < NAMES_A_STATEMENT
            and size < MAX_TEXT
            and entries[end].namespace_id == namespace_id
        ):
            size += len(entries[end].name)
            end += 1
        yield namespace_id, entries[start:end]
        start = end
