"""Replays what executors before 2.2.0 were recorded saying, against both directions of their generations.

Expectations come from the recorded bytes and from what their files say beside them, never from the parsers under test.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from compat import inbound
from compat.hessian import Long, Struct, Value, hessian1, hessian2
from compat.inbound import setup_executor_routes
from compat.link import RestLink
from gateway.core.access import AccessTokens, Reach
from gateway.core.clock import SystemClock
from gateway.core.errors import Unreachable
from gateway.core.generations import (
    FORM14,
    FORM15,
    NETCOM16,
    NETCOM17,
    NETCOM18,
    NETCOM19,
    XXLRPC20,
    XXLRPC21,
)
from gateway.core.model import AddressMode, App, Beat, BlockStrategy, ExecutorResult, Job, LogPage, Task
from gateway.core.ports import Outcome, RunOrder
from gateway.core.registry import Registry
from tests.kit.captures import Capture, captures_of

TOKEN = "default_token"
DIALECTS = {
    "1.6.2": NETCOM16, "1.7.0": NETCOM16, "1.7.2": NETCOM17, "1.8.0": NETCOM17,
    "1.8.1": NETCOM18, "1.8.2": NETCOM18, "1.9.0": NETCOM18, "1.9.1": NETCOM18, "1.9.2": NETCOM19,
    "2.0.0": XXLRPC20, "2.0.1": XXLRPC20, "2.0.2": XXLRPC20, "2.1.0": XXLRPC20, "2.1.1": XXLRPC21, "2.1.2": XXLRPC21,
}  # fmt: skip
ALL = [capture for version in DIALECTS for capture in captures_of(version)]
_DECODED = re.compile(r"(?:com\.xxl|java)\.[\w.$]+\{")


def _marked(captures: Sequence[Capture]) -> list[Any]:
    return [pytest.param(capture, id=f"{capture.version}/{capture.path.stem}") for capture in captures]


def decoded(capture: Capture, part: str) -> dict[str, Any]:
    """The tree that stands beside the bytes, as the recorder's own codec read it; class names are left out."""
    sections = capture.path.read_text("utf-8").split("\n--- RESPONSE\n")
    line = sections[part == "answer"].split("\n(decoded) ")[1].partition("\n")[0]
    tree: dict[str, Any] = ast.literal_eval(_DECODED.sub("{", line))
    return tree


class Desk:
    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.removed: list[tuple[str, str]] = []
        self.results: list[ExecutorResult] = []
        self.reach: Reach | None = None

    async def register(self, beat: Beat) -> None:
        self.beats.append(beat)

    async def remove(self, appname: str, address: str) -> None:
        self.removed.append((appname, address))

    async def report(self, results: Sequence[ExecutorResult], client: str, reach: Reach) -> bool:
        self.results.extend(results)
        self.reach = reach
        return True


class ClockOf(SystemClock):
    """Stands at the moment of the recording, where a call is not stale."""

    def __init__(self, now_ms: int) -> None:
        super().__init__()
        self._recorded_ms = now_ms

    def now_ms(self) -> int:
        return self._recorded_ms


# ---------------------------------------------------------------- executor to gateway


