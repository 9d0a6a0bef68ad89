"""Which schema a database has, and how it gets the present one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, inspect, text

from gateway.core.errors import Refused
from gateway.core.model import PARTS
from gateway.store.engine import Database
from gateway.store.tables import metadata, namespace, part, setting
from gateway.store.tables import revision as counts

HEAD = "0005"
"""The revision this code works with; a test holds it equal to the newest migration."""


async def revision(db: Database) -> str | None:
    """The revision of this database, None for an empty one. Raises `Refused` for a database of someone else."""

    def read(conn: Connection) -> str | None:
        tables = set(inspect(conn).get_table_names())
        if "alembic_version" in tables:
            return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if tables:
            found = ", ".join(sorted(tables)[:5])
            raise Refused(
                f"the database holds other tables ({found} …): name an empty database or one of a gateway"
            )
        return None

    async with db.read() as conn:
        return await conn.run_sync(read)


async def oldest(db: Database) -> str | None:
    """The oldest revision whose code may work on this database, None where it does not say.

    During a rolling upgrade the schema is newer than the nodes that have not been restarted yet.
    """

    def read(conn: Connection) -> str | None:
        if "setting" not in inspect(conn).get_table_names():
            return None
        stated = conn.execute(text("SELECT value FROM setting WHERE name='oldest_schema'")).scalar()
        found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
        schema, _, first = (stated or "").partition(":")
        return first if schema == found else None

    async with db.read() as conn:
        return await conn.run_sync(read)


async def create(db: Database) -> None:
    """The present schema in an empty database, at once: what all migrations come to, as a test holds it.

    For the embedded one, on whose first start nobody should wait for Alembic, which takes as long as all else.
    """
    async with db.write() as conn:
        await conn.run_sync(lambda conn: metadata.create_all(conn, checkfirst=False))
        await conn.execute(insert(namespace).values(id=1, name="default"))
        await conn.execute(insert(part), [{"id": number} for number in range(PARTS)])
        await conn.execute(insert(counts), [{"name": name, "n": 0} for name in ("app", "executor", "job")])
        await conn.execute(insert(setting).values(name="oldest_schema", value=f"{HEAD}:0001"))
        key = "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
        await conn.execute(text(f"CREATE TABLE alembic_version ({key})"))
        await conn.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


async def upgrade(db: Database) -> None:
    """Bring the database to HEAD, one migration after the other."""

    def run(conn: Connection) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.attributes["connection"] = conn
        command.upgrade(config, HEAD)

    async with db.write() as conn:
        await conn.run_sync(run)


async def durability_problems(db: Database) -> list[str]:
    """What in the server's settings would let a committed run disappear."""
    if db.is_sqlite:
        return []
    async with db.read() as conn:
        wanted = "('innodb_flush_log_at_trx_commit','sync_binlog','log_bin','innodb_doublewrite')"
        rows: Any = await conn.execute(text(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {wanted}"))
        settings = {name.lower(): str(value).lower() for name, value in rows}
    problems: list[str] = []
    flush = settings.get("innodb_flush_log_at_trx_commit")
    if flush is not None and flush != "1":
        problems.append(
            f"innodb_flush_log_at_trx_commit is {flush}: a crash loses committed runs; set it to 1"
        )
    if settings.get("log_bin") in ("on", "1") and settings.get("sync_binlog") != "1":
        problems.append(f"sync_binlog is {settings.get('sync_binlog')}: a replica may miss runs; set it to 1")
    return problems


async def durability_warnings(db: Database) -> list[str]:
    """What may lose runs in a fail-over, though not here."""
    if db.is_sqlite:
        return []
    async with db.read() as conn:
        try:
            replicas = (await conn.execute(text("SHOW SLAVE HOSTS"))).all()
        except Exception:
            return []
    if replicas:
        return [
            f"{len(replicas)} asynchronous replica(s): a fail-over to one of them can lose the last commits"
        ]
    return []
