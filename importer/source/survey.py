"""What a database has under the names of XXL-JOB's tables, and what it may be hiding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from importer.errors import SourceError
from importer.source.catalog import Table, read_tables, table_names
from importer.source.connection import Connection, NoColumn, NoRight, NoTable, quoted
from importer.source.fetch import no_right
from importer.source.names import NEW, OLD, QUARTZ, STOCK, name_here, spellings


class Survey:
    """`new`, `old`, `quartz`: tables by what they are. `others`: names of tables that are none of these."""

    def __init__(self, connection: Connection, database: str, table_map: Mapping[str, str]) -> None:
        self.connection = connection
        self.database = database
        self.table_map = table_map
        self.notes: list[str] = []
        self.new: dict[str, Table] = {}
        self.old: dict[str, Table] = {}
        self.quartz: dict[str, Table] = {}
        self.others: Sequence[str] = ()

    async def look(self) -> None:
        names = await table_names(self.connection)
        here = {stock: spellings(name_here(stock, self.table_map), names) for stock in STOCK}
        used = {name for some in here.values() for name in some}
        found = await read_tables(self.connection, used)
        for kinds, tables in ((NEW, self.new), (OLD, self.old), (QUARTZ, self.quartz)):
            for kind, stock in kinds.items():
                if candidates := [found[name] for name in here[stock] if name in found]:
                    tables[kind] = await self._one_of(candidates)
        self.others = [name for name in names if name not in used]
        for stock, name in self.table_map.items():
            if stock in STOCK and not here[stock]:
                raise SourceError(
                    f"--table-map: {self.database} has no table {name} (for {stock}) that this account may see"
                )

    async def _one_of(self, candidates: Sequence[Table]) -> Table:
        """Of several that differ only by case: the first that holds something."""
        chosen = candidates[0]
        if len(candidates) == 1:
            return chosen
        for table in candidates:
            if await self.has_rows(table):
                chosen = table
                break
        rest = ", ".join(table.name for table in candidates if table is not chosen)
        self.notes.append(f"{chosen.name} was read; {rest} differs from it only by case and was not")
        return chosen

    async def has_rows(self, table: Table) -> bool:
        try:
            return bool(await self.connection.rows(f"SELECT 1 FROM {table.sql} LIMIT 1"))
        except NoRight:
            raise await no_right(self.connection, table.name) from None

    async def hidden(self, stock: str) -> str:
        """The name of a table that is not seen, if that may be for want of a right; '' if it does not exist."""
        name = name_here(stock, self.table_map)
        for spelled in dict.fromkeys((name.upper() if stock not in NEW.values() else name, name)):
            try:
                await self.connection.rows(f"SELECT 1 FROM {quoted(spelled)} LIMIT 0")
            except NoRight:
                return spelled
            except NoTable:
                continue
        return ""

    async def is_hidden_column(self, table: Table, column: str) -> bool:
        """Whether a column that is not seen may be there, for want of a right."""
        try:
            await self.connection.rows(f"SELECT {quoted(column)} FROM {table.sql} LIMIT 0")
        except NoRight:
            return True
        except NoColumn:
            return False
        return False
