"""Addresses that start a job. Of the part that cannot be guessed only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.acting import author
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import Source
from gateway.core.trigger_url import MOST_PER_JOB, Rules, TriggerUrl, UrlKind
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.tables import job, trigger_url
from gateway.store.transact import reading, transact

_C = trigger_url.c


class TriggerUrlStore:
    """Implements `core.trigger_url.TriggerUrls`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def create(self, job_id: int, kind: UrlKind, rules: Rules) -> tuple[TriggerUrl, str]:
        secret = secrets.token_urlsafe(32)
        values = {
            "job_id": job_id,
            "kind": kind.value,
            "secret_hash": _hash(secret),
            "rules": rules.text(),
            "author": author()[:64],
            "created_ms": self._clock.now_ms(),
        }

        async def body(conn: AsyncConnection) -> TriggerUrl:
            name = await _lock_job(conn, job_id)
            count = (
                await conn.execute(select(func.count()).select_from(trigger_url).where(_C.job_id == job_id))
            ).scalar_one()
            if count >= MOST_PER_JOB:
                raise Conflict(f"job {job_id} has {count} trigger URLs, the most that a job may have")
            await conn.execute(insert(trigger_url).values(values))
            made = await _one(conn, _C.secret_hash == values["secret_hash"])
            await self._note(conn, "trigger_url_created", job_id, name, f"{kind.value} URL {made.id}")
            return made

        return await transact(self._db, self._clock, body), secret

    async def of_job(self, job_id: int) -> list[TriggerUrl]:
        query = select(trigger_url).where(_C.job_id == job_id).order_by(_C.id)
        async with reading(self._db) as conn:
            return [_url_of(row) for row in await conn.execute(query)]

    async def change(self, job_id: int, url_id: int, rules: Rules) -> TriggerUrl:
        return await self._update(job_id, url_id, "trigger_url_changed", {"rules": rules.text()})

    async def rotate(self, job_id: int, url_id: int) -> tuple[TriggerUrl, str]:
        secret = secrets.token_urlsafe(32)
        values = {"secret_hash": _hash(secret), "rotated_ms": self._clock.now_ms()}
        return await self._update(job_id, url_id, "trigger_url_rotated", values), secret

    async def _update(self, job_id: int, url_id: int, what: str, values: dict[str, Any]) -> TriggerUrl:
        async def body(conn: AsyncConnection) -> TriggerUrl:
            name = await _lock_job(conn, job_id)
            mine = (_C.id == url_id) & (_C.job_id == job_id)
            await conn.execute(update(trigger_url).where(mine).values(**values))
            changed = await _one(conn, mine, url_id)
            await self._note(conn, what, job_id, name, f"{changed.kind.value} URL {url_id}")
            return changed

        return await transact(self._db, self._clock, body)

    async def delete(self, job_id: int, url_id: int) -> None:
        async def body(conn: AsyncConnection) -> None:
            name = await _lock_job(conn, job_id)
            mine = (_C.id == url_id) & (_C.job_id == job_id)
            if not (await conn.execute(delete(trigger_url).where(mine))).rowcount:
                raise NotFound("trigger URL", url_id)
            await self._note(conn, "trigger_url_deleted", job_id, name, f"URL {url_id}")

        await transact(self._db, self._clock, body)

    async def find(self, secret: str) -> TriggerUrl | None:
        wanted = _hash(secret)
        async with reading(self._db) as conn:
            row = (await conn.execute(select(trigger_url).where(_C.secret_hash == wanted))).one_or_none()
        # What is looked up is a hash, which tells nobody how much of a guess was right.
        return _url_of(row) if row is not None and hmac.compare_digest(row.secret_hash, wanted) else None

    async def _note(self, conn: AsyncConnection, what: str, job_id: int, name: str, text: str) -> None:
        await note(conn, self._clock.now_ms(), Source.JOB, what, [(job_id, name, text)])


async def _lock_job(conn: AsyncConnection, job_id: int) -> str:
    """Its name; held, so that no address outlives its job. Raises `NotFound`."""
    name = (await conn.execute(select(job.c.name).where(job.c.id == job_id).with_for_update())).scalar()
    if name is None:
        raise NotFound("job", job_id)
    return str(name)


async def _one(conn: AsyncConnection, mine: ColumnElement[bool], url_id: int = 0) -> TriggerUrl:
    row = (await conn.execute(select(trigger_url).where(mine))).one_or_none()
    if row is None:
        raise NotFound("trigger URL", url_id)
    return _url_of(row)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _url_of(row: Any) -> TriggerUrl:
    return TriggerUrl(
        id=row.id,
        job_id=row.job_id,
        kind=UrlKind(row.kind),
        rules=Rules.of(row.rules),
        author=row.author,
        created_ms=row.created_ms,
        rotated_ms=row.rotated_ms,
    )
