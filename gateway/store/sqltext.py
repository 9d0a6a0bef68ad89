"""Finished text for the hot statements.

SQLAlchemy builds a multi-row statement at about 100 µs a row; these builders take 1 to 3 µs, which is
what the figures of docs/performance.md need. Everything else in the store is SQLAlchemy Core. All values
pass through `Quoter`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from gateway.core.model import NewRun
from gateway.core.states import OPEN
from gateway.core.work import After, Value

SqlValue = Value
Quoter = Callable[[SqlValue], str]

MAX_TEXT = 400_000
MAX_IN_LIST = 500  # MariaDB turns longer lists (from 1,000 on) into a subquery
_MANY_VALUES = 80

_MYSQL_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"}
)


def quote_mysql(value: SqlValue) -> str:
    """A literal for a utf8mb4 connection whose sql_mode has no NO_BACKSLASH_ESCAPES."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return f"'{_encodable(value).translate(_MYSQL_ESCAPES)}'"
    return _number(value)


def quote_sqlite(value: SqlValue) -> str:
    """A literal for SQLite, whose text ends at a NUL: one in a value becomes U+FFFD."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        clean = _encodable(value).replace("'", "''").replace("\0", "�")
        return f"'{clean}'"
    return _number(value)


def _number(value: int | After) -> str:
    return f"{value.column}+{int(value.ms)}" if isinstance(value, After) else str(int(value))


def _encodable(value: str) -> str:
    if value.isascii():
        return value
    # Half a surrogate pair can arrive in JSON and has no UTF-8 form.
    return value.encode("utf-8", "replace").decode("utf-8")


_PLAIN = (
    "id,namespace_id,job_id,app_id,part,slot_key,shard,shard_total,attempt,root_id,trigger_kind,state,open_part,"
    "priority,due_ms,created_ms"
)
_EXTRA = (
    ",params,addresses,reason,last_slot_ms,slot_count,finished_ms,data_ms,expires_ms,parent_id,queue_rank,bypass,"
    "shard_name,author,starts_children,uncounted"
)


def insert_runs(rows: Sequence[NewRun], quote: Quoter, tolerant: str = "") -> Iterator[str]:
    """INSERT statements for these rows, in the order of their ids. `tolerant` is the clause for existing keys."""
    plain: list[NewRun] = []
    wide: list[NewRun] = []
    for row in rows:
        (plain if _is_plain(row) else wide).append(row)
    if plain:
        head = f"INSERT INTO run ({_PLAIN}) VALUES "
        yield from insert_in_chunks(head, (f"({_plain_values(row)})" for row in plain), tolerant)
    if wide:
        head = f"INSERT INTO run ({_PLAIN}{_EXTRA}) VALUES "
        yield from insert_in_chunks(
            head,
            (
                f"({_plain_values(row)},{quote(row.params)},{quote(join_addresses(row.addresses))},"
                f"{quote(row.reason)},{row.last_slot_ms},{row.slot_count},{row.finished_ms},{row.data_ms},"
                f"{row.expires_ms},{row.parent_id},{row.queue_rank},{row.bypass:d},{quote(row.shard_name)},"
                f"{quote(row.author)},{row.starts_children:d},{row.uncounted})"
                for row in wide
            ),
            tolerant,
        )


def _is_plain(row: NewRun) -> bool:
    """Whether all that it says is in the columns that every row names: so for almost every slot."""
    return (
        row.params is None
        and row.reason is None
        and row.addresses is None
        and not (row.data_ms or row.expires_ms or row.parent_id or row.queue_rank or row.bypass)
        and not (row.shard_name or row.author or row.uncounted)
        and row.starts_children
    )


def join_addresses(addresses: Iterable[str] | None) -> str | None:
    """How a list of addresses stands in a column: one a line."""
    return None if addresses is None else "\n".join(addresses)


def split_addresses(column: str | None) -> tuple[str, ...] | None:
    return None if column is None else tuple(column.split("\n")) if column else ()


def _plain_values(row: NewRun) -> str:
    open_part = row.part if row.state in OPEN else "NULL"
    return (
        f"{row.id},{row.namespace_id},{row.job_id},{row.app_id},{row.part},{row.slot_key},{row.shard},"
        f"{row.shard_total},{row.attempt},{row.root_id},{row.trigger_kind:d},{row.state:d},{open_part},"
        f"{row.priority},{row.due_ms},{row.created_ms}"
    )


def insert_in_chunks(head: str, tuples: Iterable[str], tail: str) -> Iterator[str]:
    """Statements of bounded length that insert these rows, in their order."""
    batch: list[str] = []
    size = 0
    for item in tuples:
        if batch and size + len(item) > MAX_TEXT:
            yield f"{head}{','.join(batch)}{tail}"
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        yield f"{head}{','.join(batch)}{tail}"


def update_by_id(
    table: str,
    key: str,
    rows: Sequence[tuple[int, tuple[SqlValue, ...]]],
    columns: Sequence[str],
    guard: str,
    quote: Quoter,
    fixed: str = "",
) -> Iterator[tuple[str, int]]:
    """UPDATE statements that set `columns` of each row to its own values, and the number of rows each must match.

    `fixed` is set for all rows alike, with a comma at its end.

    `rows` are (key, values) in ascending order of keys. A column with one value for all rows is a literal,
    any other a CASE over the keys that share a value; many different values make shorter statements, since a
    server walks the CASE for every row.
    """
    for chunk in _row_chunks(rows, len(columns)):
        ids = ",".join(str(row_id) for row_id, _ in chunk)
        sets = ",".join(f"{name}={_column(key, chunk, index, quote)}" for index, name in enumerate(columns))
        yield f"UPDATE {table} SET {fixed}{sets} WHERE {key} IN ({ids}){guard}", len(chunk)


def _row_chunks(
    rows: Sequence[tuple[int, tuple[SqlValue, ...]]], width: int
) -> Iterator[Sequence[tuple[int, tuple[SqlValue, ...]]]]:
    most = max((len({values[index] for _, values in rows}) for index in range(width)), default=1)
    limit = MAX_IN_LIST if most <= _MANY_VALUES else 200
    start = 0
    while start < len(rows):
        end, size = start, 0
        while end < len(rows) and end - start < limit and (size < MAX_TEXT or end == start):
            size += 24 + sum(len(value) for value in rows[end][1] if isinstance(value, str))
            end += 1
        yield rows[start:end]
        start = end


def _column(key: str, rows: Sequence[tuple[int, tuple[SqlValue, ...]]], index: int, quote: Quoter) -> str:
    groups: dict[SqlValue, list[int]] = {}
    for row_id, values in rows:
        groups.setdefault(values[index], []).append(row_id)
    if len(groups) == 1:
        return quote(next(iter(groups)))
    whens = " ".join(
        f"WHEN {key}={ids[0]} THEN {quote(value)}"
        if len(ids) == 1
        else f"WHEN {key} IN ({','.join(map(str, ids))}) THEN {quote(value)}"
        for value, ids in groups.items()
    )
    return f"CASE {whens} END"


def in_lists(ids: Collection[int]) -> Iterator[str]:
    """As `in_list`, in as many pieces as the length of a list allows."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), MAX_IN_LIST):
        yield ",".join(map(str, ordered[start : start + MAX_IN_LIST]))


def in_list(ids: Collection[int]) -> str:
    """Ids in ascending order for an IN list: every statement takes its locks in this order."""
    return ",".join(map(str, sorted(ids)))
