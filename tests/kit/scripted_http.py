"""A scripted HTTP server and what a connection pool under test is driven with."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable

from compat.http1 import Call, ConnectionPool, Origin, Outcome, request_bytes

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: keep-alive\r\n\r\n{"code":200}'
BODY = b'{"code":200}'
LIMIT_S = 20  # no test waits that long unless it fails

Script = Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Plays one script per connection, in order; the last one for all further connections."""

    def __init__(self, *scripts: Script) -> None:
        self.requests: asyncio.Queue[bytes] = asyncio.Queue()
        self.connections = 0
        self.closed_by_client = asyncio.Event()
        self.origin = Origin("http", "127.0.0.1", 0)
        self._scripts = scripts
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._play, "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = Origin("https" if tls else "http", "127.0.0.1", port)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await script(self, reader, writer)
        finally:
            writer.transport.abort()

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_by_client.set()
            raise
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        self.requests.put_nowait(body)
        return body

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def answering(*pieces: bytes, then_close: bool = False, reset: bool = False) -> Script:
    """Answer each request with these pieces, as segments of their own."""

    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
            if reset:
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + b"\0" * 7
                )
            if then_close or reset:
                return

    return script


class Time:
    """The pool's clock, moved by hand; its sweeps go on in real time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Results:
    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Call, Outcome, int, bytes]] = asyncio.Queue()

    def __call__(self, call: Call, outcome: Outcome, status: int, body: bytes) -> None:
        self._queue.put_nowait((call, outcome, status, body))

    async def next(self) -> tuple[Call, Outcome, int, bytes]:
        return await asyncio.wait_for(self._queue.get(), LIMIT_S)

    async def outcomes(self, count: int) -> list[Outcome]:
        return [(await self.next())[1] for _ in range(count)]

    def empty(self) -> bool:
        return self._queue.empty()


class Kit:
    def __init__(self) -> None:
        self.time = Time()
        self.results = Results()
        self.servers: list[Server] = []
        self.pools: list[ConnectionPool] = []

    async def server(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(*scripts)
        await server.start(tls)
        self.servers.append(server)
        return server

    def pool(self, **settings) -> ConnectionPool:
        pool = ConnectionPool(monotonic=self.time, **settings)
        self.pools.append(pool)
        return pool

    def call(self, origin: Origin, body: bytes = b"{}", send_before: float = 1e9) -> Call:
        return Call(request_bytes(origin, "/run", {}, body), send_before, self.results, body)


async def silent(server: Server, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while True:
        await server.read_request(reader)


async def closing_at_once(
    _server: Server, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
) -> None:
    pass


async def closing_after_reading(
    server: Server, reader: asyncio.StreamReader, _: asyncio.StreamWriter
) -> None:
    await server.read_request(reader)


def holding(gate: asyncio.Event) -> Script:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            await gate.wait()
            writer.write(OK)

    return script


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            await asyncio.sleep(0.005)
