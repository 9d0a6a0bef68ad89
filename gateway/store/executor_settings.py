"""What people have set for executors: labels, weight, draining."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.acting import author
from gateway.core.errors import NotFound
from gateway.core.events import Source
from gateway.core.model import App
from gateway.core.placement import ExecutorSetting, SettingChange, address_key
from gateway.store.events import note
from gateway.store.revisions import bump
from gateway.store.tables import app as app_table
from gateway.store.tables import executor_setting


async def settings(conn: AsyncConnection, app_id: int | None = None) -> list[ExecutorSetting]:
    """Of one app, or of all."""
    query = select(executor_setting).order_by(executor_setting.c.app_id, executor_setting.c.address)
    if app_id is not None:
        query = query.where(executor_setting.c.app_id == app_id)
    return [_setting_of(row) for row in await conn.execute(query)]


async def change_setting(
    conn: AsyncConnection, app: App, address: str, change: SettingChange, now_ms: int
) -> ExecutorSetting:
    """What says nothing any more has no row."""
    key = address_key(address)
    mine = and_(executor_setting.c.app_id == app.id, executor_setting.c.address == key)
    # Changes of one app come one after another, and none after its deletion.
    locked = select(app_table.c.id).where(app_table.c.id == app.id).with_for_update()
    if (await conn.execute(locked)).first() is None:
        raise NotFound("app", app.appname)
    row = (await conn.execute(select(executor_setting).where(mine))).first()
    old = ExecutorSetting(app.id, key) if row is None else _setting_of(row)
    new = change.applied(old, now_ms, author())
    words = _difference(app, old, new)
    if not words:
        return old
    await conn.execute(delete(executor_setting).where(mine))
    if not new.says_nothing:
        await conn.execute(insert(executor_setting).values(**_values(new)))
    await note(conn, now_ms, Source.EXECUTOR, _reason(old, new), [(key, app.appname, words)])
    await bump(conn, "app")
    return new


def _reason(old: ExecutorSetting, new: ExecutorSetting) -> str:
    if bool(old.draining_ms) == bool(new.draining_ms):
        return "changed"
    return "draining" if new.draining_ms else "resumed"


def _difference(app: App, old: ExecutorSetting, new: ExecutorSetting) -> str:
    """What was changed, in words; empty if nothing was."""
    found: list[str] = []
    if new.labels != old.labels:
        found.append(f"labels {', '.join(new.labels) or 'none'}")
    if new.weight != old.weight:
        found.append(f"weight {old.weight} to {new.weight}")
    if bool(new.draining_ms) != bool(old.draining_ms):
        found.append("drains" if new.draining_ms else "drains no more")
    if new.note != old.note:
        found.append(f"note: {new.note or 'none'}")
    return f"of app {app.appname}: {'; '.join(found)}" if found else ""


def _values(setting: ExecutorSetting) -> dict[str, Any]:
    return {
        "app_id": setting.app_id,
        "address": setting.address,
        "labels": ",".join(setting.labels),
        "weight": setting.weight,
        "draining_ms": setting.draining_ms,
        "note": setting.note,
        "author": setting.author,
        "updated_ms": setting.updated_ms,
    }


def _setting_of(row: Any) -> ExecutorSetting:
    return ExecutorSetting(
        app_id=row.app_id,
        address=row.address,
        labels=tuple(row.labels.split(",")) if row.labels else (),
        weight=row.weight,
        draining_ms=row.draining_ms,
        note=row.note,
        author=row.author,
        updated_ms=row.updated_ms,
    )
