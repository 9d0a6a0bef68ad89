"""The job API of 3.5."""

from __future__ import annotations

import io
import json

import pytest
from structlog.testing import capture_logs

from gateway.core.access import AccessToken
from gateway.core.model import TriggerKind
from tests.kit.admin_site import admin_site

HEADERS = {"XXL-JOB-ACCESS-TOKEN": "secret", "XXL-JOB-APPNAME": "shop", "Content-Type": "application/json"}


@pytest.fixture
async def site(tmp_path):
    """Where the token that apps share is taken."""
    async with admin_site(tmp_path, shared_tokens=True) as made:
        yield made


async def ask(site, path, body, headers=None, **more):
    raw = body if isinstance(body, (bytes, io.BytesIO)) else json.dumps(body).encode()
    reply = await site.ask(f"/api/{path}", raw=raw, headers=HEADERS | (headers or {}), **more)
    assert reply.status == 200
    assert set(reply.json) == {"code", "msg", "data", "success"}
    assert reply.json["success"] == (reply.json["code"] == 200)
    return reply.json


def bean(app_id, **fields):
    return {
        "jobGroup": app_id,
        "name": "sync",
        "author": "alice",
        "alarmEmail": None,
        "scheduleType": "CRON",
        "scheduleConf": "0 0 3 * * ?",
        "misfireStrategy": "DO_NOTHING",
        "executorRouteStrategy": "FIRST",
        "executorHandler": "sync",
        "executorParam": "x",
        "executorBlockStrategy": "SERIAL_EXECUTION",
        "executorTimeout": 5,
        "executorFailRetryCount": "1",
        "glueType": "BEAN",
        "glueSource": "",
        "glueRemark": "",
        **fields,
    }


async def test_a_job_from_its_beginning_to_its_end(site):
    shop = await site.app("shop")
    added = await ask(site, "addJob", bean(shop.id))
    assert added == {"code": 200, "msg": "Success", "data": added["data"], "success": True}
    job_id = int(added["data"])
    job = await site.ports.jobs.get(job_id)
    assert (job.name, job.timeout_s, job.max_attempts, job.enabled) == ("sync", 5, 2, False)
    changed = bean(0, id=job_id, name="other")
    del changed["jobGroup"]
    assert (await ask(site, "updateJob", changed))["code"] == 200
    assert (await site.ports.jobs.get(job_id)).name == "other"
    assert (await ask(site, "startJob", {"id": job_id}))["code"] == 200
    assert (await site.ports.jobs.get(job_id)).enabled
    assert (await ask(site, "triggerJob", {"id": job_id, "executorParam": "p", "addressList": None}))[
        "code"
    ] == 200
    (triggered,) = site.operations.triggered
    assert (triggered.kind, triggered.wanted.params, triggered.wanted.author) == (
        TriggerKind.API,
        "p",
        "app:shop",
    )
    for path in ("stopJob", "removeJob"):
        assert (await ask(site, path, {"id": job_id}))["code"] == 200
    assert await site.ports.jobs.load([job_id]) == {}


async def test_under_the_old_context_path_too(site):
    shop = await site.app("shop")
    raw = json.dumps(bean(shop.id)).encode()
    reply = await site.ask("/xxl-job-admin/api/addJob", raw=raw, headers=HEADERS)
    assert reply.json["success"] is True


async def test_who_may_not(site):
    shop, other = await site.app("shop"), await site.app("other")
    mine, its = await site.job(shop), await site.job(other)
    for headers, says in (
        ({"XXL-JOB-ACCESS-TOKEN": ""}, "XXL-JOB-ACCESS-TOKEN"),
        ({"XXL-JOB-APPNAME": " "}, "XXL-JOB-APPNAME"),
        ({"XXL-JOB-ACCESS-TOKEN": "wrong"}, "token"),
        ({"XXL-JOB-APPNAME": "nobody"}, "nobody"),
    ):
        refused = await ask(site, "startJob", {"id": mine.id}, headers)
        assert (refused["code"], says in refused["msg"]) == (500, True)
    for path in ("updateJob", "startJob", "stopJob", "triggerJob"):
        refused = await ask(site, path, bean(0, id=its.id))
        assert (refused["code"], "does not exist" in refused["msg"]) == (500, True), path
    await ask(site, "removeJob", {"id": its.id})
    assert await site.ports.jobs.get(its.id) == its
    assert "permission" in (await ask(site, "addJob", bean(other.id)))["msg"]
    assert site.operations.triggered == []


async def test_a_gateway_without_a_token_has_no_job_api(tmp_path):
    async with admin_site(tmp_path, access_tokens=()) as site:
        await site.app("shop")
        refused = await ask(site, "startJob", {"id": 1})
        assert (refused["code"], "no access token" in refused["msg"]) == (500, True)


async def test_a_token_that_apps_share_opens_nothing_by_itself(tmp_path):
    async with admin_site(tmp_path) as site:
        shop, other = await site.app("shop"), await site.app("other")
        mine, its = await site.job(shop), await site.job(other)
        with capture_logs() as logs:
            refused = await ask(site, "startJob", {"id": mine.id})
        assert "job_api_shared_tokens" in refused["msg"]
        assert (logs[0]["event"], logs[0]["remote"]) == ("job_api_refused", "127.0.0.1")
        assert "secret" not in str(logs)
        for app in (shop, other):
            site.ports.access.registry.set_app(app)
        tokens = [(0, "of all"), (shop.id, "own"), (shop.id, "twice"), (other.id, "twice"), (other.id, "its")]
        rows = [AccessToken(n, 1, app_id, text) for n, (app_id, text) in enumerate(tokens, 1)]
        site.ports.access.set_all([*rows, AccessToken(9, 1, shop.id, "")])  # and what counted before
        found = {}
        for token in ("secret", "of all", "own", "twice", "its"):
            headers = {"XXL-JOB-ACCESS-TOKEN": token}
            found[token] = (await ask(site, "triggerJob", {"id": mine.id}, headers))["code"]
            assert (await ask(site, "triggerJob", {"id": its.id}, headers))["code"] == 500
        assert found == {"secret": 500, "of all": 500, "own": 200, "twice": 500, "its": 500}
        strange = {"id": mine.id, "addressList": "http://elsewhere:1/"}
        refused = await ask(site, "triggerJob", strange, {"XXL-JOB-ACCESS-TOKEN": "own"})
        assert (refused["code"], "addressList" in refused["msg"]) == (500, True)


async def test_a_session_is_no_token(site):
    await site.user()
    await site.login("/auth/doLogin")
    job = await site.job(await site.app("shop"))
    refused = await ask(site, "startJob", {"id": job.id}, {"XXL-JOB-ACCESS-TOKEN": ""})
    assert refused["code"] == 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"id=1",
        b"[" * 100_000,
        b'{"id": {"a": 1}}',
        b'{"id": true}',
        b'{"id": 1.5}',
        b'{"id": 1e400}',
        b'{"id": "99999999999999999999"}',
        b"{}",
        b"\xff\xfe",
    ],
)
async def test_bodies_that_are_none(site, body):
    await site.app("shop")
    with capture_logs() as logs:
        assert (await ask(site, "startJob", body))["code"] == 500
    assert logs == []


async def test_other_ways_to_be_wrong(site):
    await site.app("shop")
    assert "POST" in (await ask(site, "startJob", {"id": 1}, method="GET"))["msg"]
    assert "bytes" in (await ask(site, "startJob", io.BytesIO(b" " * (4 << 20) + b"{}")))["msg"]
