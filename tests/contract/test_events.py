"""Events: the same on every database."""

from __future__ import annotations

import pytest

from gateway.core.acting import acting_for
from gateway.core.events import Event, EventFilter, Level, Source
from gateway.core.model import AddressMode, App
from gateway.store import ids
from gateway.store.apps import AppStore
from gateway.store.events import EventStore
from gateway.store.tables import event


@pytest.mark.parametrize("examined", [4, 1000])
async def test_pages_hold_each_event_once_in_order(db, clock, examined):
    levels = [Level.INFO, Level.WARN, Level.ERROR]
    store = EventStore(db, clock, examined=examined)
    await store.save(
        [
            Event(
                1000 + n // 3, levels[n % 3], Source.NODE, f"n{n % 2}", "dead", f"100% {n}", f"Name {n % 5}"
            )
            for n in range(30)
        ]
    )
    for wanted, count in (
        (EventFilter(), 30),
        (EventFilter(levels=frozenset({Level.ERROR})), 10),
        (EventFilter(source_type="node", source_id="n1", to_ms=2000), 15),
        (EventFilter(source_type="node", text="NAME 2"), 6),
        (EventFilter(text="0% 1"), 11),
        (EventFilter(text="0_ 1"), 0),
        (EventFilter(from_ms=1004, to_ms=1006, reason="dead", author="system"), 6),
    ):
        seen, cursor, first = [], None, True
        while first or cursor is not None:
            page = await store.page(wanted, cursor=cursor, limit=4)
            seen += [(one.at_ms, one.id) for one in page.items]
            cursor, first = page.next_cursor, False
        assert seen == sorted(set(seen), reverse=True)
        assert len(seen) == count, wanted


async def test_texts_of_any_kind_are_kept_cut_to_size(db, clock, rows):
    odd = "\ud800\0" + "结" * 2000
    await EventStore(db, clock).save([Event(1, Level.INFO, Source.JOB, odd, "x", odd, odd, odd)])
    (row,) = await rows(event)
    assert (len(row["text"]), len(row["source_id"]), len(row["source_name"])) == (1000, 255, 128)


async def test_a_change_that_fails_leaves_no_event(db, clock, rows):
    apps = AppStore(db, clock, ids.app_ids(db, clock))
    app = App(0, 1, "billing", "Billing", AddressMode.AUTO, (), 0, 0)
    with acting_for("alice"):
        await apps.create(app)
        with pytest.raises(Exception, match="already"):
            await apps.create(app)
    (row,) = await rows(event)
    assert (row["author"], row["source_id"], row["reason"]) == ("alice", "billing", "created")
