"""Which tables and columns a database has, as far as this account sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from importer.source.connection import Connection, UnknownVariable, quoted

TEXT_TYPES = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}


@dataclass(frozen=True, slots=True)
class Column:
    """`name` as it is spelled, `type` without length, in lower case. `readable`: the account has SELECT on it."""

    name: str
    type: str
    nullable: bool
    readable: bool

    @property
    def is_text(self) -> bool:
        return self.type in TEXT_TYPES


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` by their names in lower case. `rows` is the server's estimate. `indexes`: their columns, in order."""

    name: str
    columns: Mapping[str, Column]
    engine: str = ""
    auto_increment: int = 0
    rows: int = 0
    indexes: tuple[tuple[str, ...], ...] = ()
    unique: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def sql(self) -> str:
        return quoted(self.name)

    def column(self, name: str) -> str:
        """That column as SQL has it, in its own spelling."""
        return quoted(self.columns[name].name)

    def has(self, *names: str) -> bool:
        return all(name in self.columns for name in names)

    def starts_index(self, name: str) -> bool:
        return any(columns[0] == name for columns in self.indexes)


async def table_names(connection: Connection) -> list[str]:
    found = await connection.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    return sorted(_text(name) for (name,) in found)


async def read_tables(connection: Connection, names: Iterable[str]) -> dict[str, Table]:
    """Those tables by their names, with fresh counters."""
    wanted = list(names)
    if not wanted:
        return {}
    with contextlib.suppress(UnknownVariable):  # MySQL 8 keeps counters for a day otherwise
        await connection.rows("SET SESSION information_schema_stats_expiry=0")
    marks = ", ".join(["%s"] * len(wanted))
    where = f"WHERE table_schema = DATABASE() AND table_name IN ({marks})"
    columns: dict[str, dict[str, Column]] = {}
    for table, name, kind, nullable, privileges in await connection.rows(
        "SELECT table_name, column_name, data_type, is_nullable, privileges "
        f"FROM information_schema.columns {where} ORDER BY table_name, ordinal_position",
        wanted,
    ):
        spelled = _text(name)
        granted = _text(privileges or "").lower()
        columns.setdefault(_text(table), {})[spelled.lower()] = Column(
            spelled, _text(kind).lower(), _text(nullable).upper() == "YES", not granted or "select" in granted
        )
    indexes: dict[tuple[str, str], list[str]] = {}
    unique: set[tuple[str, str]] = set()
    for table, index, non_unique, column in await connection.rows(
        "SELECT table_name, index_name, non_unique, column_name "
        f"FROM information_schema.statistics {where} ORDER BY table_name, index_name, seq_in_index",
        wanted,
    ):
        key = (_text(table), _text(index))
        indexes.setdefault(key, []).append(_text(column).lower())
        if not int(non_unique):
            unique.add(key)
    tables = {}
    for table, engine, auto_increment, rows in await connection.rows(
        f"SELECT table_name, engine, auto_increment, table_rows FROM information_schema.tables {where}",
        wanted,
    ):
        name = _text(table)
        tables[name] = Table(
            name,
            columns.get(name, {}),
            _text(engine or ""),
            int(auto_increment or 0),
            int(rows or 0),
            tuple(tuple(found) for key, found in indexes.items() if key[0] == name),
            tuple(tuple(found) for key, found in indexes.items() if key[0] == name and key in unique),
        )
    return tables


def _text(value: object) -> str:
    """Some servers give the names of metadata as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
