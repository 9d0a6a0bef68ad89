"""What must be true of a database before a node works on it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from gateway.core.clock import SystemClock
from gateway.core.errors import GatewayError, Refused
from gateway.settings import Settings
from gateway.store import schema
from gateway.store.engine import Database, SQLAlchemyError, database_url, is_full, open_database
from gateway.store.history import pass_warnings


async def prepare_database(db: Database) -> None:
    """Upgrade the embedded database; refuse an outdated or unknown schema of any other, and a full disk."""
    with full_disk_told(db):
        await _prepare(db)


@contextlib.contextmanager
def full_disk_told(db: Database) -> Iterator[None]:
    """SQLite says of a full disk that it is an I/O error, and not of which file."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if not (db.is_sqlite and is_full(error)):
            raise
        path = Path(str(db.url.database)).absolute()
        free = shutil.disk_usage(path.parent).free
        raise Refused(
            f"the database {path} cannot be used ({_said(error)}): its disk has no room left ({free:,} bytes are free); "
            "make some, then give the same command again"
        ) from error


async def _prepare(db: Database) -> None:
    found = await schema.revision(db)
    wrong = wrong_schema(found, await schema.oldest(db))
    if wrong is None:
        return
    if db.is_sqlite and (found is None or found < schema.HEAD):
        await (schema.create(db) if found is None else schema.upgrade(db))
        return
    raise Refused(wrong)


def wrong_schema(found: str | None, oldest: str | None) -> str | None:
    """What to do about a database of this revision, None when this version may work on it.

    `oldest` is what the database says of the oldest version that may.
    """
    if found == schema.HEAD:
        return None
    if found is not None and found > schema.HEAD and oldest is not None and oldest <= schema.HEAD:
        return None
    if found is not None and found > schema.HEAD:
        return (
            f"the database has schema {found}, newer than this version's {schema.HEAD}: upgrade the gateway"
        )
    state = "empty" if found is None else f"at schema {found}"
    return f"the database is {state}, this version needs {schema.HEAD}: run `xxljob-gateway migrate`"


async def check_database(settings: Settings) -> tuple[list[str], list[str]]:
    """What is wrong with the database (errors, warnings); empty lists when nothing is. Changes nothing."""
    if _is_still_to_be_made(settings):
        return [], []
    db = open_database(database_url(settings.effective_database_url))
    try:
        found = await schema.revision(db)
        errors = await schema.durability_problems(db)
        wrong = wrong_schema(found, await schema.oldest(db))
        is_upgraded_by_serve = db.is_sqlite and (found is None or found < schema.HEAD)
        if wrong is not None and not is_upgraded_by_serve:
            errors.append(wrong)
        warnings = await schema.durability_warnings(db)
        if found == schema.HEAD:
            warnings += await pass_warnings(db, SystemClock().now_ms())
        return errors, warnings
    except GatewayError:
        raise
    except Exception as error:
        raise Refused(f"the database cannot be used: {_said(error)}") from None
    finally:
        await db.close()


def _is_still_to_be_made(settings: Settings) -> bool:
    """The first start makes the embedded database."""
    url = database_url(settings.effective_database_url)
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > schema.HEAD:
        raise Refused(wrong_schema(found, None) or "")


def _said(error: Exception) -> str:
    """What the database said, without SQLAlchemy's frame around it."""
    return str(getattr(error, "orig", None) or error)[:300]


async def migrate_database(settings: Settings) -> tuple[str | None, str]:
    """Upgrade the schema: the revisions before and after. Raises `Refused` with what the database says."""
    db = open_database(database_url(settings.effective_database_url))
    try:
        before = await schema.revision(db)
        _refuse_newer(before)
        await schema.upgrade(db)
    except GatewayError:
        raise
    except Exception as error:
        raise Refused(f"the database cannot be upgraded: {_said(error)}") from None
    else:
        return before, schema.HEAD
    finally:
        await db.close()
