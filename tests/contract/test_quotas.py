"""Limits of submissions in the database: set at run time, shared by all nodes."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert

from gateway.core.errors import NotFound
from gateway.core.quota import Limited, Rate
from gateway.store.quotas import FRESH_S, QuotaRows
from gateway.store.tables import namespace, submission_quota
from gateway.store.tokens import TokenStore

RATE = Rate(50, 40)


@pytest.fixture
async def token(db, clock):
    async with db.write() as conn:
        await conn.execute(insert(namespace).values(id=1, name="default"))
    made, _ = await TokenStore(db, clock).create("it's mine")
    return made


async def test_limits_are_set_shown_and_taken_away(db, clock, token):
    here, there = QuotaRows(db, clock), QuotaRows(db, clock)
    assert (await there.limits()).of(1, "it's mine") == []
    await here.limit_token(token.id, RATE)
    await here.limit_namespace("default", Rate(0.2, 1))
    assert await here.of_token(token.id) == RATE
    assert await here.of_namespace("default") == Rate(0.2, 1)
    assert (await there.limits()).of(1, "it's mine") == []
    clock.ms += int(FRESH_S * 1000)
    assert (await there.limits()).of(1, "it's mine") == [
        Limited(f"token:{token.id}", 'token "it\'s mine"', RATE),
        Limited("namespace:1", "namespace 'default'", Rate(0.2, 1)),
    ]
    await here.limit_token(token.id, None)
    assert await here.of_token(token.id) is None
    assert [one.name for one in (await here.limits()).of(1, "it's mine")] == ["namespace:1"]
    for call in (
        here.of_token(99),
        here.limit_token(99, RATE),
        here.of_namespace("x"),
        here.limit_namespace("x", None),
    ):
        with pytest.raises(NotFound):
            await call


async def test_nodes_that_draw_at_the_same_moment_share_one_limit(db, clock, token):
    nodes = [QuotaRows(db, clock) for _ in range(4)]
    drawn = await asyncio.gather(*(nodes[n % 4].draw("token:1", RATE, 3) for n in range(20)))
    granted = [one.granted for one in drawn if one.granted]
    assert sum(granted) <= RATE.burst
    assert RATE.burst - sum(granted) < 3
    assert all(one.wait_us > 0 for one in drawn if not one.granted)


async def test_another_limit_begins_with_its_whole_burst(db, clock, token, rows):
    here = QuotaRows(db, clock)
    await here.limit_token(token.id, Rate(0.001, 2))
    name = f"token:{token.id}"
    assert (await here.draw(name, Rate(0.001, 2), 2)).granted == 2
    assert (await here.draw(name, Rate(0.001, 2), 1)).granted == 0
    await here.limit_token(token.id, RATE)
    assert await rows(submission_quota) == []
    assert (await here.draw(name, RATE, 40)).granted == 40
