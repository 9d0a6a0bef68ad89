"""The apps of an import, in its transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.access import MOST_AT_ONCE
from gateway.core.acting import author
from gateway.core.errors import Conflict
from gateway.core.events import Source
from gateway.core.model import App
from gateway.store.access import REVISION
from gateway.store.apps import app_of, changeable, insert_app
from gateway.store.events import note
from gateway.store.ids import IdsTaken
from gateway.store.revisions import bump
from gateway.store.tables import access_token, app, app_alias

AGAIN = "the target has changed since the import was planned: run it again"


@dataclass(frozen=True, slots=True)
class AppImport:
    """`is_new`: to be made; `changes`: to be given what `app` says. With neither, its jobs come to it as it is.

    `keys`: what the source calls it, `digests`: of its rows there, by key. `aliases`: other ids under which it is known.
    """

    app: App
    keys: tuple[str, ...]
    aliases: tuple[int, ...] = ()
    is_new: bool = False
    changes: bool = False
    access_token: str | None = field(repr=False, default=None)
    digests: Mapping[str, str] = field(default_factory=dict)


async def lock_apps(conn: AsyncConnection, apps: Sequence[AppImport]) -> dict[int, App]:
    """Those that are there: locked, so that none is deleted under its new jobs, or moves them to another part."""
    query = select(app).where(app.c.id.in_([one.app.id for one in apps])).order_by(app.c.id)
    return {row.id: app_of(row) for row in await conn.execute(query.with_for_update())}


def prove_unlimited(locked: Mapping[int, App], limited: Collection[int]) -> None:
    """The parts of the new jobs were chosen by what was read before."""
    for one in locked.values():
        if one.limited != (one.id in limited):
            raise Conflict(f"the limits of app {one.appname!r} were changed at this moment: try again")


async def write_apps(
    conn: AsyncConnection,
    source: str,
    apps: Sequence[AppImport],
    locked: Mapping[int, App],
    made: list[int],
    changed: list[int],
    notes: list[str],
    now_ms: int,
) -> None:
    told: list[tuple[object, str, str]] = []
    for one in sorted(apps, key=lambda one: one.app.id):
        there = locked.get(one.app.id)
        if one.is_new:
            await _make(conn, one, now_ms)
            made.append(one.app.id)
            told.append((one.app.appname, one.app.title, _words(one, source)))
        elif there is None or there.appname != one.app.appname:
            raise Conflict(f"app {one.app.appname!r} is not here any more: {AGAIN}")
        elif one.changes and changeable(replace(there, updated_ms=0)) != changeable(
            replace(one.app, updated_ms=0)
        ):
            await _change(conn, one.app, there, now_ms)
            changed.append(one.app.id)
            told.append((one.app.appname, one.app.title, f"updated; {_words(one, source)}"))
    await note(conn, now_ms, Source.APP, "imported", told)
    new = await _add_aliases(conn, apps, notes)
    new |= await _add_tokens(conn, source, apps, now_ms)
    changed += sorted(new.difference(made, changed))


def _words(one: AppImport, source: str) -> str:
    return f"from {source}, where it is {', '.join(one.keys)}"


async def _make(conn: AsyncConnection, one: AppImport, now_ms: int) -> None:
    try:
        await insert_app(conn, replace(one.app, created_ms=now_ms, updated_ms=now_ms))
    except IdsTaken:
        raise Conflict(f"there is an app {one.app.id} already: {AGAIN}") from None
    except Conflict as error:
        raise Conflict(f"{error}: {AGAIN}") from None


async def _change(conn: AsyncConnection, wanted: App, there: App, now_ms: int) -> None:
    if there.updated_ms != wanted.updated_ms:
        raise Conflict(f"app {there.appname!r} was changed: {AGAIN}")
    if there.limited != wanted.limited:
        raise Conflict(f"app {there.appname!r}: its limits are not an import's to change")
    # A claim that was judged by what the app said before must see that it has been changed.
    changed = replace(wanted, updated_ms=max(now_ms, there.updated_ms + 1))
    await conn.execute(update(app).where(app.c.id == there.id).values(**changeable(changed)))


async def _add_aliases(conn: AsyncConnection, apps: Sequence[AppImport], notes: list[str]) -> set[int]:
    """The apps that have new ones. An id that means another app here goes on meaning it."""
    wanted = {alias: one.app for one in apps for alias in one.aliases}
    if not wanted:
        return set()
    query = select(app_alias.c.id, app_alias.c.app_id).where(app_alias.c.id.in_(sorted(wanted)))
    known = {row.id: row.app_id for row in await conn.execute(query)}
    known |= {
        row.id: row.id for row in await conn.execute(select(app.c.id).where(app.c.id.in_(sorted(wanted))))
    }
    rows = [{"id": alias, "app_id": one.id} for alias, one in sorted(wanted.items()) if alias not in known]
    notes += [
        f"app {one.appname!r}: the id {alias} is that of app {known[alias]} here, so no other id of it"
        for alias, one in sorted(wanted.items())
        if known.get(alias, one.id) != one.id
    ]
    if rows:
        await conn.execute(insert(app_alias), rows)
    return {row["app_id"] for row in rows}


async def _add_tokens(conn: AsyncConnection, source: str, apps: Sequence[AppImport], now_ms: int) -> set[int]:
    """The apps that have one more. An app that had none accepts nothing else from now on if it is new."""
    changed: set[int] = set()
    rows: list[dict[str, object]] = []
    told: list[tuple[object, str, str]] = []
    for one in apps:
        if not one.access_token:
            continue
        mine = access_token.c
        query = select(mine.text, mine.ends_ms).where(mine.app_id == one.app.id)
        valid = [row.text for row in await conn.execute(query) if not 0 < row.ends_ms <= now_ms]
        if one.access_token in valid:
            continue
        if len(valid) >= MOST_AT_ONCE:
            raise Conflict(
                f"app {one.app.appname!r} has {len(valid)} access tokens, and neither is the source's: remove one first"
            )
        values: dict[str, object] = {
            "namespace_id": one.app.namespace_id,
            "app_id": one.app.id,
            "created_ms": now_ms,
            "author": author()[:64],
        }
        if not valid and not one.is_new:  # what counted without it goes on beside it
            rows.append(values | {"text": ""})
        rows.append(values | {"text": one.access_token})
        changed.add(one.app.id)
        beside = "" if one.is_new else "; what it accepted before goes on"
        told.append((one.app.appname, "", f"that of {source}{beside}"))
    if rows:
        await note(conn, now_ms, Source.APP, "token_created", told)
        await conn.execute(insert(access_token), rows)
        await bump(conn, REVISION)
    return changed
