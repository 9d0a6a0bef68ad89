"""The connection pool against a scripted server: every way a call can end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator

import pytest

from compat.http1 import Call, Origin, Outcome, request_bytes
from compat.http1.connection import Connection
from tests.conftest import require_tool
from tests.kit.scripted_http import (
    BODY,
    LIMIT_S,
    OK,
    Kit,
    answering,
    closing_after_reading,
    closing_at_once,
    holding,
    silent,
    until,
)


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    kit = Kit()
    yield kit
    kit.time.now += 1e6  # what is still in flight times out
    for pool in kit.pools:
        await asyncio.wait_for(pool.close(), LIMIT_S)
        assert pool.stats().connections == pool.stats().in_flight == pool.stats().waiting == 0
    for server in kit.servers:
        await server.stop()


@pytest.mark.parametrize(
    "pieces",
    [
        [OK],
        [OK[i : i + 1] for i in range(len(OK))],
        [OK[:-12], OK[-12:]],
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK],
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
            b'{"cod\r\n7\r\ne":200}\r',
            b"\n0\r\n\r\n",
        ],
    ],
    ids=["whole", "bytes", "head and body", "continue", "continued", "chunked"],
)
async def test_answers_in_all_shapes_keep_the_connection(kit, pieces):
    server = await kit.server(answering(*pieces))
    pool = kit.pool()
    for number in range(3):
        call = kit.call(server.origin, b"%d" % number)
        pool.send(server.origin, call)
        assert await kit.results.next() == (call, Outcome.ANSWERED, 200, BODY)
        assert call.sent_at == kit.time.now
        assert await server.requests.get() == b"%d" % number
    assert server.connections == 1
    assert pool.stats().answered == 3


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"keep-alive", b"close"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"connection: keep-alive\r\n", b""),
        OK + b"more than was asked for",
    ],
    ids=["close", "1.0", "excess"],
)
async def test_a_connection_not_to_be_kept_is_not_used_again(kit, answer):
    server = await kit.server(answering(answer))
    pool = kit.pool()
    for _ in range(3):
        pool.send(server.origin, kit.call(server.origin))
        assert (await kit.results.next())[1:] == (Outcome.ANSWERED, 200, BODY)
    assert server.connections == 3


async def test_a_body_that_ends_with_the_connection(kit):
    server = await kit.server(answering(b"HTTP/1.1 500 Oops\r\n\r\n", b"sorry", then_close=True))
    pool = kit.pool()
    pool.send(server.origin, kit.call(server.origin))
    assert (await kit.results.next())[1:] == (Outcome.ANSWERED, 500, b"sorry")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (closing_after_reading, "closed"),
        (answering(OK[:20], then_close=True), "closed"),
        (answering(OK[:-1], then_close=True), "closed"),
        (answering(OK[:-1], reset=True), ""),
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n\r\n"), "status line"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"), "longer than"),
    ],
    ids=["no answer", "half a head", "half a body", "reset", "garbage", "too long"],
)
async def test_once_sent_a_call_without_a_whole_answer_is_doubtful_and_never_repeated(kit, script, reason):
    server = await kit.server(script)
    pool = kit.pool(max_answer_bytes=1000)
    call = kit.call(server.origin)
    pool.send(server.origin, call)
    assert await kit.results.next() == (call, Outcome.NO_ANSWER, 0, b"")
    assert reason in call.error
    assert call.error
    assert server.requests.qsize() == 1
    assert server.connections == 1


async def test_a_server_that_closes_before_reading(kit):
    server = await kit.server(closing_at_once)
    pool = kit.pool()
    call = kit.call(server.origin)
    pool.send(server.origin, call)
    _, outcome, _, _ = await kit.results.next()
    assert outcome is (Outcome.NO_ANSWER if call.sent_at else Outcome.NOT_SENT)
    assert server.requests.empty()


async def test_time_out(kit):
    server = await kit.server(silent, answering(OK))
    pool = kit.pool(answer_timeout_s=3)
    call = kit.call(server.origin)
    pool.send(server.origin, call)
    await server.requests.get()
    kit.time.now += 2.9
    await asyncio.sleep(0.25)  # two sweeps
    assert kit.results.empty()
    kit.time.now += 0.1
    assert await kit.results.next() == (call, Outcome.NO_ANSWER, 0, b"")
    assert "3 s" in call.error
    await asyncio.wait_for(server.closed_by_client.wait(), LIMIT_S)
    pool.send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]


async def test_what_was_given_up_arrives_no_more(kit):
    """Bytes that the kernel still has, as after lost packets: here because the other side has no room for them."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        origin = Origin("http", *listening.getsockname())
        pool = kit.pool(answer_timeout_s=3)
        call = kit.call(origin, b"a" * 60_000)
        pool.send(origin, call)
        peer, _ = await loop.sock_accept(listening)
        with peer:
            await until(lambda: call.sent_at)
            kit.time.now += 3.1
            assert await kit.results.next() == (call, Outcome.NO_ANSWER, 0, b"")
            assert 0 < await _received_before_a_reset(peer) < 60_000


