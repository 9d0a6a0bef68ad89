"""The gateway as a process, and a small client over the fixed points of its API."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tests.kit.process import Process, free_port

ADMIN_TOKEN = "e2e-admin-token"
ACCESS_TOKEN = "e2e-access-token"
FINAL = frozenset(
    {"succeeded", "failed", "timed_out", "lost", "stopped", "retrying", "skipped", "expired", "invalid"}
)
REPOSITORY = Path(__file__).resolve().parents[2]

Json = dict[str, Any]


class ApiError(Exception):
    """The API answered with another status than expected."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"{method} {path}: {status} {body}")
        self.status = status
        self.body = body


class Api:
    """Each call is a connection of its own, so a restarted gateway is no special case."""

    def __init__(self, port: int, token: str = ADMIN_TOKEN, *, timeout_s: float = 10) -> None:
        self.port = port
        self.token = token
        self.timeout_s = timeout_s

    def request(self, method: str, path: str, body: Json | None = None) -> tuple[int, str]:
        """Status and text; OSError when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def call(
        self, method: str, path: str, body: Json | None = None, *, expect: Collection[int] = (200,)
    ) -> Json:
        status, text = self.request(method, path, body)
        if status not in expect:
            raise ApiError(method, path, status, text)
        found: Json = json.loads(text) if text else {}
        return found

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def metric(self, name: str) -> float:
        """The value of `xxljob_gateway_NAME` in /metrics, 0 while nothing was counted."""
        _, text = self.request("GET", "/metrics")
        lines = [line.split() for line in text.splitlines() if line.startswith(f"xxljob_gateway_{name} ")]
        return float(lines[0][1]) if lines else 0.0

    def create_app(self, appname: str, **fields: object) -> Json:
        body: Json = {"appname": appname, "title": appname, "address_mode": "auto", **fields}
        return self.call("POST", "/api/v1/apps", body, expect=(201,))

    def create_job(
        self,
        app: str,
        handler: str,
        *,
        name: str | None = None,
        params: str = "",
        schedule: Json | None = None,
        **fields: object,
    ) -> int:
        """The id. Without a schedule the job only starts by `trigger`."""
        body: Json = {
            "app": app,
            "name": name or f"{app} {handler}",
            "schedule": schedule or {"kind": "api"},
            "task": {"kind": "xxl", "handler": handler, "params": params, "glue_type": "BEAN"},
            "route": "ROUND",
            "block_strategy": "SERIAL_EXECUTION",
            "timeout_s": 0,
            "retry": {"max_attempts": 1},
            "enabled": True,
            **fields,
        }
        return int(self.call("POST", "/api/v1/jobs", body, expect=(201,))["id"])

    def trigger(self, job_id: int, *, params: str | None = None, addresses: list[str] | None = None) -> int:
        body: Json = {}
        if params is not None:
            body["params"] = params
        if addresses is not None:
            body["addresses"] = addresses
        return int(self.call("POST", f"/api/v1/jobs/{job_id}/trigger", body, expect=(202,))["run_id"])

    def enable(self, job_id: int) -> None:
        self.call("POST", f"/api/v1/jobs/{job_id}/enable", {}, expect=(200, 204))

    def disable(self, job_id: int) -> None:
        self.call("POST", f"/api/v1/jobs/{job_id}/disable", {}, expect=(200, 204))

    def delete_job(self, job_id: int) -> None:
        self.call("DELETE", f"/api/v1/jobs/{job_id}", expect=(200, 204))

    def run(self, run_id: int) -> Json:
        return self.call("GET", f"/api/v1/runs/{run_id}")

    def runs(self, job_id: int, *, state: str | None = None, limit: int = 100) -> list[Json]:
        """All pages, by rising id."""
        query: dict[str, object] = {"job_id": job_id, "limit": limit}
        if state:
            query["state"] = state
        found: list[Json] = []
        while True:
            page = self.call("GET", f"/api/v1/runs?{urlencode(query)}")
            found += page["items"]
            if not page.get("next_cursor"):
                return sorted(found, key=lambda run: run["id"])
            query["cursor"] = page["next_cursor"]

    def wait_nothing_late(self, job_id: int, *, timeout_s: float = 12) -> None:
        """Return when all runs that were due a second ago have been taken by an executor, or have ended."""
        unsent = {"planned", "queued", "dispatching"}

        def late() -> list[Json]:
            before_ms = (time.time() - 1) * 1000
            return [run for run in self.runs(job_id) if run["due_ms"] < before_ms and run["state"] in unsent]

        end = time.monotonic() + timeout_s
        while rows := late():
            assert time.monotonic() < end, f"still not sent after {timeout_s:g} s: {rows}"
            time.sleep(0.2)

    def log(self, run_id: int, from_line: int = 1) -> Json:
        return self.call("GET", f"/api/v1/runs/{run_id}/log?from_line={from_line}")

    def stop_run(self, run_id: int) -> None:
        self.call("POST", f"/api/v1/runs/{run_id}/stop", {}, expect=(200, 202, 204))

    def executors(self, appname: str) -> list[Json]:
        items: list[Json] = self.call("GET", f"/api/v1/apps/{quote(appname)}/executors")["items"]
        return items

    def online(self, appname: str) -> set[str]:
        """Addresses a run could go to now, without trailing slashes."""
        gone = {"removed", "dead", "offline", "lost"}
        return {e["address"].rstrip("/") for e in self.executors(appname) if e["state"] not in gone}

    def wait_run(self, run_id: int, states: Collection[str] = FINAL, *, timeout_s: float = 15) -> Json:
        """The run as soon as its state is one of `states`; AssertionError with the row otherwise."""
        end = time.monotonic() + timeout_s
        while True:
            run = self.run(run_id)
            if run["state"] in states:
                return run
            if time.monotonic() > end or run["state"] in FINAL - {"lost"}:  # a late result corrects `lost`
                raise AssertionError(f"run {run_id} not {sorted(states)} but {run}")
            time.sleep(0.05)


@dataclass(frozen=True)
class Ended:
    """What a command said. `errors` are the lines of standard error."""

    code: int
    output: str
    errors: list[str]


def run_command(
    *args: str, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY, timeout_s: float = 30
) -> Ended:
    """`xxljob-gateway ARGS` until it ends, without any setting of the surroundings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("XXLJOB_GATEWAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *args],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env={**plain, "PYTHONPATH": str(REPOSITORY), **(env or {})},
    )
    return Ended(done.returncode, done.stdout, done.stderr.splitlines())


