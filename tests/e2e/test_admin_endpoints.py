"""A script written against xxl-job-admin, on a whole node with an executor: from the first login to the log of its run."""

from __future__ import annotations

import http.cookiejar
import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway_process import ACCESS_TOKEN, GatewayProcess
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PASSWORD = "e2e-let-me-in"


class Script:
    """Forms and a cookie jar, as the standard library has them."""

    def __init__(self, url: str) -> None:
        self.url = url
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def post(self, path: str, **form: Any) -> Any:
        data = urllib.parse.urlencode(form).encode()
        with self.opener.open(self.url + path, data, timeout=10) as answer:
            return json.load(answer)

    def content(self, path: str, **form: Any) -> Any:
        answer = self.post(path, **form)
        assert answer["code"] == 200, answer
        return answer["content"]


def test_a_script_of_xxl_job_admin(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "node", options=("--demo",))
    try:
        gateway.start()
        api = gateway.api
        user = {"username": "admin", "password": PASSWORD, "role": "admin"}
        api.call("POST", "/api/v1/users", user, expect=(201,))
        script = Script(gateway.admin_url)
        script.content("/login", userName="admin", password=PASSWORD)
        (group,) = script.post("/jobgroup/pageList", appname="demo-executor", title="")["data"]
        wait_until(
            lambda: script.content("/jobgroup/loadById", id=group["id"])["registryList"],
            timeout_s=10,
            what="the executor to be registered",
        )
        job_id = script.content(
            "/jobinfo/add",
            jobGroup=group["id"],
            jobDesc="by a script",
            author="me",
            scheduleType="CRON",
            scheduleConf="0/1 * * * * ?",
            misfireStrategy="DO_NOTHING",
            executorRouteStrategy="FIRST",
            executorHandler="demoHello",
            executorBlockStrategy="SERIAL_EXECUTION",
            glueType="BEAN",
        )
        script.content("/jobinfo/trigger", id=job_id, executorParam="by hand", addressList="")

        def logged(**more: Any) -> list[Any]:
            asked = {"jobGroup": group["id"], "jobId": job_id, "logStatus": 1, "filterTime": ""}
            rows: list[Any] = script.post("/joblog/pageList", **asked, start=0, length=10, **more)["data"]
            return rows

        wait_until(logged, timeout_s=10, what="the run that was triggered")
        (row,) = logged()
        assert (row["executorParam"], row["triggerCode"], row["handleCode"]) == ("by hand", 200, 200)
        log = script.content("/joblog/logDetailCat", logId=row["id"], fromLineNum=1)
        assert "by hand" in log["logContent"]

        script.content("/jobinfo/start", id=job_id)
        wait_until(lambda: len(logged()) >= 3, timeout_s=10, what="fires of the schedule")
        script.content("/jobinfo/stop", id=job_id)
        assert api.call("GET", f"/api/v1/jobs/{job_id}")["enabled"] is False

        own = api.call("POST", "/api/v1/apps/demo-executor/tokens", {}, expect=(201,))["token"]
        for token, code in ((ACCESS_TOKEN, 500), (own, 200)):
            request = urllib.request.Request(
                gateway.admin_url.removesuffix("/xxl-job-admin") + "/api/triggerJob",
                json.dumps({"id": int(job_id), "executorParam": "by the job API"}).encode(),
                {"XXL-JOB-ACCESS-TOKEN": token, "XXL-JOB-APPNAME": "demo-executor"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer)["code"] == code
        wait_until(
            lambda: "by the job API" in {row["executorParam"] for row in logged()},
            timeout_s=10,
            what="the run of the job API",
        )
        assert PASSWORD not in (tmp_path / "node" / "gateway.log").read_text()
        assert gateway.process.terminate(15) == 0
    finally:
        gateway.kill()
