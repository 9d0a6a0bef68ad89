"""Addresses that start a job: made and changed through the API, called without a token."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import insert, select

from gateway.api.hooks import setup_hooks
from gateway.api.services import Hooks, Services
from gateway.api.setup import setup_api
from gateway.core.submission import Submission
from gateway.core.trigger_url import METHODS, UrlKind
from gateway.store.tables import namespace, trigger_url
from tests.unit.api.conftest import Api

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass
class Site:
    """The API, and both listeners for the addresses themselves. `private` is the second one's."""

    api: Api
    public: str
    private: str
    path: str

    async def url(self, **body: Any) -> dict[str, Any]:
        return await self.api.ok("POST", self.path, body)

    async def call(self, url: dict[str, Any], method: str = "POST", *, at: str = "", **how: Any):
        """Status and answer of a call of an address, on the listener of its kind unless `at` says another."""
        base = at or (self.public if url["kind"] == "public" else self.private)
        async with self.api.session.request(method, base + url["path"], **how) as answer:
            self.headers = answer.headers
            text = await answer.text()
            return answer.status, json.loads(text) if text and "json" in answer.content_type else None


def servers(services: Services, *kinds: UrlKind) -> list[TestServer]:
    found = []
    for kind in kinds:
        app = web.Application()
        setup_hooks(app, services, kind)
        found.append(TestServer(app))
    return found


@pytest.fixture
async def site(billing: Api) -> AsyncIterator[Site]:
    job = await billing.job()
    public, private = servers(billing.services, *UrlKind)
    async with public, private:
        bases = [str(one.make_url("")).rstrip("/") for one in (public, private)]
        yield Site(billing, *bases, f"/api/v1/jobs/{job['id']}/trigger-urls")


async def test_an_address_from_its_making_to_its_end(site):
    made = await site.url()
    assert made["path"].startswith("/t/")
    assert len(made["path"]) > 40
    assert made["url"] == site.api.url + made["path"]
    assert (made["kind"], made["methods"], made["schemes"]) == ("public", ["POST"], ["http", "https"])
    assert made["restriction"] == {"kind": "none", "domains": [], "cidrs": []}
    assert made["author"] == "test"
    assert await site.call(made) == (202, {"run_id": 1 << 32})
    assert site.headers["X-Run-Id"] == str(1 << 32)
    assert site.api.operations.triggered[-1].wanted == Submission(author=f"trigger URL {made['id']}")
    (listed,) = (await site.api.ok("GET", site.path))["items"]
    assert not {"path", "url"} & listed.keys()
    one = f"{site.path}/{made['id']}"
    changed = await site.api.ok("PUT", one, {"methods": ["GET"]})
    assert changed["methods"] == ["GET"]
    assert (await site.call(made))[0] == 405
    fresh = await site.api.ok("POST", f"{one}/rotate")
    assert fresh["rotated_ms"] == site.api.clock.ms
    assert (await site.call(made, "GET"))[0] == 404
    assert (await site.call(fresh, "GET"))[0] == 202
    await site.api.ok("DELETE", one)
    assert (await site.call(fresh, "GET"))[0] == 404
    await site.api.problem(404, "DELETE", one)
    await site.api.problem(404, "POST", f"{one}/rotate")


