"""The executors' routes: whatever comes, status 200 and an envelope, and no exception in the log."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from compat import inbound
from compat.inbound import setup_executor_routes
from gateway.core.access import AccessToken, AccessTokens, Reach, mark_of
from gateway.core.clock import SystemClock
from gateway.core.errors import NotFound, StoreError
from gateway.core.model import AddressMode, App, Beat, ExecutorResult
from gateway.core.registry import Registry

REGISTRATION = {"registryGroup": "EXECUTOR", "registryKey": "lab", "registryValue": "http://h:1"}
RESULT = {"logId": 7, "logDateTim": 5, "handleCode": 200, "handleMsg": "fine"}
OK = {"code": 200, "msg": None, "content": None}


class Desk:
    """Keeps the order of things; fails or waits where a test says so."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.beats: list[Beat] = []
        self.results: list[ExecutorResult] = []
        self.reaches: list[Reach] = []
        self.durable = True
        self.fails: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def register(self, beat: Beat) -> None:
        if beat.appname == "unknown":
            raise NotFound("app", beat.appname)
        if self.gate is not None:
            await self.gate.wait()
        self.calls.append(f"register {beat.address}")
        self.beats.append(beat)

    async def remove(self, appname: str, address: str) -> None:
        self.calls.append(f"remove {address}")

    async def report(self, results: Sequence[ExecutorResult], client: str, reach: Reach) -> bool:
        if self.fails is not None:
            raise self.fails
        self.results.extend(results)
        self.reaches.append(reach)
        self.calls.append(f"report {client}")
        return self.durable


