"""Events through the API and the command."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest

from gateway.core.events import Event, Level, Source
from gateway.store.events import EventStore
from tests.unit.api.test_cli import invoke


async def listed(api, **query):
    return (await api.ok("GET", f"/api/v1/events?{urlencode(query)}"))["items"]


async def test_every_change_leaves_one_by_its_author(billing):
    alice = (await billing.ok("POST", "/api/v1/tokens", {"name": "alice"}))["token"]
    job = await billing.job()
    path = f"/api/v1/jobs/{job['id']}"
    await billing.call("PATCH", path, {"name": "renamed", "task": {"params": "y"}}, token=alice)
    await billing.call("PATCH", path, {"name": "renamed"}, token=alice)  # changes nothing
    await billing.ok("POST", f"{path}/disable")
    await billing.ok("PATCH", "/api/v1/apps/billing", {"title": "B"})
    await billing.call("DELETE", path, token=alice)
    await billing.call("DELETE", "/api/v1/apps/billing")
    await billing.call("DELETE", "/api/v1/tokens/2")
    found = sorted(await listed(billing), key=lambda one: one["id"])
    assert [(one["source_type"], one["source"], one["reason"], one["author"]) for one in found] == [
        ("token", "test", "created", "system"),
        ("app", "billing", "created", "test"),
        ("token", "alice", "created", "test"),
        ("job", str(job["id"]), "created", "test"),
        ("job", str(job["id"]), "changed", "alice"),
        ("job", str(job["id"]), "disabled", "test"),
        ("app", "billing", "changed", "test"),
        ("job", str(job["id"]), "deleted", "alice"),
        ("app", "billing", "deleted", "test"),
        ("token", "alice", "revoked", "test"),
    ]
    (changed,) = await listed(billing, reason="changed", source_type="job")
    assert (changed["name"], changed["text"], changed["level"]) == (
        "renamed",
        "version 2: name, task.params",
        "info",
    )
    assert changed["at_ms"] == billing.clock.ms


async def test_a_refused_change_leaves_none(billing):
    before = await listed(billing)
    await billing.wrong("POST", "/api/v1/jobs", {"app": "billing", "name": "n", "schedule": {"kind": "api"}})
    await billing.problem(409, "POST", "/api/v1/apps", {"appname": "billing"})
    await billing.problem(404, "DELETE", "/api/v1/tokens/9")
    assert await listed(billing) == before


@pytest.fixture
async def many(api):
    levels = [Level.INFO, Level.WARN, Level.ERROR]
    events = [
        Event(1000 + n // 3, levels[n % 3], Source.NODE, f"n{n % 2}", "dead", f"Text {n}", f"Name {n % 5}")
        for n in range(30)
    ]
    await EventStore(api.db, api.clock).save(events)
    return api


async def test_filters(many):
    assert len(await listed(many, source_type="node")) == 30
    assert len(await listed(many, level="warn,error")) == 20
    assert len(await listed(many, source_type="node", source="n1")) == 15
    assert len(await listed(many, source="n1")) == 15
    assert [one["text"] for one in await listed(many, text="tEXT 7")] == ["Text 7"]
    assert len(await listed(many, text="name 4")) == 6
    assert await listed(many, text="%") == []
    assert {one["at_ms"] for one in await listed(many, **{"from": 1004, "to": 1006})} == {1004, 1005}
    assert await listed(many, author="alice") == []


@pytest.mark.parametrize("query", [{}, {"level": "error"}, {"source": "n1", "source_type": "node"}])
@pytest.mark.parametrize("examined", [4, 1000])
async def test_pages_hold_each_event_once_in_order(many, query, examined):
    """Also where many share an instant, and where a page may look at a few only."""
    from gateway.api.events import EventFilter, levels_of

    wanted = EventFilter(
        levels=levels_of(query["level"]) if "level" in query else None,
        source_type=query.get("source_type"),
        source_id=query.get("source"),
        to_ms=2000,
    )
    store = EventStore(many.db, many.clock, examined=examined)
    seen, cursor, pages = [], None, 0
    while cursor is not None or not pages:
        page = await store.page(wanted, cursor=cursor, limit=4)
        assert len(page.items) <= 4
        seen += [(one.at_ms, one.id) for one in page.items]
        cursor, pages = page.next_cursor, pages + 1
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == {0: 30, 1: 10, 2: 15}[len(query)]
    assert pages >= len(seen) / 4


async def test_every_kind_of_source_can_be_asked_for(api):
    for source in Source:
        await listed(api, source_type=source.value)


async def test_bad_input(api):
    for query, field, expected in (
        ("level=bad", "level", "info, warn, error"),
        ("source_type=table", "source_type", "one of job, app"),
        ("from=yesterday", "from", "ISO 8601"),
        ("text=", "text", "at least 1 character"),
        ("limit=0", "limit", "greater than or equal to 1"),
        ("cursor=e1", "cursor", "next_cursor"),
        ("kind=job", "kind", "a known field"),
    ):
        found, _, text = await api.wrong("GET", f"/api/v1/events?{query}")
        assert found == field
        assert expected in text


async def test_command(billing):
    env = {"XXLJOB_GATEWAY_URL": billing.url, "XXLJOB_GATEWAY_TOKEN": billing.token}
    result = await asyncio.to_thread(invoke, "events", "--source-type", "app", "--text", "bill", env=env)
    head, line = result.stdout.splitlines()
    assert head.split()[:3] == ["AT", "LEVEL", "SOURCE"]
    assert line.split()[1:] == ["info", "app", "billing", "Billing", "created", "test"]