async def _received_before_a_reset(peer):
    received = 0
    try:
        while data := await asyncio.get_running_loop().sock_recv(peer, 65536):
            received += len(data)
    except ConnectionResetError:
        return received
    raise AssertionError("it was closed as if all had been said")


@pytest.mark.parametrize(("timeout_s", "kept_ms"), [(2.5, 2500), (60, 3000)])
async def test_the_kernel_gives_up_what_is_not_acknowledged_in_time(kit, monkeypatch, timeout_s, kept_ms):
    """Also when the program has ended: a dead node's requests must not arrive after its heirs have asked."""
    seen = []
    made = Connection.connection_made

    def connection_made(self, transport):
        made(self, transport)
        peer = transport.get_extra_info("socket")
        seen.append(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    monkeypatch.setattr(Connection, "connection_made", connection_made)
    server = await kit.server(answering(OK))
    kit.pool(answer_timeout_s=timeout_s).send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    assert seen == [kept_ms]


async def test_refused(kit):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        origin = Origin("http", "127.0.0.1", unused.getsockname()[1])
    pool = kit.pool()
    for _ in range(100):
        pool.send(origin, kit.call(origin))
    assert await kit.results.outcomes(100) == [Outcome.NOT_SENT] * 100
    assert pool.stats().opened == 0
    await until(lambda: pool.stats().addresses == 0)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 100])
async def test_no_such_host(kit, host):
    pool = kit.pool()
    call = kit.call(Origin("http", "h", 1))
    pool.send(Origin("http", host, 1), call)
    assert await kit.results.next() == (call, Outcome.NOT_SENT, 0, b"")
    assert "no connection" in call.error


async def test_a_black_hole_holds_up_nobody_else(kit):
    with socket.socket() as full:  # a listener whose queue is full drops what comes: no answer, no refusal
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        dead = Origin("http", *full.getsockname())
        filler = []
        for _ in range(3):
            filler.append(socket.socket())
            filler[-1].setblocking(False)
            filler[-1].connect_ex(full.getsockname())
        server = await kit.server(answering(OK))
        pool = kit.pool(connect_timeout_s=1)
        lost = [kit.call(dead) for _ in range(50)]
        for call in lost:
            pool.send(dead, call)
        for _ in range(20):
            pool.send(server.origin, kit.call(server.origin))
        assert await kit.results.outcomes(20) == [Outcome.ANSWERED] * 20
        assert pool.stats().connecting == 1  # one asks whether anybody is there
        assert await kit.results.outcomes(50) == [Outcome.NOT_SENT] * 50
        assert "within 1 s" in lost[0].error
        for sock in filler:
            sock.close()


async def test_calls_wait_in_order_for_a_bounded_number_of_connections(kit):
    gate = asyncio.Event()
    server = await kit.server(holding(gate))
    pool = kit.pool(max_connections_per_address=4)
    for number in range(20):
        pool.send(server.origin, kit.call(server.origin, b"%d" % number))
    await until(lambda: server.requests.qsize() == 4)
    assert (pool.stats().connections, pool.stats().in_flight, pool.stats().waiting) == (4, 4, 16)
    gate.set()
    assert await kit.results.outcomes(20) == [Outcome.ANSWERED] * 20
    assert server.connections == 4
    arrived = [int(server.requests.get_nowait()) for _ in range(20)]
    assert sorted(arrived) == list(range(20))
    assert all(abs(number - place) <= 4 for place, number in enumerate(arrived))


async def test_a_call_whose_time_has_passed_is_not_sent(kit):
    server = await kit.server(answering(OK))
    pool = kit.pool()
    call = kit.call(server.origin, send_before=kit.time.now)  # with no connection yet
    pool.send(server.origin, call)
    assert await kit.results.next() == (call, Outcome.NOT_SENT, 0, b"")
    call = kit.call(server.origin, send_before=kit.time.now)  # with an idle one
    pool.send(server.origin, call)
    assert kit.results.empty()  # never from within send
    assert await kit.results.next() == (call, Outcome.NOT_SENT, 0, b"")
    pool.send(server.origin, kit.call(server.origin, send_before=kit.time.now + 0.001))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    assert server.connections == server.requests.qsize() == 1


