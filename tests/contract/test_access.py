"""Access tokens: the same on every database."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert

from gateway.core.acting import acting_for
from gateway.core.errors import Conflict, NotFound
from gateway.core.events import EventFilter
from gateway.core.model import AddressMode, App
from gateway.store import ids
from gateway.store.access import AccessStore
from gateway.store.apps import AppStore
from gateway.store.events import EventStore
from gateway.store.nodes import Nodes
from gateway.store.tables import access_token, namespace


@pytest.fixture
async def store(db, clock):
    await AppStore(db, clock, ids.app_ids(db, clock)).create(
        App(0, 1, "billing", "", AddressMode.AUTO, (), 0, 0)
    )
    async with db.write() as conn:
        await conn.execute(insert(namespace).values(id=1, name="default"))
    return AccessStore(db, clock)


async def revision(db) -> int:
    return (await Nodes(db, None, 2000).look(())).revisions.get("access", 0)


async def said(store, holder):
    return [(one.text, one.ends_ms) for one in await store.of(holder)]


@pytest.mark.parametrize("whose", [{"appname": "billing"}, {"namespace": "default"}])
async def test_rotation(store, db, clock, whose):
    holder = await store.holder(**whose)
    assert await store.of(holder) == []
    with acting_for("ann"):
        first = await store.create(holder, "first", None)
    assert (first.text, first.author, first.created_ms, first.ends_ms) == ("first", "ann", clock.now_ms(), 0)
    assert await said(store, holder) == [("first", 0), ("", 0)]
    inherited = (await store.of(holder))[1]
    with pytest.raises(Conflict, match=f"2 valid tokens, of which {inherited.id} is the older"):
        await store.create(holder, "second", None)
    await store.remove(holder, inherited.id)
    ends_ms = clock.now_ms() + 60_000
    second = await store.create(holder, None, 60_000)
    assert len(second.text) == 43
    assert await said(store, holder) == [(second.text, 0), ("first", ends_ms)]
    with pytest.raises(Conflict):
        await store.create(holder, "third", 0)
    clock.ms += 60_000
    await store.create(holder, "third", 0)
    assert await said(store, holder) == [("third", 0)]
    assert await revision(db) == 4
    assert [one.text for one in await store.all_access_tokens()] == ["third"]


async def test_of_one_holder_alone(store):
    app, space = await store.holder(appname="billing"), await store.holder(namespace="default")
    made = await store.create(app, "own", 0)
    await store.create(space, "tenant", 0)
    assert await said(store, app) == [("own", 0)]
    with pytest.raises(NotFound):
        await store.remove(space, made.id)
    await store.remove(app, made.id)
    assert await said(store, space) == [("tenant", 0)]
    for wrong in ({"appname": "nobody"}, {"namespace": "nobody"}):
        with pytest.raises(NotFound):
            await store.holder(**wrong)


async def test_two_at_once(store):
    holder = await store.holder(appname="billing")
    made = await asyncio.gather(
        *(store.create(holder, f"t{n}", None) for n in range(4)), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in made) == 3
    assert len(await store.of(holder)) == 2


async def test_events_say_who_and_never_the_text(store, db, clock):
    holder = await store.holder(appname="billing")
    with acting_for("ann"):
        made = await store.create(holder, "hush", 3_600_000)
        await store.remove(holder, made.id)
    events = (await EventStore(db, clock).page(EventFilter(source_type="app"), cursor=None, limit=9)).items
    assert [(one.reason, one.source_id, one.author) for one in events[:2]] == [
        ("token_removed", "billing", "ann"),
        ("token_created", "billing", "ann"),
    ]
    assert "the one before is valid for 3600 s more" in events[1].text
    assert not any("hush" in one.text for one in events)


async def test_spelling_counts(store, rows):
    """Tokens are compared as they are, on every database."""
    holder = await store.holder(appname="billing")
    await store.create(holder, "Aa", 0)
    await store.create(holder, "aA", None)
    assert [row["text"] for row in await rows(access_token)] == ["Aa", "aA"]