class GatewayProcess:
    """`python -m gateway serve` on a port and a data directory that stay the same over restarts.

    A database of its own (`database_url`) is migrated before the first start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str | None = None,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._unmigrated = database_url
        self.port = free_port()
        self.data_dir = directory / "data"
        self.data_dir.mkdir(exist_ok=True)
        self.process = Process(
            [
                *(sys.executable, "-m", "gateway", "serve", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--data-dir", str(self.data_dir)),
                *(("--database-url", database_url) if database_url else ()),
                *options,
            ],
            log=directory / "gateway.log",
            env={
                "XXLJOB_GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
                "XXLJOB_GATEWAY_ACCESS_TOKEN": ACCESS_TOKEN,
                "PYTHONUNBUFFERED": "1",
                **(env or {}),
            },
            cwd=REPOSITORY,
        )
        self.api = Api(self.port)

    @property
    def admin_url(self) -> str:
        """What executors are configured with."""
        return f"http://127.0.0.1:{self.port}/xxl-job-admin"

    def start(self, timeout_s: float = 20) -> None:
        if self._unmigrated is not None:
            done = run_command("migrate", "--database-url", self._unmigrated)
            assert done.code == 0, done
            self._unmigrated = None
        self.process.start()
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = 20) -> None:
        self.process.wait_ready(self.api.is_ready, timeout_s=timeout_s, what="the gateway's /readyz")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()

    def stop(self, timeout_s: float = 20) -> int | None:
        """SIGTERM; its exit code."""
        return self.process.terminate(timeout_s)

    def wait_killed(self, timeout_s: float = 30) -> None:
        """Return when it has killed itself at a crash point."""
        code = self.process.wait(timeout_s)
        assert code == -signal.SIGKILL, f"ended with {code}\n{self.process.tail()}"

    @property
    def alive(self) -> bool:
        return self.process.alive

    def log_lines(self) -> list[str]:
        return self.process.output().splitlines()