async def test_a_call_whose_time_passes_while_it_waits_is_not_sent(kit):
    gate = asyncio.Event()
    server = await kit.server(holding(gate))
    pool = kit.pool(max_connections_per_address=1)
    first, second, third = (kit.call(server.origin, send_before=kit.time.now + s) for s in (1, 5, 2))
    for call in first, second, third:
        pool.send(server.origin, call)
    await server.requests.get()
    kit.time.now += 2
    assert (await kit.results.next())[:2] == (third, Outcome.NOT_SENT)  # by the sweep, past the one before it
    gate.set()
    assert {(await kit.results.next())[0] for _ in range(2)} == {first, second}


async def test_a_call_whose_time_passes_while_it_is_looked_at_is_not_lost(kit):
    """A deadline may depend on a clock that goes on between two questions."""

    class Passing(Call):
        __slots__ = ("asked",)

        @property
        def send_before(self):
            self.asked += 1
            return kit.time.now + 1 if self.asked % 2 else 0.0

        @send_before.setter
        def send_before(self, _instant):
            self.asked = 0

    gate = asyncio.Event()
    server = await kit.server(holding(gate))
    pool = kit.pool(max_connections_per_address=1)
    pool.send(server.origin, kit.call(server.origin))
    await server.requests.get()
    call = Passing(request_bytes(server.origin, "/", {}, b""), 0.0, kit.results)
    pool.send(server.origin, call)
    assert (await kit.results.next())[:2] == (call, Outcome.NOT_SENT)
    assert pool.stats().waiting == 0
    gate.set()


async def test_a_connection_closed_by_the_server_while_idle_costs_no_call(kit):
    gate = asyncio.Event()
    closed = asyncio.Event()

    async def closing_when_idle(server, reader, writer):
        await server.read_request(reader)
        writer.write(OK)
        await gate.wait()
        writer.close()
        closed.set()

    server = await kit.server(closing_when_idle, answering(OK))
    pool = kit.pool()
    pool.send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    gate.set()
    await closed.wait()  # the pool's loop has not been told: its socket is merely readable
    pool.send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    assert server.connections == 2


async def test_idle_connections_are_closed_and_the_address_forgotten(kit):
    server = await kit.server(answering(OK))
    pool = kit.pool(idle_close_s=25)
    pool.send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    kit.time.now += 26
    await asyncio.wait_for(server.closed_by_client.wait(), LIMIT_S)
    await until(lambda: pool.stats().addresses == 0)
    pool.send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]


async def test_bytes_nobody_asked_for_end_the_connection(kit):
    async def talkative(server, reader, writer):
        await server.read_request(reader)
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    server = await kit.server(talkative, answering(OK))
    pool = kit.pool()
    pool.send(server.origin, kit.call(server.origin))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    await until(lambda: pool.stats().connections == 0)
    pool.send(server.origin, kit.call(server.origin))
    assert (await kit.results.next())[2] == 200


async def test_a_long_answer(kit):
    body = bytes(range(256)) * 4000
    server = await kit.server(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    )
    pool = kit.pool(max_answer_bytes=len(body))
    for _ in range(2):
        pool.send(server.origin, kit.call(server.origin))
        assert (await kit.results.next())[1:] == (Outcome.ANSWERED, 200, body)
    assert server.connections == 1


async def test_a_long_request(kit):
    server = await kit.server(answering(OK))
    pool = kit.pool()
    body = bytes(range(256)) * (5 * 4096)  # 5 MiB
    pool.send(server.origin, kit.call(server.origin, body))
    pool.send(server.origin, kit.call(server.origin, b"next"))
    assert await kit.results.outcomes(2) == [Outcome.ANSWERED] * 2
    assert {await server.requests.get(), await server.requests.get()} == {body, b"next"}


async def test_a_long_request_is_cut_off_when_its_time_passes_half_way(kit):
    gate = asyncio.Event()
    received = asyncio.Queue()

    async def slow(_server, reader, _writer):
        await reader.readuntil(b"\r\n\r\n")
        await gate.wait()
        received.put_nowait(len(await reader.read(100 * 1024 * 1024)))
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(1024 * 1024):
                received.put_nowait(len(data))
        received.put_nowait(0)

    server = await kit.server(slow)
    pool = kit.pool()
    call = kit.call(server.origin, b"a" * (64 * 1024 * 1024), send_before=kit.time.now + 1)
    pool.send(server.origin, call)
    await until(lambda: call.sent_at > 0)
    kit.time.now += 1
    gate.set()
    assert await kit.results.next() == (call, Outcome.NO_ANSWER, 0, b"")
    assert "the whole request" in call.error
    total = 0
    while size := await asyncio.wait_for(received.get(), LIMIT_S):
        total += size
    assert 0 < total < len(call.request)


