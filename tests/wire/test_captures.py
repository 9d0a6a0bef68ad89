"""Replays what real executors were recorded saying (tests/data/captures) against both directions of the REST wire.

Expectations are computed here from the recorded JSON itself, never with the parsers under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from compat import wire
from compat.inbound import setup_executor_routes
from compat.link import RestLink
from gateway.core.access import AccessTokens, Reach
from gateway.core.clock import SystemClock
from gateway.core.errors import Unreachable
from gateway.core.generations import REST, REST35
from gateway.core.model import Beat, BlockStrategy, ExecutorResult, Job, LogPage, Task
from gateway.core.ports import Outcome, RunOrder
from gateway.core.registry import Registry
from tests.kit.captures import Capture, captures_of

TOKEN = "default_token"
JAVA = "java/17.0.15"
CLIENTS = {"pyxxl-0.4.8": "pyxxl", "go-xxl-job-executor-go": "go", "node-xxl-job-0.1.7": "node"}
VERSIONS = [
    "2.2.0", "2.3.0", "2.3.1", "2.4.2", "2.5.0", "3.0.0", "3.1.1", "3.2.0", "3.3.2", "3.4.2", "3.5.0-SNAPSHOT",
    *CLIENTS,
]  # fmt: skip


ALL = [capture for version in VERSIONS for capture in captures_of(version)]


def _marked(captures: Sequence[Capture]) -> list[Any]:
    return [pytest.param(capture, id=f"{capture.version}/{capture.path.stem}") for capture in captures]


class RecordingDesk:
    """Takes everything and keeps it."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.removed: list[tuple[str, str]] = []
        self.results: list[ExecutorResult] = []
        self.clients: list[str] = []

    async def register(self, beat: Beat) -> None:
        self.beats.append(beat)

    async def remove(self, appname: str, address: str) -> None:
        self.removed.append((appname, address))

    async def report(self, results: Sequence[ExecutorResult], client: str, reach: Reach) -> bool:
        self.results.extend(results)
        self.clients.append(client)
        return True


# ---------------------------------------------------------------- executor to gateway


async def _send_to_routes(capture: Capture, desk: RecordingDesk) -> tuple[list[str], bytes]:
    app = web.Application()
    clock = SystemClock()
    setup_executor_routes(app, desk, access=AccessTokens([TOKEN], Registry(), clock.now_ms), clock=clock)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write("\r\n".join([*capture.request_head, "", ""]).encode() + capture.request_body)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length"))
        body = await asyncio.wait_for(reader.readexactly(length), 5)
        writer.close()
        await writer.wait_closed()
    finally:
        await runner.cleanup()
    return head, body


@pytest.mark.parametrize("capture", _marked([capture for capture in ALL if capture.to_gateway]))
async def test_recorded_calls_are_understood_and_acknowledged(capture: Capture) -> None:
    assert int(capture.header("Content-Length") or "") == len(capture.request_body), "the capture is damaged"
    desk = RecordingDesk()
    head, body = await _send_to_routes(capture, desk)

    assert head[0] == "HTTP/1.1 200 OK"
    assert "Content-Type: application/json" in head
    said = json.loads(body)
    assert said == {"code": 200, "msg": None, "content": None}

    sent = json.loads(capture.request_body)
    client = CLIENTS.get(capture.version, JAVA)
    if capture.name.startswith("callback"):
        items = sent["callbackList"] if isinstance(sent, dict) else sent
        assert len(desk.results) == len(items) > 0
        assert desk.clients == [client]
        for result, item in zip(desk.results, items, strict=True):
            flat = "handleCode" in item
            assert result.run_id == item["logId"]
            assert result.code == (item["handleCode"] if flat else item["executeResult"]["code"])
            assert result.message == (item.get("handleMsg") if flat else item["executeResult"].get("msg"))
            assert result.log_time_ms == item.get("logDateTim", item.get("logDateTime"))
            assert result.strict_time == (client == JAVA)
    elif capture.name == "registry":
        (beat,) = desk.beats
        assert beat.appname == sent["registryKey"] == "lab-app"
        assert beat.address == sent["registryValue"].rstrip("/") + "/"
        assert beat.client == client
        assert beat.dialect == ("rest35" if capture.version.startswith("3.5") else "rest")
    else:
        assert capture.name == "registryRemove"
        assert desk.removed == [("lab-app", sent["registryValue"].rstrip("/") + "/")]


# ---------------------------------------------------------------- gateway to executor

