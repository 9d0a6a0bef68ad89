"""Every address with all kinds of rubbish, in each generation: an answer that its clients understand, and nothing logged."""

from __future__ import annotations

import random

import pytest
from structlog.testing import capture_logs

from compat.admin.routes import ENDPOINTS

NAMES = (
    "id",
    "ids[]",
    "jobGroup",
    "jobId",
    "logId",
    "triggerStatus",
    "start",
    "length",
    "offset",
    "pagesize",
    "scheduleType",
    "scheduleConf",
    "jobDesc",
    "author",
    "executorHandler",
    "executorTimeout",
    "childJobId",
    "addressType",
    "addressList",
    "appname",
    "title",
    "type",
    "filterTime",
    "startDate",
    "role",
    "permission",
    "username",
    "password",
    "glueRemark",
    "glueSource",
    "fromLineNum",
)
VALUES = (
    "",
    " ",
    "0",
    "1",
    "-1",
    "2147483648",
    "9" * 400,
    "1e3",
    "NaN",
    "null",
    "true",
    "a\0b",
    "' OR 1=1 --",
    '"\\',
    "%_%",
    "<script>",
    "../../etc/passwd",
    "結算🀄",
    "\u202e",
    "CRON",
    "0 0 0 31 2 ?",
    "2026-13-45 99:99:99",
    " - ",
    "1,2,,x",
    "http://",
    "http://[::1",
    "x" * 70_000,
)
LOGINS = {"/xxl-job-admin/login": "content", "/auth/doLogin": "data"}


@pytest.mark.parametrize("login", list(LOGINS))
async def test_rubbish(site, login):
    await site.user()
    app = await site.app()
    await site.job(app)
    await site.login(login)
    chance = random.Random(login)
    prefix = login[: -len("/login")] if login.endswith("/login") else ""
    with capture_logs() as logs:
        for path in sorted(ENDPOINTS) * 6:
            some = chance.sample(NAMES, chance.randint(0, len(NAMES)))
            sent = [(name, chance.choice(VALUES)) for name in some]
            method = chance.choice(["POST", "POST", "GET", "PUT", "DELETE"])
            if method == "GET" or chance.random() < 0.2:
                short = [(name, value[:200]) for name, value in sent]
                reply = await site.ask(prefix + path, query=short, method=method)
            else:
                reply = await site.ask(prefix + path, sent, method=method)
            assert reply.status == 200, (path, sent)
            answer = reply.json
            if "code" in answer:
                assert answer["code"] in {200, 500}
                assert {"code", "msg"} < set(answer) <= {"code", "msg", "content", "data", "success"}
                assert not {"content", "data"} <= set(answer)
            else:
                assert set(answer) == {"recordsTotal", "recordsFiltered", "data"}
    assert logs == []