async def test_a_call_that_is_repeated_with_its_key_starts_one_run(site):
    one, other = await site.url(), await site.url()
    named = {"headers": {"Idempotency-Key": "7f1c"}}
    first = await site.call(one, **named)
    assert first == (202, {"run_id": 1 << 32})
    assert await site.call(one, **named) == first
    assert (await site.call(other, **named))[1] != first[1]  # keys of each address are its own
    assert {key.text for key in site.api.operations.answers} == {
        f"trigger-url-{url['id']}:7f1c" for url in (one, other)
    }
    status, problem = await site.call(one, headers={"Idempotency-Key": "x" * 128})
    assert (status, problem["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_only_a_hash_of_the_secret_is_kept(site):
    made = await site.url()
    async with site.api.db.read() as conn:
        (row,) = (await conn.execute(select(trigger_url))).mappings()
    assert made["path"].removeprefix("/t/") not in str(dict(row))


async def test_an_address_works_on_its_own_listener_only(site):
    public, private = await site.url(), await site.url(kind="private")
    assert (await site.call(public, at=site.private))[0] == 404
    assert (await site.call(private, at=site.public))[0] == 404
    assert (await site.call(private, at=site.api.url))[0] == 404
    assert (await site.call(public))[0] == (await site.call(private))[0] == 202
    assert private["url"] == "http://10.9.8.7:8081" + private["path"]


async def test_a_private_address_needs_the_listener(site):
    app = web.Application()
    setup_api(app, replace(site.api.services, hooks=Hooks()))
    async with TestServer(app) as server:
        site.api.url = str(server.make_url("")).rstrip("/")
        answer = await site.api.problem(409, "POST", site.path, {"kind": "private"})
    assert "private_trigger_listen" in answer["detail"]


@pytest.mark.parametrize("method", METHODS)
async def test_each_method_when_it_is_chosen(site, method):
    made = await site.url(methods=[method])
    status, answer = await site.call(made, method)
    assert status == 202
    assert answer == (None if method == "HEAD" else {"run_id": 1 << 32})
    assert site.headers["X-Run-Id"] == str(1 << 32)
    other = "PUT" if method != "PUT" else "POST"
    status, answer = await site.call(made, other)
    assert (status, site.headers["Allow"]) == (405, method)
    assert len(site.api.operations.triggered) == 1


async def test_an_address_that_nobody_has(site):
    for secret in ("x", "x" * 43, "%00", "a/b"):
        status, _ = await site.call({"kind": "public", "path": f"/t/{secret}"})
        assert status == 404


async def test_networks_and_proxies(site):
    outside = await site.url(restriction={"kind": "cidr", "cidrs": ["203.0.113.0/24"]})
    inside = await site.url(restriction={"kind": "cidr", "cidrs": ["127.0.0.0/8"]})
    forwarded = {"headers": {"X-Forwarded-For": "203.0.113.9"}}
    assert (await site.call(inside))[0] == 202
    status, answer = await site.call(outside, **forwarded)  # no proxy is trusted here
    assert (status, answer["type"].rpartition(":")[2]) == (403, "refused")
    behind = replace(site.api.services, hooks=Hooks(trusted=(LOOPBACK,)))
    async with servers(behind, UrlKind.PUBLIC)[0] as server:
        at = str(server.make_url("")).rstrip("/")
        assert (await site.call(outside, at=at, **forwarded))[0] == 202
        assert (await site.call(inside, at=at, **forwarded))[0] == 403
        assert (await site.call(inside, at=at))[0] == 403  # the proxy does not say who calls
        two_lines = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.1")]
        assert (await site.call(outside, at=at, headers=two_lines))[0] == 403
    assert len(site.api.operations.triggered) == 2


async def test_schemes_and_domains(site):
    secure = await site.url(schemes=["https"])
    assert (await site.call(secure))[0] == 403
    assert (await site.call(secure, headers={"X-Forwarded-Proto": "https"}))[0] == 403
    behind = replace(site.api.services, hooks=Hooks(trusted=(LOOPBACK,)))
    async with servers(behind, UrlKind.PUBLIC)[0] as server:
        at = str(server.make_url("")).rstrip("/")
        assert (await site.call(secure, at=at, headers={"X-Forwarded-Proto": "https"}))[0] == 202
    of_pages = await site.url(restriction={"kind": "domain", "domains": ["Example.com"]})
    assert (await site.call(of_pages))[0] == 403
    assert (await site.call(of_pages, headers={"Origin": "https://example.com"}))[0] == 202
    assert (await site.call(of_pages, headers={"Referer": "https://example.com/a"}))[0] == 202
    assert (await site.call(of_pages, headers={"Origin": "https://example.net"}))[0] == 403


async def test_what_a_call_may_say(site):
    made = await site.url()
    body = {"Envs": [{"name": "DAY", "value": "2026-11-27"}, {"name": "a.b-c", "value": ""}], "Replicas": "3"}
    assert (await site.call(made, json=body))[0] == 202
    assert (await site.call(made, json={"Replicas": 1000}))[0] == 202
    first, second = [one.wanted for one in site.api.operations.triggered]
    assert (first.envs, first.replicas) == ((("DAY", "2026-11-27"), ("a.b-c", "")), 3)
    assert (second.envs, second.replicas) == ((), 1000)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"Replicas": 0}, "Replicas"),
        ({"Replicas": "0"}, "Replicas"),
        ({"Replicas": 1001}, "Replicas"),
        ({"Replicas": "three"}, "Replicas"),
        ({"Replicas": 1.5}, "Replicas"),
        ({"Replicas": True}, "Replicas"),
        ({"Envs": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "Envs"),
        ({"Envs": [{"name": "A", "value": "x" * 4097}]}, "Envs[0].value"),
        ({"Envs": [{"name": f"A{n}", "value": "x" * 4000} for n in range(15)]}, "Envs"),
        ({"Envs": [{"name": "1A", "value": ""}]}, "Envs[0].name"),
        ({"Envs": [{"name": "A", "value": 1}]}, "Envs[0].value"),
        ({"Envs": [{"name": f"A{n}", "value": ""} for n in range(101)]}, "Envs"),
        ({"envs": []}, "envs"),
        ([], "body"),
    ],
)
async def test_what_a_call_may_not_say(site, body, field):
    status, answer = await site.call(await site.url(), json=body)
    assert (status, answer["errors"][0]["field"]) == (422, field)
    assert site.api.operations.triggered == []