FIELDS = {
    "jobId", "executorHandler", "executorParams", "executorBlockStrategy", "executorTimeout", "logId", "logDateTime",
    "glueType", "glueSource", "glueUpdatetime", "broadcastIndex", "broadcastTotal",
}  # fmt: skip
# What the recorded executors refused, by the name of the exchange; all others were accepted.
REFUSED_BY_ALL = {"run-unknown-handler", "run-unknown-gluetype", "run-discard-later", "run-duplicate-logid"}
REFUSED_BY_JAVA = REFUSED_BY_ALL | {"run-bad-token", "run-no-token"}
REFUSED_BY_OTHERS = {
    "pyxxl-0.4.8": {"run-unknown", "run-discard", "run-minimal"},
    "go-xxl-job-executor-go": {"run-unknown", "run-serial", "run-discard"},
    "node-xxl-job-0.1.7": {"run-unknown", "run-serial", "run-discard", "run-bad-token"},
}


def _is_refused(capture: Capture) -> bool:
    return capture.name in REFUSED_BY_OTHERS.get(capture.version, REFUSED_BY_JAVA) | {"old-run-path"}


class RecordedExecutor:
    """A socket that gives the recorded answer, byte for byte, and keeps what it was sent."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.heads: list[list[str]] = []
        self.bodies: list[bytes] = []
        self._over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in head if line.startswith("Content-Length"))
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(length))
        answer = "\r\n".join([*self._capture.answer_head, "", ""]).encode() + self._capture.answer_body
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        self._over.set()

    @asynccontextmanager
    async def at_address(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        prefix = self._capture.target.rpartition("/")[0]
        try:
            yield f"http://{host}:{port}{prefix}/"
            await asyncio.wait_for(self._over.wait(), 5)
        finally:
            server.close()
            await server.wait_closed()


def _order(fields: dict[str, Any], address: str, dialect: str) -> RunOrder:
    task = Task(
        fields["executorHandler"],
        fields["executorParams"],
        fields["glueType"],
        fields["glueSource"],
        fields["glueUpdatetime"],
    )
    job = Job(
        fields["jobId"], 1, 1, 0, 1, "job", True, {}, task,
        block_strategy=BlockStrategy(fields["executorBlockStrategy"]), timeout_s=fields["executorTimeout"],
    )  # fmt: skip
    return RunOrder(
        run_id=fields["logId"],
        job=job,
        appname="lab-app",
        address=address,
        dialect=dialect,
        params=None,
        shard=fields["broadcastIndex"],
        shard_total=fields["broadcastTotal"],
        trigger_ms=fields["logDateTime"],
        due_ms=fields["logDateTime"],
        send_before=SystemClock().monotonic() + 5,
        wall_before_ms=1 << 60,
    )


def _dialect(capture: Capture) -> str:
    return REST35 if capture.version.startswith("3.5") else REST


def _is_ours(capture: Capture) -> bool:
    """A call as the gateway makes it: all fields, the usual way of sending it."""
    if capture.to_gateway or capture.request_head[0].startswith("GET") or capture.status == 100:
        return False
    if capture.header("Transfer-Encoding") or capture.header("Content-Encoding"):
        return False
    try:
        fields = json.loads(capture.request_body)
    except ValueError:
        return False
    return capture.name.startswith("run") and set(fields) == FIELDS and fields["executorParams"] is not None


async def _run(link: RestLink, order: RunOrder) -> tuple[Outcome, str]:
    done: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
    link.prepare(order)
    link.run(order, lambda _, outcome, text: done.set_result((outcome, text)))
    return await asyncio.wait_for(done, 5)


@pytest.mark.parametrize("capture", _marked([capture for capture in ALL if _is_ours(capture)]))
async def test_our_run_is_the_recorded_one_and_its_answer_is_understood(capture: Capture) -> None:
    executor = RecordedExecutor(capture)
    link = RestLink(SystemClock(), sent_to=lambda _app, _address: TOKEN)
    recorded = json.loads(capture.request_body)
    async with executor.at_address() as address:
        order = _order(recorded, address, _dialect(capture))
        before_ms = SystemClock().now_ms()
        outcome, text = await _run(link, order)
        await link.close()

    assert executor.heads[0][0] == capture.request_head[0]
    ours = json.loads(executor.bodies[0])
    assert ours == recorded
    assert {name: type(value) for name, value in ours.items()} == {
        name: type(value) for name, value in recorded.items()
    }
    for header in ("Content-Type: application/json;charset=UTF-8", f"XXL-JOB-ACCESS-TOKEN: {TOKEN}",
                   "XXL-JOB-APPNAME: lab-app", "Connection: keep-alive"):  # fmt: skip
        assert header in executor.heads[0]
    assert outcome is (Outcome.REFUSED if _is_refused(capture) else Outcome.ACCEPTED)
    assert abs(order.sent_ms - before_ms) < 5000
    if outcome is Outcome.REFUSED:
        assert text, "a refusal has a reason"


@pytest.mark.parametrize(
    "capture",
    _marked([c for c in ALL if not c.to_gateway and c.request_head[0].endswith(("/beat HTTP/1.1", "/idleBeat HTTP/1.1",
             "/kill HTTP/1.1")) and c.status != 100]),
)  # fmt: skip
async def test_answers_to_questions_are_understood(capture: Capture) -> None:
    executor = RecordedExecutor(capture)
    link = RestLink(SystemClock(), sent_to=lambda _app, _address: TOKEN)
    answer, failure = None, ""
    method = capture.target.rpartition("/")[2]
    async with executor.at_address() as address:
        try:
            if method == "beat":
                answer = await link.beat(address, _dialect(capture), "lab-app")
            elif method == "idleBeat":
                answer = await link.idle(address, _dialect(capture), "lab-app", 4)
            else:
                answer = await link.kill(address, _dialect(capture), "lab-app", 4)
        except Unreachable as error:
            failure = str(error)
        await link.close()
    if answer is None:
        assert capture.status == 400, "only Node, for a body that we do not send"
        assert "HTTP 400" in failure
        return
    said = json.loads(capture.answer_body)
    assert answer.code == said["code"]
    assert answer.ok == (said["code"] == 200)
    assert json.loads(executor.bodies[0]) == ({} if method == "beat" else {"jobId": 4})
    recorded = capture.request_body
    if capture.name in {"kill", "kill-none", "idleBeat-idle", "idleBeat-busy", "idleBeat"}:
        assert set(json.loads(recorded)) == {"jobId"}
    if capture.name == "idleBeat-busy":
        assert not answer.ok


@pytest.mark.parametrize(
    "capture", _marked([c for c in ALL if not c.to_gateway and c.target.endswith("/log") and c.status == 200])
)
async def test_recorded_logs_are_read(capture: Capture) -> None:
    executor = RecordedExecutor(capture)
    link = RestLink(SystemClock(), sent_to=lambda _app, _address: TOKEN)
    asked = json.loads(capture.request_body)
    time_ms = asked.get("logDateTim", asked.get("logDateTime"))
    said = json.loads(capture.answer_body)
    page: LogPage | None = None
    refusal = ""
    async with executor.at_address() as address:
        try:
            page = await link.log(
                address, _dialect(capture), "lab-app", asked["logId"], time_ms, asked["fromLineNum"]
            )
        except Unreachable as error:
            refusal = str(error)
        await link.close()

    assert json.loads(executor.bodies[0]).items() >= asked.items()
    if capture.version.startswith("node") and "log-missing" in capture.name:
        assert said["msg"] in refusal, "code 500 says nothing about the run"
    elif said["code"] != 200:
        assert said["msg"] in refusal
        assert capture.name == "log-350"
    elif "log-missing" in capture.name and not capture.version.startswith("go"):
        assert page is None
    else:
        recorded = said.get("content") or said["data"]
        assert page == LogPage(
            recorded["fromLineNum"], recorded["toLineNum"], recorded["logContent"], recorded["isEnd"]
        )


def _other_answers() -> list[Capture]:
    known = ("/beat", "/idleBeat", "/kill", "/log", "/run", "/trigger")
    return [c for c in ALL if not c.to_gateway and (not c.target.endswith(known) or not _is_ours(c)) and c.status == 200
            and not c.target.endswith("/log")]  # fmt: skip


@pytest.mark.parametrize("capture", _marked(_other_answers()))
def test_answers_to_odd_requests_are_read_too(capture: Capture) -> None:
    said = json.loads(capture.answer_body)
    answer = wire.parse_answer(200, capture.answer_body)
    if isinstance(said, list):
        assert not answer.ok
        assert answer.message == said[0]["handleMsg"]
    else:
        assert (answer.code, answer.ok) == (said["code"], said["code"] == 200)


def test_go_refuses_with_a_list_and_pyxxl_with_status_500() -> None:
    (go,) = (c for c in ALL if c.version.startswith("go") and c.name == "run-unknown")
    answer = wire.parse_answer(200, go.answer_body)
    assert (answer.ok, answer.code, answer.message) == (False, 500, "Task not registered")
    (pyxxl,) = (c for c in ALL if c.version.startswith("pyxxl") and c.name == "run-minimal")
    with pytest.raises(wire.MalformedError, match="HTTP 500"):
        wire.parse_answer(pyxxl.status, pyxxl.answer_body)


def test_every_version_is_here() -> None:
    assert {capture.version for capture in ALL} == set(VERSIONS)
    assert sum(capture.to_gateway for capture in ALL) > 240
