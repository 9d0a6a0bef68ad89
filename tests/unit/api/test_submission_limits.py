"""Limits of submissions through the API."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from gateway.store.tables import namespace

TRIGGER = "/api/v1/jobs/1/trigger"


@pytest.fixture
async def limited(api):
    async with api.db.write() as conn:
        await conn.execute(insert(namespace).values(id=1, name="default"))
    (token,) = (await api.ok("GET", "/api/v1/tokens"))["items"]
    api.path = f"/api/v1/tokens/{token['id']}/limit"
    return api


async def test_a_token_that_has_used_up_its_limit(limited):
    assert await limited.ok("GET", limited.path) == {"per_second": None, "burst": None}
    assert await limited.ok("PUT", limited.path, {"per_second": 0.1, "burst": 2}) == {
        "per_second": 0.1,
        "burst": 2,
    }
    assert await limited.ok("GET", limited.path) == {"per_second": 0.1, "burst": 2}
    await limited.ok("POST", TRIGGER)
    await limited.ok("POST", TRIGGER)
    answer = await limited.problem(429, "POST", TRIGGER)
    assert answer["type"].endswith("too-many")
    assert "token 'test'" in answer["detail"]
    assert limited.headers["Retry-After"] == "10"
    limited.clock.ms += 10_000
    await limited.ok("POST", TRIGGER)
    await limited.call("DELETE", limited.path)
    for _ in range(5):
        await limited.ok("POST", TRIGGER)
    assert len(limited.operations.triggered) == 8


async def test_a_batch_counts_as_many_as_it_has_and_is_taken_whole_or_not(limited):
    await limited.ok("PUT", "/api/v1/namespaces/default/limit", {"per_second": 10})
    body = {"submissions": [{}] * 6}
    await limited.ok("POST", f"{TRIGGER}/batch", body)
    answer = await limited.problem(429, "POST", f"{TRIGGER}/batch", body)
    assert "namespace 'default'" in answer["detail"]
    assert len(limited.operations.triggered) == 6
    answer = await limited.problem(429, "POST", f"{TRIGGER}/batch", {"submissions": [{}] * 11})
    assert "send fewer" in answer["detail"]
    assert "Retry-After" not in limited.headers


async def test_bad_input_counts_for_nothing(limited):
    await limited.ok("PUT", limited.path, {"per_second": 1, "burst": 1})
    for _ in range(3):
        await limited.wrong("POST", TRIGGER, {"priority": 0})
    await limited.ok("POST", f"{TRIGGER}/batch", {"submissions": [{"priority": 0}, {}]})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "per_second"),
        ({"per_second": 0}, "per_second"),
        ({"per_second": "10"}, "per_second"),
        ({"per_second": 1e6}, "per_second"),
        ({"per_second": 1, "burst": 0}, "burst"),
        ({"per_second": 1, "brust": 2}, "brust"),
    ],
)
async def test_what_a_limit_may_not_be(limited, body, field):
    assert (await limited.wrong("PUT", limited.path, body))[0] == field
    assert await limited.ok("GET", limited.path) == {"per_second": None, "burst": None}


async def test_limits_of_nobody(limited):
    for path in ("/api/v1/tokens/77/limit", "/api/v1/namespaces/other/limit"):
        await limited.problem(404, "GET", path)
        await limited.problem(404, "PUT", path, {"per_second": 1})
        await limited.problem(404, "DELETE", path)
