"""The steps of an import: what is looked at before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.app.data_dir import lock_data_dir
from gateway.cli.target import settings_of
from gateway.core.errors import Refused
from gateway.store import schema
from gateway.store.engine import database_url, open_database
from importer.errors import SourceError
from importer.move import Move
from importer.source.source import SourceOptions
from importer.source.url import parse_source
from importer.source.values import SourceGroup
from tests.kit.mariadb import PASSWORD, USER, MariadbServer
from tests.kit.xxl_databases import XxlDatabase

pytestmark = pytest.mark.mariadb


@pytest.fixture
def old(make: Callable[..., XxlDatabase]) -> XxlDatabase:
    database = make("3.0.0")
    database.fill(groups=[SourceGroup("1", "billing", "账单", 0)])
    return database


@pytest.fixture
def empty_url(source_server: MariadbServer) -> Iterator[str]:
    """Of a database for a gateway, without any table."""
    source_server.execute(f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    yield source_server.create_database("for_a_gateway")
    source_server.drop_database("for_a_gateway")


def move(old: XxlDatabase, **settings: object) -> Move:
    url = parse_source(old.url)
    return Move(url, SourceOptions(), settings_of(settings), url.name)


async def test_a_running_gateway_on_sqlite_is_refused_where_it_would_be_in_the_way(
    old: XxlDatabase, tmp_path: Path
):
    settings = {"data_dir": str(tmp_path)}
    db = open_database(database_url(f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}"))
    await schema.create(db)
    await db.close()
    with closing(lock_data_dir(tmp_path)):
        with pytest.raises(Refused, match=r"another gateway is running .* stop it for the moment"):
            await move(old, **settings).see(to_write=True)
        seen = await move(old, **settings).see(to_write=False)
    assert (seen.exists, seen.installation.groups[0].appname) == (True, "billing")
    assert (await move(old, **settings).see(to_write=True)).exists


async def test_a_database_without_tables_is_planned_as_empty_and_not_written(
    old: XxlDatabase, empty_url: str, tmp_path: Path
):
    settings = {"database_url": empty_url, "data_dir": str(tmp_path)}
    seen = await move(old, **settings).see(to_write=False)
    assert (seen.exists, seen.missing) == (False, "still empty: run `xxljob-gateway migrate` first")
    with pytest.raises(Refused, match="run `xxljob-gateway migrate`"):
        await move(old, **settings).see(to_write=True)


async def test_an_older_embedded_database_is_not_upgraded_by_a_look(old: XxlDatabase, tmp_path: Path):
    db = open_database(database_url(f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}"))
    await schema.create(db)
    async with db.write() as conn:
        await conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")
    with pytest.raises(Refused, match=r"at schema 0004, .* run `xxljob-gateway migrate`"):
        await move(old, data_dir=str(tmp_path)).see(to_write=False)
    assert await schema.revision(db) == "0004"
    await db.close()


async def test_a_source_that_is_none_is_said_in_one_message(old: XxlDatabase, tmp_path: Path):
    old.execute(f"DROP TABLE {old.table('info')}")
    with pytest.raises(SourceError):
        await move(old, data_dir=str(tmp_path / "new")).see(to_write=True)
    assert list(tmp_path.iterdir()) == []
