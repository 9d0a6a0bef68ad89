"""How much of an installation is held at once: tables without an end are refused before the memory is full."""

from __future__ import annotations

from collections.abc import Mapping

from importer.errors import SourceError
from importer.source.catalog import Table
from importer.source.cells import Cell

MOST_ROWS = 250_000
# Of versions of sources, of which most are known by their ids alone.
MOST_VERSIONS = 1_000_000
MOST_CHARACTERS = 1 << 29


class Bounds:
    """Counts what is held of all tables together. Raises `SourceError`."""

    def __init__(self) -> None:
        self._characters = 0

    def hold(self, table: Table, row: Mapping[str, Cell]) -> None:
        self._characters += _characters(row)
        if self._characters > MOST_CHARACTERS:
            raise SourceError(
                f"the texts of the table {table.name}, with those of the tables read before, are longer than "
                f"{MOST_CHARACTERS:,} characters: remove what nobody needs from it, or give a view of the rest by --table-map"
            )

    def release(self, row: Mapping[str, Cell]) -> None:
        self._characters -= _characters(row)

    def require(self, table: Table, rows: int, most: int) -> None:
        if rows > most:
            raise SourceError(
                f"the table {table.name} has more than {most:,} rows, as no xxl-job installation has: if it is the right one, "
                "remove what nobody needs from it, or give a view of the rest by --table-map"
            )


def _characters(row: Mapping[str, Cell]) -> int:
    return sum(len(value) for value in row.values() if isinstance(value, (str, bytes)))