class Wire:
    """Raw HTTP towards the routes."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def exchange(self, request: bytes) -> tuple[bytes, Any]:
        """Head and envelope; the status must be 200."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            return await self.answer(reader)
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader) -> tuple[bytes, Any]:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        if head.startswith(b"HTTP/1.1 100"):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        assert b"Content-Type: application/json" in head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head, json.loads(await asyncio.wait_for(reader.readexactly(length), 5))

    async def post(self, path: str, body: object, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return (await self.exchange(request_of(path, data, **headers)))[1]


def request_of(path: str, data: bytes, method: str = "POST", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


@asynccontextmanager
async def serving(
    desk: Desk, tokens: Collection[str] = (), access: AccessTokens | None = None
) -> AsyncIterator[Wire]:
    app = web.Application()
    clock = SystemClock()
    access = access or AccessTokens([one for one in tokens if one], Registry(), clock.now_ms)
    setup_executor_routes(app, desk, access=access, clock=clock)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Wire(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "prefix", ["", "/xxl-job-admin", "/a/b", "/xxl-job-admin/", "/api", "/my%20app", "/v1"]
)
async def test_any_prefix(prefix: str) -> None:
    desk = Desk()
    async with serving(desk) as wire:
        assert await wire.post(f"{prefix}/api/registry", REGISTRATION) == OK
        assert await wire.post(f"{prefix}/api/callback", [RESULT], User_Agent="Go-http-client/1.1") == OK
        assert await wire.post(f"{prefix}/api/registryRemove", REGISTRATION) == OK
    assert desk.calls == ["register http://h:1/", "report go", "remove http://h:1/"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/registry"), ("PUT", "/x/api/callback"), ("POST", "/api/nope"), ("POST", "/api"), ("POST", "/x/api/"),
     ("POST", "/api/x/registry"), ("POST", "/api/registry/"), ("DELETE", "/xxl-job-admin/api/v1/registry")],
)  # fmt: skip
async def test_other_methods_and_paths(method: str, path: str) -> None:
    async with serving(Desk()) as wire:
        _, said = await wire.exchange(request_of(path, b"{}", method))
    assert said["code"] == 500
    assert said["content"] is None


@pytest.mark.parametrize("path", ["/api/v1/registry", "/api/v1", "/apis/registry", "/xapi/registry"])
async def test_paths_of_others_are_left_alone(path: str) -> None:
    async with serving(Desk()) as wire:
        with pytest.raises(AssertionError, match="404"):
            await wire.exchange(request_of(path, b"{}"))


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/octet-stream", "nonsense; x"])
async def test_any_content_type_and_a_bogus_encoding(content_type: str) -> None:
    desk = Desk()
    async with serving(desk) as wire:
        said = await wire.post(
            "/api/callback", [RESULT], Content_Type=content_type, Content_Encoding="UTF-8", Expect="whatever"
        )
    assert said == OK
    assert desk.results[0].run_id == 7


class TestTokens:
    @pytest.mark.parametrize(
        ("sent", "accepted"),
        [("second", True), ("first", True), ("wrong", False), ("", False), (None, False), ("firs", False), ("ключ", False)],
    )  # fmt: skip
    async def test_one_of_the_list(self, sent: str | None, accepted: bool) -> None:
        desk = Desk()
        headers = {} if sent is None else {"xxl_job_access_token": sent}
        with capture_logs() as lines:
            async with serving(desk, ["first", "second"]) as wire:
                for call in ("registry", "registryRemove", "callback"):
                    said = await wire.post(
                        f"/api/{call}", [RESULT] if call == "callback" else REGISTRATION, **headers
                    )
                    assert said["code"] == (200 if accepted else 500)
        assert bool(desk.calls) is accepted
        assert len(lines) == (0 if accepted else 3)
        assert not any(sent and sent in str(line) for line in lines), "tokens stay out of the log"

    async def test_no_tokens_accept_everyone(self) -> None:
        async with serving(Desk(), [""]) as wire:
            assert await wire.post("/api/registry", REGISTRATION, XXL_JOB_ACCESS_TOKEN="any") == OK
            assert await wire.post("/api/registry", REGISTRATION) == OK

    async def test_a_token_of_one_app(self) -> None:
        desk = Desk()
        registry = Registry()
        registry.set_app(App(1, 1, "lab", "", AddressMode.AUTO, (), 0, 0))
        access = AccessTokens(["global"], registry, SystemClock().now_ms)
        access.set_all([AccessToken(1, 1, 1, "own")])
        async with serving(desk, access=access) as wire:
            for token, accepted in (("own", True), ("global", False)):
                for call in ("registry", "registryRemove"):
                    said = await wire.post(f"/api/{call}", REGISTRATION, XXL_JOB_ACCESS_TOKEN=token)
                    assert said["code"] == (200 if accepted else 500)
                assert await wire.post("/api/callback", [RESULT], XXL_JOB_ACCESS_TOKEN=token) == OK
            assert said["msg"] == "the access token is not one app lab accepts"
        assert [beat.token_mark for beat in desk.beats] == [mark_of("own")]
        assert [reach.covers(1) for reach in desk.reaches] == [True, False]


class TestRegistration:
    async def test_what_the_desk_is_told(self) -> None:
        desk = Desk()
        async with serving(desk) as wire:
            await wire.post("/api/registry", REGISTRATION, XXL_JOB_APPNAME="lab", User_Agent="Java/21")
        (beat,) = desk.beats
        assert (beat.appname, beat.address, beat.dialect, beat.client) == (
            "lab",
            "http://h:1/",
            "rest35",
            "java/21",
        )

    async def test_a_blank_app_name_header_is_refused(self) -> None:
        async with serving(Desk()) as wire:
            said = await wire.post("/api/registry", REGISTRATION, XXL_JOB_APPNAME=" ")
        assert "XXL-JOB-APPNAME" in said["msg"]

    @pytest.mark.parametrize(
        ("changes", "named"),
        [({"registryKey": " "}, "registryKey"), ({"registryValue": ""}, "registryValue"),
         ({"registryGroup": None}, "registryGroup"), ({"registryValue": "10.0.0.1"}, "registryValue"),
         ({"registryKey": "unknown"}, "app 'unknown' does not exist")],
    )  # fmt: skip
    async def test_refusals_name_the_field(self, changes: dict[str, object], named: str) -> None:
        desk = Desk()
        with capture_logs() as lines:
            async with serving(desk) as wire:
                said = await wire.post("/api/registry", {**REGISTRATION, **changes})
        assert said["code"] == 500
        assert named in said["msg"]
        assert not desk.calls
        assert [(line["event"], line["log_level"]) for line in lines] == [
            ("executor_call_refused", "warning")
        ]

    async def test_one_address_is_processed_in_the_order_of_arrival(self) -> None:
        desk = Desk()
        desk.gate = asyncio.Event()
        async with serving(desk) as wire:
            beat = asyncio.create_task(wire.post("/api/registry", REGISTRATION))
            await asyncio.sleep(0.05)
            removal = asyncio.create_task(
                wire.post("/api/registryRemove", {**REGISTRATION, "registryValue": "http://h:1/"})
            )
            other = await wire.post("/api/registryRemove", {**REGISTRATION, "registryValue": "http://h:2"})
            assert other == OK, "another address does not wait"
            await asyncio.sleep(0.05)
            desk.gate.set()
            assert await beat == await removal == OK
        assert desk.calls == ["remove http://h:2/", "register http://h:1/", "remove http://h:1/"]


class TestCallbacks:
    async def test_good_ones_are_taken_bad_ones_left_out_with_one_line(self) -> None:
        desk = Desk()
        with capture_logs() as lines:
            async with serving(desk) as wire:
                assert await wire.post("/api/callback", [{"logId": "?"}, RESULT, None]) == OK
        assert [result.run_id for result in desk.results] == [7]
        assert [(line["event"], line["count"]) for line in lines] == [("results_left_out", 2)]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[{]",
            b"not json",
            b'"x"',
            b"[" * 1_000_000,
            b"{}",
            b'[{"logId":null}]',
            b"\x00\xff" * 50,
        ],
    )
    async def test_malformed_is_code_500_and_one_line(self, body: bytes) -> None:
        desk = Desk()
        with capture_logs() as lines:
            async with serving(desk) as wire:
                said = await wire.post("/api/callback", body)
        assert said["code"] == 500
        assert said["msg"]
        assert not desk.calls
        assert [line["log_level"] for line in lines] == ["warning"]

    async def test_an_empty_array_is_fine(self) -> None:
        async with serving(Desk()) as wire:
            assert await wire.post("/api/callback", []) == OK

    async def test_not_durable_is_code_500(self) -> None:
        desk = Desk()
        desk.durable = False
        async with serving(desk) as wire:
            assert (await wire.post("/api/callback", [RESULT]))["code"] == 500
            desk.fails = StoreError("the database is gone")
            assert "the database is gone" in (await wire.post("/api/callback", [RESULT]))["msg"]

    async def test_a_fault_of_ours_is_an_envelope_too_and_logged_as_one(self) -> None:
        desk = Desk()
        desk.fails = RuntimeError("secret detail")
        with capture_logs() as lines:
            async with serving(desk) as wire:
                said = await wire.post("/api/callback", [RESULT])
        assert said["code"] == 500
        assert "secret" not in said["msg"]
        assert [(line["event"], line["log_level"]) for line in lines] == [("executor_call_failed", "error")]

    async def test_only_java_is_held_to_the_time_it_was_given(self) -> None:
        desk = Desk()
        async with serving(desk) as wire:
            await wire.post("/api/callback", [RESULT], User_Agent="Java/17")
            await wire.post("/api/callback", [RESULT], User_Agent="axios/1.7.4")
        assert [result.strict_time for result in desk.results] == [True, False]