@asynccontextmanager
async def gateway(
    desk: Desk, clock: SystemClock, tokens: Sequence[str] = (TOKEN,), access: AccessTokens | None = None
) -> AsyncIterator[int]:
    app = web.Application()
    access = access or AccessTokens(tokens, Registry(), clock.now_ms)
    setup_executor_routes(app, desk, access=access, clock=clock)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def send(port: int, head: list[str], body: bytes) -> tuple[list[str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [line for line in head if not line.lower().startswith("content-length")]
        writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        answered = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        length = next(int(one.split(":")[1]) for one in answered if one.lower().startswith("content-length"))
        return answered, await asyncio.wait_for(reader.readexactly(length), 5)
    finally:
        writer.close()


def _is_binary(capture: Capture) -> bool:
    return capture.request_body[:1] in {b"M", b"C"}


def _calls(*dialects: str) -> list[Capture]:
    return [one for one in ALL if one.to_gateway and DIALECTS[one.version] in dialects]


@pytest.mark.parametrize("capture", _marked(_calls(NETCOM18, NETCOM19, XXLRPC20)))
async def test_recorded_calls_in_hessian_are_understood_and_acknowledged(capture: Capture) -> None:
    sent = decoded(capture, "request")
    desk = Desk()
    async with gateway(desk, ClockOf(sent["createMillisTime"] + 5)) as port:
        head, body = await send(port, capture.request_head, capture.request_body)
    assert head[0] == "HTTP/1.1 200 OK"

    codec = hessian1 if capture.request_body.startswith(b"M") else hessian2
    said = codec.decode(body)
    assert isinstance(said, Struct)
    assert said.fields.get("requestId") == sent.get("requestId")
    assert said.fields.get("error") is said.fields.get("errorMsg") is None
    result = said.fields["result"]
    assert isinstance(result, Struct)
    assert result.fields == {"code": 200, "msg": None, "content": None}
    if "code': 200" in str(capture.path.read_text().split("--- RESPONSE")[1]):
        assert body == capture.answer_body, "the very bytes that the executor is known to accept"

    (argument,) = sent["parameters"]
    if capture.name.startswith("callback"):
        assert len(desk.results) == len(argument) > 0
        for result_of, item in zip(desk.results, argument, strict=True):
            assert type(result_of.run_id) is type(result_of.code) is int
            assert result_of.run_id == item["logId"]
            assert result_of.code == item["executeResult"]["code"]
            assert result_of.message == item["executeResult"]["msg"]
            assert result_of.log_time_ms == item.get("logDateTim")
            assert result_of.strict_time == ("logDateTim" in item)
    elif capture.name == "registry":
        (beat,) = desk.beats
        assert beat.appname == "lab-app"
        assert beat.address == "http://127.0.0.1:19999/"
        assert beat.dialect == DIALECTS[capture.version]
    else:
        assert capture.name == "registryRemove"
        assert desk.removed == [("lab-app", "http://127.0.0.1:19999/")]


@pytest.mark.parametrize("capture", _marked(_calls(XXLRPC21)))
async def test_recorded_calls_of_2_1_1_and_2_1_2(capture: Capture) -> None:
    """Their JSON is none as soon as a message has a quote: no result may be lost, and none changed."""
    desk = Desk()
    async with gateway(desk, SystemClock()) as port:
        head, body = await send(port, capture.request_head, capture.request_body)
    assert head[0] == "HTTP/1.1 200 OK"
    assert body == b'{"code":200,"msg":null,"content":null}'
    text = capture.request_body.decode("latin-1")
    if capture.name.startswith("callback"):
        frames = re.findall(r'\{"logId":(\d+),"logDateTim":(\d+),"executeResult":\{"code":(\d+)', text)
        assert len(frames) > 0
        found = [(str(one.run_id), str(one.log_time_ms), str(one.code)) for one in desk.results]
        assert found == frames
    elif capture.name == "registry":
        (beat,) = desk.beats
        assert (beat.address, beat.dialect) == ("http://127.0.0.1:19999/", XXLRPC21)
    else:
        assert desk.removed == [("lab-app", "http://127.0.0.1:19999/")]


async def test_the_message_with_quotes_comes_whole() -> None:
    (capture,) = [one for one in captures_of("2.1.2") if one.name == "callback-quotes"]
    desk = Desk()
    async with gateway(desk, SystemClock()) as port:
        await send(port, capture.request_head, capture.request_body)
    (result,) = desk.results
    assert result.message == 'he said "no" C:\\tmp\\x\\ty\nz {a} [b], "content":null'


@pytest.mark.parametrize("version", ["1.8.2", "1.9.2", "2.0.2"])
@pytest.mark.parametrize("why", ["token", "stale", "method", "truncated"])
async def test_refusals_are_what_that_generation_understands(version: str, why: str) -> None:
    (capture,) = [one for one in captures_of(version) if one.name == "registry"]
    sent = decoded(capture, "request")
    body, now_ms = capture.request_body, sent["createMillisTime"]
    if why == "stale":
        now_ms += 180_001
    elif why == "method":
        body = body.replace(b"registry", b"registrz")
    elif why == "truncated":
        body = body[:-20]
    desk = Desk()
    async with gateway(desk, ClockOf(now_ms), ["other"] if why == "token" else [TOKEN]) as port:
        head, answered = await send(port, capture.request_head, body)
    assert head[0] == "HTTP/1.1 200 OK"
    assert not desk.beats
    codec = hessian1 if version == "1.8.2" else hessian2
    said = codec.decode(answered)
    assert isinstance(said, Struct)
    by_method = version != "2.0.2" and why in {"token", "stale"}
    error = said.fields["errorMsg" if b"XxlRpc" in answered else "error"]
    result = said.fields["result"]
    if by_method:
        assert error is None
        assert isinstance(result, Struct)
        assert result.fields["code"] == 500
        assert result.fields["msg"]
    else:
        assert isinstance(error, str)
        assert result is None
    if why != "truncated":
        assert said.fields.get("requestId") == sent.get("requestId")


async def test_a_stale_result_is_taken_all_the_same() -> None:
    capture = next(one for one in captures_of("1.8.2") if one.name == "callback")
    desk = Desk()
    async with gateway(desk, SystemClock()) as port:
        await send(port, capture.request_head, capture.request_body)
    assert desk.results


# ---------------------------------------------------------------- gateway to executor


class RecordedExecutor:
    """A socket that gives the recorded answer, byte for byte, and keeps what it was sent."""

    def __init__(self, answers: Sequence[Capture]) -> None:
        self._answers = list(answers)
        self.heads: list[list[str]] = []
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for capture in self._answers:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            length = next(int(line.split(":")[1]) for line in head if line.startswith("Content-Length"))
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(length))
            lines = [
                line
                for line in capture.answer_head
                if not re.match("(?i)connection|content-length|transfer", line)
            ]
            lines.append(f"Content-Length: {len(capture.answer_body)}")
            writer.write("\r\n".join([*lines, "", ""]).encode() + capture.answer_body)
        await reader.read()
        writer.close()

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[tuple[RestLink, str]]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        link = RestLink(SystemClock(), sent_to=lambda _app, _address: TOKEN, callback_to="127.0.0.1:18080")
        try:
            yield link, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            await link.close()
            server.close()
            await server.wait_closed()


def _order(fields: dict[str, Any], address: str, dialect: str) -> RunOrder:
    task = Task(
        fields["executorHandler"],
        "the job's own",
        fields.get("glueType", "BEAN"),
        fields.get("glueSource", ""),
        fields["glueUpdatetime"],
    )
    job = Job(
        fields["jobId"], 1, 1, 0, 1, "job", True, {}, task,
        block_strategy=BlockStrategy(fields.get("executorBlockStrategy", "SERIAL_EXECUTION")),
        timeout_s=fields.get("executorTimeout", 0),
    )  # fmt: skip
    time_ms = fields.get("logDateTim", fields.get("logDateTime"))
    return RunOrder(
        run_id=fields["logId"],
        job=job,
        appname="lab-app",
        address=address,
        dialect=dialect,
        params=fields["executorParams"],
        shard=fields.get("broadcastIndex", 0),
        shard_total=fields.get("broadcastTotal", 1),
        trigger_ms=time_ms,
        due_ms=time_ms,
        send_before=SystemClock().monotonic() + 5,
        wall_before_ms=1 << 60,
    )


def _plain(value: Value) -> Any:
    if isinstance(value, Struct):
        return {name: _plain(item) for name, item in value.fields.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _is_run(capture: Capture) -> bool:
    return not capture.to_gateway and capture.name.startswith("run") and _is_binary(capture)


# Their recorded request had another token or an old time, which ours does not.
ODD = {"run-bad-token", "run-no-token", "run-stale-timestamp"}


@pytest.mark.parametrize("capture", _marked([one for one in ALL if _is_run(one)]))
async def test_our_run_is_the_recorded_one_and_its_answer_is_understood(capture: Capture) -> None:
    recorded = decoded(capture, "request")
    answered = decoded(capture, "answer")
    dialect = DIALECTS[capture.version]
    (trigger,) = recorded["parameters"]
    trigger["executorParams"] = trigger["executorParams"] or ""  # a null is never sent
    executor = RecordedExecutor([capture])
    done: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
    async with executor.linked() as (link, address):
        order = _order(trigger, address, dialect)
        link.prepare(order)
        assert order.call is not None
        link.run(order, lambda _, outcome, text: done.set_result((outcome, text)))
        outcome, text = await asyncio.wait_for(done, 5)

    assert executor.heads[0][0] == "POST / HTTP/1.1"
    codec = hessian1 if capture.request_body.startswith(b"M") else hessian2
    call = codec.decode(executor.bodies[0])
    assert isinstance(call, Struct)
    theirs = codec.decode(capture.request_body)
    assert isinstance(theirs, Struct)
    assert call.name == theirs.name
    ours = _plain(call)
    free = {"requestId", "createMillisTime", "serverAddress", "parameters"} | (
        {"accessToken"} if capture.name in ODD else set()
    )
    assert {k: v for k, v in ours.items() if k not in free} == {
        k: v for k, v in recorded.items() if k not in free
    }
    assert isinstance(call.fields["createMillisTime"], Long)
    assert abs(call.fields["createMillisTime"] - SystemClock().now_ms()) < 5000
    (ours_of_run,) = ours["parameters"]
    assert ours_of_run.items() >= trigger.items()
    (struct,) = call.fields["parameters"]  # type: ignore[misc, union-attr]
    (their_struct,) = theirs.fields["parameters"]  # type: ignore[misc, union-attr]
    assert struct.name == their_struct.name  # type: ignore[union-attr]

    failure = answered.get("error") or answered.get("errorMsg")
    if failure:
        assert outcome is Outcome.REFUSED
        assert text
        assert failure.strip().startswith(text[:100])
    else:
        ok = answered["result"]["code"] == 200
        assert outcome is (Outcome.ACCEPTED if ok else Outcome.REFUSED)
        assert text == (answered["result"]["msg"] or "")


@pytest.mark.parametrize(
    "capture",
    _marked(
        [one for one in ALL if one.name in {"beat", "idleBeat-idle", "idleBeat-busy", "kill", "kill-none"}]
    ),
)
async def test_answers_to_questions_are_understood(capture: Capture) -> None:
    dialect = DIALECTS[capture.version]
    executor = RecordedExecutor([capture])
    async with executor.linked() as (link, address):
        if capture.name == "beat":
            answer = await link.beat(address, dialect, "lab-app")
        elif capture.name.startswith("idleBeat"):
            answer = await link.idle(address, dialect, "lab-app", 4)
        else:
            answer = await link.kill(address, dialect, "lab-app", 4)
    result = decoded(capture, "answer")["result"]
    assert (answer.ok, answer.code) == (result["code"] == 200, result["code"])
    codec = hessian1 if capture.request_body.startswith(b"M") else hessian2
    ours, recorded = _plain(codec.decode(executor.bodies[0])), decoded(capture, "request")
    assert ours["methodName"] == recorded["methodName"]
    assert ours["parameterTypes"] == recorded["parameterTypes"]
    assert ours["parameters"] == ([] if capture.name == "beat" else [4])
    assert ours.get("accessToken") == recorded.get("accessToken")
    if capture.name == "idleBeat-busy":
        assert not answer.ok


@pytest.mark.parametrize("version", ["1.6.2", "1.7.2"])
async def test_who_does_not_know_the_question_is_not_taken_for_idle(version: str) -> None:
    (capture,) = [one for one in captures_of(version) if one.name == "unknown-method"]
    executor = RecordedExecutor([capture])
    async with executor.linked() as (link, address):
        answer = await link.idle(address, DIALECTS[version], "lab-app", 4)
    assert (answer.ok, answer.code) == (False, 0)


@pytest.mark.parametrize(
    "capture",
    _marked([one for one in ALL if not one.to_gateway and one.name.startswith("log")]),
)
async def test_recorded_logs_are_read(capture: Capture) -> None:
    asked = decoded(capture, "request")
    said = decoded(capture, "answer")
    time_ms, run_id, from_line = asked["parameters"]
    dialect = DIALECTS[capture.version]
    # 2.1.0 looks like 2.0.x until it has been asked with the other's arguments.
    unknown = [one for one in captures_of("2.1.0") if one.name == "unknown-method"]
    answers = [*(unknown if capture.version == "2.1.0" else []), capture]
    executor = RecordedExecutor(answers)
    async with executor.linked() as (link, address):
        asking = link.log(address, dialect, "lab-app", run_id, time_ms, from_line)
        if said["result"]["code"] != 200:
            with pytest.raises(Unreachable, match=re.escape(said["result"]["msg"])):
                await asking
            return
        page = await asking
    codec = hessian1 if capture.request_body.startswith(b"M") else hessian2
    ours = _plain(codec.decode(executor.bodies[-1]))
    assert ours["parameters"] == [time_ms, run_id, from_line]
    assert ours["parameterTypes"] == asked["parameterTypes"]
    content = said["result"]["content"]
    if content is None or (content["isEnd"] and content["toLineNum"] == 0):
        assert page is None
    else:
        assert page == LogPage(
            content["fromLineNum"], content["toLineNum"], content["logContent"], content["isEnd"]
        )


def test_there_is_something_to_replay() -> None:
    assert len(ALL) > 700
    assert json.dumps(sorted({one.version for one in ALL})) == json.dumps(sorted(DIALECTS))


# ---------------------------------------------------------------- without a token


OK_OF_NETCOM = next(one.answer_body for one in captures_of("1.8.2") if one.name == "registry")


def _let_in(clock: SystemClock) -> AccessTokens:
    registry = Registry()
    registry.set_app(App(1, 1, "lab-app", "", AddressMode.AUTO, (), 0, 0, tokenless_from=("127.0.0.1/32",)))
    return AccessTokens([TOKEN], registry, clock.now_ms)


TOKENLESS = [
    *_calls(NETCOM16, NETCOM17),
    *(one for version in ("1.4.1", "1.5.2") for one in captures_of(version) if one.to_gateway),
]


@pytest.mark.parametrize("capture", _marked(TOKENLESS))
async def test_who_cannot_send_a_token_is_understood_where_its_app_lets_it_in(capture: Capture) -> None:
    desk = Desk()
    async with gateway(desk, SystemClock(), access=_let_in(SystemClock())) as port:
        head, body = await send(port, capture.request_head, capture.request_body)
    assert head[0] == "HTTP/1.1 200 OK"
    version = capture.version
    is_json = capture.request_body[:1] in {b"{", b"["}
    if is_json:
        assert body == b'{"code":200,"msg":null,"content":null}'
        said = json.loads(capture.request_body)
    elif version.startswith(("1.6", "1.7")):
        assert body == OK_OF_NETCOM
        (said,) = decoded(capture, "request")["parameters"]
    else:
        assert bytes.fromhex(body.decode())[4:].rstrip(b"\0") == b'{"status":"SUCCESS","msg":null}'
        raw = bytes.fromhex(capture.request_body[4:].decode())
        said = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")].rstrip(b"\0"))
    if capture.name == "registry":
        (beat,) = desk.beats
        assert (beat.address, beat.dialect) == ("http://127.0.0.1:19999/", NETCOM17)
        return
    items = said if isinstance(said, list) else [said]
    assert len(desk.results) == len(items) > 0
    for result, item in zip(desk.results, items, strict=True):
        assert result.run_id == item["logId"]
        if "executeResult" in item:
            assert result.code == item["executeResult"]["code"]
            assert result.message == item["executeResult"]["msg"]
        else:
            assert result.code == (200 if item["status"] == "SUCCESS" else 500)
            assert result.message == item["msg"]
        assert result.log_time_ms == item.get("logDateTim")
    assert desk.reach is not None
    assert not desk.reach.is_everything
    assert desk.reach.covers(1)


@pytest.mark.parametrize("capture", _marked([TOKENLESS[0], TOKENLESS[-1], *_calls(NETCOM17)[:2]]))
@pytest.mark.parametrize("tokens", [[TOKEN], []])
async def test_and_refused_in_its_own_form_where_no_app_does(capture: Capture, tokens: list[str]) -> None:
    desk = Desk()
    with capture_logs() as lines:
        async with gateway(desk, SystemClock(), tokens) as port:
            head, body = await send(port, capture.request_head, capture.request_body)
    assert head[0] == "HTTP/1.1 200 OK"
    assert not desk.beats
    assert not desk.results
    assert [line["log_level"] for line in lines] == ["warning"]
    if body.startswith(b"M"):
        said = hessian1.decode(body)
        assert isinstance(said, Struct)
        assert said.fields["error"] is None
        assert said.fields["result"].fields["code"] == 500  # type: ignore[union-attr]
    elif body.startswith(b"{"):
        assert json.loads(body)["code"] == 500
    else:
        assert json.loads(bytes.fromhex(body.decode())[4:].rstrip(b"\0"))["status"] == "FAIL"


@pytest.mark.parametrize(
    "body",
    [b"", b"hex", b"hex=", b"hex=zz", b"hex=00", b"hex=FFFFFFFF00", b"hex=040000005B5B5B5B", b"hex=020000007B7D0000",
     b"M", b"Mt\x00\x01x", b"C\x01a", b"nonsense", b"hex=" + b"00" * 1000, b"V" * 100_000],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api", "/xxl-job-admin//api", "/any/prefix/api/"])
async def test_what_is_no_call_is_answered_and_logged_without_an_exception(path: str, body: bytes) -> None:
    desk = Desk()
    with capture_logs() as lines:
        async with gateway(desk, SystemClock(), access=_let_in(SystemClock())) as port:
            head, _ = await send(port, [f"POST {path} HTTP/1.1", "Host: h"], body)
    assert head[0] == "HTTP/1.1 200 OK"
    assert not desk.results
    assert [line["log_level"] for line in lines] == ["warning"]


async def test_strangers_can_send_little_to_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "LARGE", 1000)
    capture = next(one for one in captures_of("1.5.2") if one.to_gateway)
    long = capture.request_body + b"00" * 1000
    for access, taken in ((AccessTokens([TOKEN], Registry(), int), 0), (_let_in(SystemClock()), 1)):
        desk = Desk()
        async with gateway(desk, SystemClock(), access=access) as port:
            head, body = await send(port, capture.request_head, long)
        assert head[0] == "HTTP/1.1 200 OK"
        assert len(desk.results) == taken
        if not taken:
            assert b"at most 1000 are read" in body
            assert "Connection: close" in head


async def test_a_large_call_that_does_not_come_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "LARGE", 100)
    monkeypatch.setattr(inbound, "LARGE_AT_ONCE", 1)
    monkeypatch.setattr(inbound, "PATIENCE_S", 0.05)
    capture = next(one for one in captures_of("2.0.2") if one.name == "registry")
    async with gateway(Desk(), ClockOf(decoded(capture, "request")["createMillisTime"])) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write("\r\n".join([*capture.request_head, "", ""]).encode() + capture.request_body[:-1])
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert b"has not come in time" in answer
        _, body = await send(port, capture.request_head, capture.request_body)
        assert body == capture.answer_body, "the next one is not held up"


async def test_a_large_callback_is_read_beside_the_loop() -> None:
    """A queue of results, each as long as these clients send them."""
    capture = next(one for one in captures_of("2.0.2") if one.name == "callback")
    call = hessian2.decode(capture.request_body)
    assert isinstance(call, Struct)
    results = [
        Struct("com.xxl.job.core.biz.model.HandleCallbackParam",
               {"logId": number, "logDateTim": Long(5), "executeResult": Struct("ReturnT", {"code": 500, "msg": "错😀" * 10_000})})
        for number in range(1, 31)
    ]  # fmt: skip
    call.fields["parameters"][0] = results  # type: ignore[index, call-overload]
    body = hessian2.encode(call)
    assert len(body) > 2_000_000
    desk = Desk()
    async with gateway(desk, SystemClock()) as port:
        _, answer = await send(port, capture.request_head, body)
    assert [one.run_id for one in desk.results] == list(range(1, 31))
    assert {one.message for one in desk.results} == {"错😀" * 10_000}
    assert hessian2.decode(answer).fields["errorMsg"] is None  # type: ignore[union-attr]


# ---------------------------------------------------------------- 1.4 and 1.5


def _form_of(body: bytes) -> dict[str, Any]:
    raw = bytes.fromhex(body.removeprefix(b"hex=").decode())
    fields: dict[str, Any] = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")].rstrip(b"\0"))
    assert len(raw) % 4 == 0
    return fields


FORM_CALLS = [
    one for version in ("1.4.1", "1.5.2") for one in captures_of(version)
    if not one.to_gateway and one.name not in {"beat-stale", "unknown-field"}
]  # fmt: skip


@pytest.mark.parametrize("capture", _marked(FORM_CALLS))
async def test_our_form_is_the_recorded_one_and_its_answer_is_understood(capture: Capture) -> None:
    recorded, said = _form_of(capture.request_body), _form_of(capture.answer_body)
    dialect = FORM14 if capture.version == "1.4.1" else FORM15
    executor = RecordedExecutor([capture])
    async with executor.linked() as (link, address):
        if recorded["action"] == "RUN":
            fields = recorded | {
                "jobId": 7,
                "glueUpdatetime": 0,
                "executorParams": recorded["executorParams"] or "",
            }
            done: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
            order = _order(fields, address, dialect)
            link.prepare(order)
            link.run(order, lambda _, outcome, text: done.set_result((outcome, text)))
            outcome, text = await asyncio.wait_for(done, 5)
            assert outcome is (Outcome.ACCEPTED if said["status"] == "SUCCESS" else Outcome.REFUSED)
            assert text == (said["msg"] or "")
        elif recorded["action"] == "LOG":
            page = await link.log(address, dialect, "lab-app", recorded["logId"], recorded["logDateTim"], 1)
            assert (page is None) == (not said["msg"])
        else:
            ask = link.beat if recorded["action"] == "BEAT" else link.kill
            more = () if recorded["action"] == "BEAT" else (7,)
            answer = await ask(address, dialect, "lab-app", *more)  # type: ignore[operator]
            assert (answer.ok, answer.message) == (said["status"] == "SUCCESS", said["msg"] or "")
    ours = _form_of(executor.bodies[0])
    assert list(ours) == list(recorded), "a field too many is a failure there"
    same = {"action", "glueSwitch", "logAddress", "logId", "status", "msg"}
    if recorded["action"] == "RUN":
        same |= {"executorHandler", "logDateTim"}
        assert ours["jobName"] == "7"
    assert {name: ours[name] for name in same} == {name: recorded[name] for name in same}
    assert abs(ours["timestamp"] - SystemClock().now_ms()) < 5000


async def test_a_run_that_was_answered_as_too_old_is_refused_though_it_says_success() -> None:
    (capture,) = [one for one in captures_of("1.4.1") if one.name == "beat-stale"]
    executor = RecordedExecutor([capture])
    done: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
    fields = {
        "executorHandler": "h",
        "executorParams": "",
        "jobId": 7,
        "glueUpdatetime": 0,
        "logId": 1,
        "logDateTim": 5,
    }
    async with executor.linked() as (link, address):
        order = _order(fields, address, FORM14)
        link.run(order, lambda _, outcome, text: done.set_result((outcome, text)))
        assert await asyncio.wait_for(done, 5) == (Outcome.REFUSED, "Timestamp Timeout.")


@pytest.mark.parametrize(
    ("change", "callback_to", "why"),
    [
        ({"logId": 1 << 32}, "h:1", "logId"),
        ({}, "", "advertise"),
        ({"glueType": "GLUE_SHELL"}, "h:1", "BEAN"),
    ],
)
async def test_what_cannot_be_given_to_an_old_executor_is_not_sent(
    change: dict[str, Any], callback_to: str, why: str
) -> None:
    fields = {
        "executorHandler": "h",
        "executorParams": "",
        "jobId": 7,
        "glueUpdatetime": 0,
        "logId": 1,
        "logDateTim": 5,
    }
    link = RestLink(SystemClock(), sent_to=lambda _app, _address: TOKEN, callback_to=callback_to)
    done: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
    order = _order(fields | change, "http://127.0.0.1:1/", FORM15)
    link.prepare(order)
    link.run(order, lambda _, outcome, text: done.set_result((outcome, text)))
    outcome, text = await asyncio.wait_for(done, 5)
    await link.close()
    assert outcome is Outcome.NOT_SENT
    assert why in text
