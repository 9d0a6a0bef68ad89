"""Every store is held to the same suite, on SQLite and on MariaDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.store.engine import Database, database_url, open_database
from gateway.store.tables import metadata
from tests.kit.blank_database import blank_database
from tests.kit.operations import StillClock


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with all tables; no connection may be left checked out at the end."""
    is_sqlite = request.param == "sqlite"
    url = blank_database(tmp_path) if is_sqlite else request.getfixturevalue("mariadb_url")
    database = open_database(database_url(url))
    if not is_sqlite:
        async with database.write() as conn:
            await conn.run_sync(metadata.create_all)
    yield database
    for engine in {database.reader, database.writer}:
        assert engine.pool.checkedout() == 0
    await database.close()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def rows(db: Database):
    """All rows of a table as dictionaries."""

    async def read(table):
        async with db.read() as conn:
            return [dict(row) for row in (await conn.execute(select(table))).mappings()]

    return read
