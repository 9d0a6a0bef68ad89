"""Events. Those of changes are written in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.acting import author
from gateway.core.clock import Clock
from gateway.core.events import Event, EventFilter, Level
from gateway.core.listing import Page
from gateway.store import cursors
from gateway.store.engine import Database
from gateway.store.tables import event
from gateway.store.transact import reading, transact

EXAMINED = 50_000
_CHUNK = 500
_MOST = {"source_type": 16, "source_id": 255, "source_name": 128, "reason": 64, "text": 1000, "author": 64}
_COLUMNS = ("namespace_id", "at_ms", "level", *_MOST)
_NEWEST = (1 << 62, 1 << 62)


async def note(
    conn: AsyncConnection,
    at_ms: int,
    source_type: str,
    reason: str,
    sources: Iterable[tuple[object, str, str]],
    level: Level = Level.INFO,
) -> None:
    """In the transaction of a change: an event for each source (id, name, text), by whoever makes the change."""
    who = author()
    await _insert(
        conn,
        [
            Event(at_ms, level, source_type, str(source_id), reason, text, name, who)
            for source_id, name, text in sources
        ],
    )


async def _insert(conn: AsyncConnection, events: Sequence[Event]) -> None:
    rows = [_row(one) for one in events]
    for start in range(0, len(rows), _CHUNK):
        await conn.execute(insert(event), rows[start : start + _CHUNK])


def _row(one: Event) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in _COLUMNS}
    values["level"] = int(one.level)
    # Half a surrogate pair has no UTF-8 form, and SQLite's text ends at a NUL.
    for name, most in _MOST.items():
        values[name] = values[name].encode("utf-8", "replace").decode().replace("\0", "�")[:most]
    return values


class EventStore:
    """Implements `core.events.EventCatalog` and `EventWriter`. `examined` bounds the work of a page."""

    def __init__(self, db: Database, clock: Clock, examined: int = EXAMINED) -> None:
        self._db = db
        self._clock = clock
        self._examined = examined

    async def save(self, events: Sequence[Event]) -> None:
        async def body(conn: AsyncConnection) -> None:
            await _insert(conn, events)

        await transact(self._db, self._clock, body)

    async def page(self, wanted: EventFilter, *, cursor: str | None, limit: int) -> Page[Event]:
        before = _NEWEST if cursor is None else cursors.decode_pair("e", cursor)
        indexed, other = _guards(wanted)
        indexed.append(_is_before(before))
        floor: tuple[int, int] | None = None
        async with reading(self._db) as conn:
            if other:
                # Where the last row stands that this page may look at; there is none if fewer are left.
                last = _newest(event.c.at_ms, event.c.id).where(*indexed)
                found = (await conn.execute(last.offset(self._examined - 1).limit(1))).first()
                if found is not None:
                    floor = (found.at_ms, found.id)
                    indexed.append(~_is_before(floor))
            rows = await conn.execute(_newest(event).where(*indexed, *other).limit(limit + 1))
            events = [_event_of(row) for row in rows]
        if len(events) > limit:
            events = events[:limit]
            floor = (events[-1].at_ms, events[-1].id)
        return Page(tuple(events), None if floor is None else cursors.encode_pair("e", *floor))


def _newest(*columns: Any) -> Select[Any]:
    return select(*columns).order_by(event.c.at_ms.desc(), event.c.id.desc())


def _is_before(place: tuple[int, int]) -> ColumnElement[bool]:
    at_ms, event_id = place
    return and_(
        event.c.at_ms <= at_ms,
        or_(event.c.at_ms < at_ms, event.c.id < event_id),
    )


def _guards(wanted: EventFilter) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """What an index answers, and what each row has to be looked at for."""
    mine = event.c
    indexed: list[ColumnElement[bool]] = []
    other: list[ColumnElement[bool]] = []
    if wanted.source_type is not None:
        (indexed if wanted.source_id is not None else other).append(mine.source_type == wanted.source_type)
    if wanted.source_id is not None:
        (indexed if wanted.source_type is not None else other).append(mine.source_id == wanted.source_id)
    if wanted.from_ms is not None:
        indexed.append(mine.at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        indexed.append(mine.at_ms < wanted.to_ms)
    if wanted.levels is not None:
        other.append(mine.level.in_(sorted(wanted.levels)))
    if wanted.reason is not None:
        other.append(mine.reason == wanted.reason)
    if wanted.author is not None:
        other.append(mine.author == wanted.author)
    if wanted.text is not None:
        words = wanted.text.lower()
        other.append(
            or_(
                func.lower(mine.text).contains(words, autoescape=True),
                func.lower(mine.source_name).contains(words, autoescape=True),
            )
        )
    # All rows have it, until there are more namespaces than one.
    return [*indexed, mine.namespace_id == wanted.namespace_id], other


def _event_of(row: Any) -> Event:
    return Event(
        at_ms=row.at_ms,
        level=Level(row.level),
        source_type=row.source_type,
        source_id=row.source_id,
        reason=row.reason,
        text=row.text,
        source_name=row.source_name,
        author=row.author,
        namespace_id=row.namespace_id,
        id=row.id,
    )