class TestBodies:
    async def test_a_large_one_is_read(self) -> None:
        desk = Desk()
        body = [{**RESULT, "logId": n, "handleMsg": "你" * 50_000} for n in range(1, 31)]
        async with serving(desk) as wire:
            data = json.dumps(body, ensure_ascii=False).encode()
            assert len(data) > 4_000_000
            assert await wire.post("/api/callback", data) == OK
        assert len(desk.results) == 30

    async def test_one_that_says_it_is_too_large_is_refused_unread(self) -> None:
        head = f"POST /api/callback HTTP/1.1\r\nHost: h\r\nContent-Length: {inbound.MAX_BODY + 1}\r\n\r\n".encode()
        async with serving(Desk()) as wire:
            answer, said = await wire.exchange(head + b"[")
        assert said["code"] == 500
        assert str(inbound.MAX_BODY) in said["msg"]
        assert b"Connection: close" in answer

    async def test_one_that_turns_out_too_large_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbound, "MAX_BODY", 1000)
        piece = b"3e8\r\n" + b" " * 1000 + b"\r\n"
        head = b"POST /api/callback HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving(Desk()) as wire:
            answer, said = await wire.exchange(head + piece * 5 + b"0\r\n\r\n")
        assert "more than 1000 bytes" in said["msg"]
        assert b"Connection: close" in answer

    async def test_in_pieces_chunked_compressed_and_after_a_100(self) -> None:
        desk = Desk()
        data = json.dumps([RESULT]).encode()
        chunked = b"POST /api/callback HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"".join(b"1\r\n%c\r\n" % byte for byte in data) + b"0\r\n\r\n"
        async with serving(desk) as wire:
            assert (await wire.exchange(chunked))[1] == OK
            assert await wire.post("/api/callback", gzip.compress(data), Content_Encoding="gzip") == OK
            assert await wire.post("/api/callback", data, Expect="100-continue") == OK
            reader, writer = await asyncio.open_connection("127.0.0.1", wire._port)
            for byte in request_of("/api/callback", data):
                writer.write(bytes([byte]))
                await writer.drain()
            assert (await wire.answer(reader))[1] == OK
            writer.close()
        assert len(desk.results) == 4

    async def test_broken_ones_are_answered_or_dropped_without_an_exception(self, caplog: Any) -> None:
        desk = Desk()
        broken_gzip = request_of("/api/callback", b"nonsense", Content_Encoding="gzip")
        truncated = request_of("/api/callback", json.dumps([RESULT]).encode())[:-5]
        bad_chunk = (
            b"POST /api/callback HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n|ZZ\r\n"
        )
        with capture_logs() as lines:
            async with serving(desk) as wire:
                for request in (broken_gzip, truncated, bad_chunk):
                    reader, writer = await asyncio.open_connection("127.0.0.1", wire._port)
                    for part in request.split(b"|"):
                        writer.write(part)
                        await asyncio.sleep(0.02)  # so that the handler has begun
                    writer.write_eof()
                    await asyncio.wait_for(reader.read(), 5)
                    writer.close()
                assert await wire.post("/api/callback", [RESULT]) == OK, "it goes on"
        assert len(desk.results) == 1
        assert all(line["log_level"] == "warning" for line in lines)
        assert not [record for record in caplog.records if record.exc_info]

    async def test_keep_alive_and_http_1_0(self) -> None:
        desk = Desk()
        data = json.dumps([RESULT]).encode()
        async with serving(desk) as wire:
            reader, writer = await asyncio.open_connection("127.0.0.1", wire._port)
            for _ in range(3):
                writer.write(request_of("/api/callback", data))
                head, said = await wire.answer(reader)
                assert said == OK
                assert b"close" not in head
            writer.write(request_of("/api/callback", data) * 2)  # pipelined
            assert (await wire.answer(reader))[1] == OK
            assert (await wire.answer(reader))[1] == OK
            writer.write(request_of("/api/callback", data, Connection="close"))
            assert (await wire.answer(reader))[1] == OK
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert len(desk.results) == 6


async def test_http_1_0_is_answered_and_closed() -> None:
    desk = Desk()
    async with serving(desk) as wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", wire._port)
        data = json.dumps([RESULT]).encode()
        writer.write(request_of("/api/callback", data).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b" 200 OK\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == OK