async def test_a_call_that_is_no_json(site):
    assert (await site.call(await site.url(), data=b"{"))[0] == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "secret"}, "kind"),
        ({"methods": []}, "methods"),
        ({"methods": ["OPTIONS"]}, "methods[0]"),
        ({"methods": ["GET", "GET"]}, "methods"),
        ({"schemes": ["ftp"]}, "schemes[0]"),
        ({"restriction": {"kind": "cidr"}}, "restriction.cidrs"),
        ({"restriction": {"kind": "cidr", "cidrs": ["10.0.0.1/8"]}}, "restriction.cidrs[0]"),
        ({"restriction": {"kind": "domain", "domains": ["http://a"]}}, "restriction.domains[0]"),
        ({"restriction": {"kind": "none", "cidrs": ["10.0.0.0/8"]}}, "restriction.cidrs"),
    ],
)
async def test_what_an_address_may_not_be(site, body, field):
    assert (await site.api.wrong("POST", site.path, body))[0] == field
    assert (await site.api.ok("GET", site.path))["items"] == []


async def test_a_job_has_so_many_at_most_and_takes_them_with_it(site):
    urls = [await site.url() for _ in range(20)]
    await site.api.problem(409, "POST", site.path, {})
    await site.api.ok("DELETE", site.path.removesuffix("/trigger-urls"))
    assert (await site.call(urls[0]))[0] == 404
    await site.api.problem(404, "GET", site.path)
    await site.api.problem(404, "POST", site.path, {})


async def test_the_limit_of_the_namespace_counts_calls(site):
    async with site.api.db.write() as conn:
        await conn.execute(insert(namespace).values(id=1, name="default"))
    await site.api.ok("PUT", "/api/v1/namespaces/default/limit", {"per_second": 0.5, "burst": 1})
    made = await site.url()
    assert (await site.call(made))[0] == 202
    assert (await site.call(made))[0] == 429
    assert site.headers["Retry-After"] == "2"


async def test_a_job_has_envs_of_its_own(billing):
    task = {"handler": "h", "params": "p", "envs": [{"name": "A", "value": "1"}]}
    made = await billing.job(task=task)
    assert made["task"]["envs"] == task["envs"]
    path = f"/api/v1/jobs/{made['id']}"
    changed = await billing.ok("PATCH", path, {"task": {"params": "q"}})
    assert (changed["task"]["params"], changed["task"]["envs"]) == ("q", task["envs"])
    assert (await billing.ok("GET", path))["task"] == changed["task"]
    twice = {"task": {"envs": [{"name": "A", "value": "1"}] * 2}}
    assert (await billing.wrong("PATCH", path, twice))[0] == "task.envs"
