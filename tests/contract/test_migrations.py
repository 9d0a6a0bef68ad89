"""From the first schema to the present one and back, with data, while the version before is still at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from gateway.core.clock import SystemClock
from gateway.core.cluster import FREE, Identity
from gateway.core.errors import LeaseLost
from gateway.core.model import PARTS, Executor
from gateway.core.work import Lease
from gateway.store import schema
from gateway.store.apps import AppStore
from gateway.store.engine import Database, database_url, open_database
from gateway.store.ids import app_ids
from gateway.store.nodes import Nodes
from gateway.store.tables import metadata

# What the first version wrote, as it wrote it.
OLD_ROWS = {
    "node": ("name,epoch,beat,control_address,started_ms,seen_ms", "'{0}',3,17,'',5,1795000000000"),
    "executor": (
        "app_id,address,dialect,client,registered_ms,last_beat_ms",
        "1,'http\\://{0}\\:9999/','rest','java',7,8",
    ),
    "app": (
        "id,namespace_id,appname,title,address_mode,created_ms,updated_ms",
        "{1},1,'shop {0}','Shop','auto',1,2",
    ),
    "job": (
        "id,namespace_id,app_id,part,version,name,enabled,definition,anchor_ms,created_ms,updated_ms",
        "{1},1,1,55,1,'job {0}',1,'{{}}',1,2,3",
    ),
    "job_next_fire": ("job_id,part,version,enabled,next_fire_at", "{1},55,1,1,99"),
    "run": ("id,job_id,app_id,part,slot_key,root_id,state,open_part,due_ms", "{1},1,1,55,{1},{1},2,55,4"),
    "task": ("namespace_id,task_id,run_id,created_ms", "1,'task {0}',{1},6"),
}
OLD_TABLES = (*OLD_ROWS, "namespace", "part")


def migrate(conn: Connection, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    config.attributes["connection"] = conn
    (command.downgrade if down else command.upgrade)(config, revision)


def shape(conn: Connection) -> dict[str, Any]:
    """Tables as the database itself describes them."""
    found = inspect(conn)
    tables: dict[str, Any] = {}
    for name in found.get_table_names():
        columns = {
            column["name"]: (str(column["type"]), column["nullable"], column["default"])
            for column in found.get_columns(name)
        }
        tables[name] = {
            "columns": columns,
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted(
                (one["name"], tuple(one["column_names"]), bool(one["unique"]))
                for one in found.get_indexes(name)
            ),
            "unique": sorted(tuple(one["column_names"]) for one in found.get_unique_constraints(name)),
        }
    tables.pop("alembic_version", None)
    return tables


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path):
    """Makes empty databases of one kind."""
    numbers = iter(range(100))
    server = request.getfixturevalue("mariadb_server") if request.param == "mariadb" else None
    made: list[str] = []

    def make() -> str:
        number = next(numbers)
        if server is None:
            return f"sqlite+aiosqlite:///{tmp_path / f'{number}.db'}"
        made.append(f"migrated_{id(made)}_{number}")
        return server.create_database(made[-1])

    yield make
    for name in made:
        server.drop_database(name)


@pytest.fixture
async def db(new_url) -> AsyncIterator[Database]:
    """An empty database."""
    database = open_database(database_url(new_url()))
    yield database
    await database.close()


async def rows_of(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    async with db.read() as conn:
        names = await conn.run_sync(lambda conn: inspect(conn).get_table_names())
        return {
            name: sorted(map(tuple, await conn.execute(text(f"SELECT * FROM {name}"))), key=repr)
            for name in names
        }


async def test_a_database_that_is_made_at_once_is_what_all_migrations_make(new_url) -> None:
    shapes, contents = [], []
    for make in (schema.create, schema.upgrade):
        made = open_database(database_url(new_url()))
        await make(made)
        async with made.read() as conn:
            shapes.append(await conn.run_sync(shape))
        contents.append(await rows_of(made))
        assert await schema.oldest(made) == "0001"
        await made.close()
    assert shapes[0] == shapes[1]
    assert contents[0] == contents[1]


async def to(db: Database, revision: str, *, down: bool = False) -> None:
    async with db.write() as conn:
        await conn.run_sync(lambda conn: migrate(conn, revision, down=down))


async def use_as_before(db: Database, name: str, number: int) -> None:
    """What a node of the first version does."""
    async with db.write() as conn:
        for table, (columns, values) in OLD_ROWS.items():
            await conn.execute(
                text(f"INSERT INTO {table} ({columns}) VALUES ({values.format(name, number)})")
            )


async def rows(db: Database, table: str) -> list[dict[str, Any]]:
    async with db.read() as conn:
        return [dict(row) for row in (await conn.execute(text(f"SELECT * FROM {table}"))).mappings()]


async def shape_of(db: Database) -> dict[str, Any]:
    async with db.read() as conn:
        return await conn.run_sync(shape)


async def test_all_migrations_lead_to_the_tables_of_the_code(db, new_url):
    """As the database describes those that are made at once, and as Alembic compares them."""
    await to(db, "0001")
    await use_as_before(db, "old", 1)
    await to(db, schema.HEAD)
    at_once = open_database(database_url(new_url()))
    async with at_once.write() as conn:
        await conn.run_sync(metadata.create_all)
    wanted = await shape_of(at_once)
    await at_once.close()
    found = await shape_of(db)
    assert found.keys() == wanted.keys()
    for table, description in wanted.items():
        assert found[table] == description, table

    def differences(conn: Connection) -> list[Any]:
        return compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)

    async with db.read() as conn:
        assert await conn.run_sync(differences) == []
    assert await schema.revision(db) == schema.HEAD


async def test_nothing_is_lost_on_the_way_up_and_down(db):
    await to(db, "0001")
    before = await shape_of(db)
    await use_as_before(db, "old", 1)
    kept = {table: await rows(db, table) for table in OLD_TABLES}
    await to(db, schema.HEAD)
    for table in OLD_TABLES:
        assert [_common(row, kept[table]) for row in await rows(db, table)] == kept[table], table
    await to(db, "0001", down=True)
    assert await shape_of(db) == before
    assert {table: await rows(db, table) for table in OLD_TABLES} == kept
    await to(db, schema.HEAD)  # and up again
    assert await schema.revision(db) == schema.HEAD


def _common(row: dict[str, Any], like: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: row[name] for name in like[0]}


async def test_what_the_version_before_writes_goes_on_working(db):
    """Expand first: its nodes are restarted one by one, after the migration."""
    await to(db, "0001")
    await use_as_before(db, "old", 1)
    await to(db, schema.HEAD)
    await use_as_before(db, "new", 2)
    for row in await rows(db, "node"):
        assert (row["live"], row["draining"], row["fit"]) == (1, 0, 1)
        assert (row["instance"], row["version"], row["agreed"]) == ("", "", "")
    assert {(row["rev"], row["gone"]) for row in await rows(db, "executor")} == {(0, 0)}


async def test_this_version_understands_what_the_version_before_left(db):
    await to(db, "0001")
    await use_as_before(db, "old", 1)
    async with db.write() as conn:
        await conn.execute(text("UPDATE part SET node='old', epoch=3"))
    await to(db, schema.HEAD)
    clock = SystemClock()
    nodes, apps = Nodes(db, clock, 2000), AppStore(db, clock, app_ids(db, clock))
    there, gone = await apps.executors_since(-1)
    assert (there, gone) == ([Executor(1, "http://old:9999/", "rest", "java", 7, 8)], [])
    roster = await nodes.look(())
    assert roster.members["old"].live
    assert roster.members["old"].address == ""
    assert roster.holders == dict.fromkeys(range(PARTS), ("old", 3))
    assert roster.revisions == {"app": 0, "executor": 0, "job": 0}
    # It starts beside the old node, and may end its lease once that is silent.
    lease = (await nodes.join(Identity("new", "n" * 32, "http://new:1", "0.2.0"))).lease
    assert lease == Lease("new", 1)
    assert await nodes.fence("old", 3, 17)
    await nodes.take(lease, dict.fromkeys(range(PARTS), ("old", 3)))
    assert {(row["node"], row["epoch"]) for row in await rows(db, "part")} == {("new", 1)}
    with pytest.raises(LeaseLost):
        await nodes.give(Lease("old", 3), {})
    assert FREE not in {(row["node"], row["epoch"]) for row in await rows(db, "part")}


async def test_the_present_schema_says_who_may_work_on_it(db):
    """What a rolling upgrade asks before it starts a node of the version before."""
    await to(db, "0001")
    assert await schema.oldest(db) is None
    await to(db, schema.HEAD)
    assert await schema.oldest(db) == "0001"


async def test_head_is_the_newest_migration(db):
    await to(db, "head")
    assert await schema.revision(db) == schema.HEAD
    await schema.upgrade(db)  # finds nothing to do
    assert await schema.revision(db) == schema.HEAD