async def test_an_answer_before_the_request_has_left_costs_the_connection(kit):
    async def refusing(_server, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    server = await kit.server(refusing, answering(OK))
    pool = kit.pool(max_connections_per_address=1)
    pool.send(server.origin, kit.call(server.origin, b"a" * (64 * 1024 * 1024)))
    pool.send(server.origin, kit.call(server.origin))
    assert (await kit.results.next())[1:] == (Outcome.ANSWERED, 413, b"")
    assert (await kit.results.next())[1:] == (Outcome.ANSWERED, 200, BODY)


async def test_close_lets_sent_calls_finish_and_fails_the_rest(kit):
    gate = asyncio.Event()
    server = await kit.server(holding(gate))
    pool = kit.pool(max_connections_per_address=1)
    sent, waiting, late = (kit.call(server.origin, name) for name in (b"sent", b"waiting", b"late"))
    pool.send(server.origin, sent)
    pool.send(server.origin, waiting)
    await server.requests.get()
    closing = asyncio.create_task(pool.close())
    assert (await kit.results.next())[:2] == (waiting, Outcome.NOT_SENT)
    pool.send(server.origin, late)
    assert (await kit.results.next())[:2] == (late, Outcome.NOT_SENT)
    assert not closing.done()
    gate.set()
    assert (await kit.results.next())[:2] == (sent, Outcome.ANSWERED)
    await asyncio.wait_for(closing, LIMIT_S)
    await pool.close()  # again: nothing to do


async def test_close_does_not_wait_for_ever(kit):
    server = await kit.server(silent)
    pool = kit.pool(answer_timeout_s=3)
    pool.send(server.origin, kit.call(server.origin))
    await server.requests.get()
    kit.time.now += 3
    await asyncio.wait_for(pool.close(), LIMIT_S)
    assert await kit.results.outcomes(1) == [Outcome.NO_ANSWER]


@pytest.mark.parametrize("rounds", range(12))
async def test_close_in_every_moment_of_a_connect(kit, rounds):
    server = await kit.server(answering(OK))
    pools = [kit.pool() for _ in range(20)]
    for pool in pools:
        pool.send(server.origin, kit.call(server.origin))
    for _ in range(rounds):
        await asyncio.sleep(0)
    for pool in pools:
        await asyncio.wait_for(pool.close(), LIMIT_S)
    await kit.results.outcomes(len(pools))


async def test_close_before_a_connect(kit):
    server = await kit.server(answering(OK))
    pool = kit.pool()
    pool.send(server.origin, kit.call(server.origin))
    await asyncio.wait_for(pool.close(), LIMIT_S)
    assert await kit.results.outcomes(1) == [Outcome.NOT_SENT]


async def test_an_error_in_on_done_is_reported_and_harms_nothing(kit):
    server = await kit.server(answering(OK))
    pool = kit.pool(max_connections_per_address=1)
    reported = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: reported.append(context["exception"])
    )

    def fail(*_result):
        raise LookupError("mine")

    pool.send(server.origin, Call(request_bytes(server.origin, "/run", {}, b"1"), 1e9, fail))
    pool.send(server.origin, kit.call(server.origin, b"2"))
    assert await kit.results.outcomes(1) == [Outcome.ANSWERED]
    assert [str(error) for error in reported] == ["mine"]
    assert server.connections == 1


async def test_send_from_within_on_done(kit):
    server = await kit.server(answering(OK))
    pool = kit.pool()

    def again(call, *_result):
        pool.send(server.origin, kit.call(server.origin, b"second"))

    pool.send(server.origin, Call(request_bytes(server.origin, "/run", {}, b"first"), 1e9, again))
    assert (await kit.results.next())[0].token == b"second"
    assert server.connections == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = require_tool("openssl", "the TLS tests make a certificate of their own (Debian: openssl)")
    folder = tmp_path_factory.mktemp("tls")
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_tls(kit, certificate):
    server = await kit.server(answering(OK), tls=certificate)
    pool = kit.pool(verify_tls=False)
    body = b"a" * (1024 * 1024)
    for _ in range(3):
        pool.send(server.origin, kit.call(server.origin, body))
        assert (await kit.results.next())[1:] == (Outcome.ANSWERED, 200, BODY)
        assert await server.requests.get() == body
    assert server.connections == 1


async def test_tls_with_a_certificate_nobody_vouches_for(kit, certificate):
    server = await kit.server(answering(OK), tls=certificate)
    pool = kit.pool()
    call = kit.call(server.origin)
    pool.send(server.origin, call)
    assert await kit.results.next() == (call, Outcome.NOT_SENT, 0, b"")
    assert "certificate verify failed" in call.error
