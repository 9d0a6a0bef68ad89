"""A TCP proxy with faults: what a node, its database and the executors say to each other passes through it.

All proxies of a run live in one thread with an event loop of its own; the methods here may be called from any other
thread and return when the change is in force. A direction that is held keeps its bytes and delivers them when it
passes again, as TCP does after packets were dropped for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.kit.process import free_port

T = TypeVar("T")
Address = tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CHUNK = 65536
TO_SERVER = "to_server"
TO_CLIENT = "to_client"


@dataclass
class Faults:
    """What happens now. `hold` names directions whose bytes stay; delays are seconds for each chunk."""

    refuse: bool = False
    hold: frozenset[str] = frozenset()
    delay_s: dict[str, float] = field(default_factory=dict)
    pids: frozenset[int] | None = None  # only connections of these processes; None: of all


@dataclass
class Sabotage:
    """Cut the connection at each `every`-th chunk with this text in it, before or after the server has got it."""

    text: bytes
    after: bool
    every: int
    seen: int = 0
    done: int = 0


class Hub:
    """The thread and its loop. Close it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self.proxies: list[Proxy] = []

    def call(self, work: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result(20)

    def proxy(self, targets: Sequence[Address], *, host: str = "127.0.0.1", port: int | None = None) -> Proxy:
        """A listening proxy. Several targets are taken in turn, past those that refuse."""
        made = Proxy(self, targets, host, port or free_port())
        self.call(made.listen())
        self.proxies.append(made)
        return made

    def close(self) -> None:
        async def end() -> None:
            for proxy in self.proxies:
                await proxy.shut()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


class Proxy:
    def __init__(self, hub: Hub, targets: Sequence[Address], host: str, port: int) -> None:
        self.hub = hub
        self.targets = list(targets)
        self.host = host
        self.port = port
        self.faults = Faults()
        self.sabotaged: Sabotage | None = None
        self.accepted = 0
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._links: set[Link] = set()
        self.changed = asyncio.Event()

    # ------------------------------------------------------------ for tests

    def heal(self) -> None:
        """Everything passes; what was held goes on its way."""
        self._set(Faults())

    def cut(self) -> None:
        """Nothing passes in either direction, and nobody is told: as behind a firewall that drops."""
        self._set(Faults(hold=frozenset({TO_SERVER, TO_CLIENT})))

    def hold(self, directions: Collection[str], *, pids: Collection[int] | None = None) -> None:
        """These directions only, or only for connections of these processes."""
        self._set(Faults(hold=frozenset(directions), pids=_some(pids)))

    def refuse(self) -> None:
        """Connections are reset, and new ones refused."""
        self._set(Faults(refuse=True))

    def delay(self, direction: str, seconds: float) -> None:
        """Each chunk in that direction comes so much later."""
        self._set(Faults(delay_s={direction: seconds}))

    def sabotage(self, text: bytes, *, after: bool, every: int = 1) -> Sabotage:
        """See `Sabotage`; it counts what it has done. `spare` ends it."""
        self.sabotaged = Sabotage(text, after, every)
        return self.sabotaged

    def spare(self) -> None:
        self.sabotaged = None

    def serve_only(self, targets: Sequence[Address]) -> None:
        """As a load balancer that has found some of its targets ill: their connections are cut."""

        async def change() -> None:
            self.targets = list(targets)
            for link in list(self._links):
                if link.target not in targets:
                    link.abort()

        self.hub.call(change())

    def reset(self) -> None:
        """Cut the connections there are; new ones are welcome."""

        async def reset() -> None:
            for link in list(self._links):
                link.abort()

        self.hub.call(reset())

    # ------------------------------------------------------------ in the loop

    def _set(self, faults: Faults) -> None:
        async def change() -> None:
            self.faults = faults
            if faults.refuse:
                await self.shut()
            elif self._server is None:
                await self.listen()
            before, self.changed = self.changed, asyncio.Event()
            before.set()

        self.hub.call(change())

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, reuse_address=True)

    async def shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            link.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        found = await self._connect()
        if found is None:
            _reset(writer)
            return
        link = Link(self, (reader, writer), *found)
        self._links.add(link)
        with contextlib.suppress(asyncio.CancelledError):  # only when the hub ends
            await link.run()
        self._links.discard(link)

    async def _connect(self) -> tuple[Streams, Address] | None:
        targets, first = self.targets, next(self._turn)
        for number in range(len(targets)):
            target = targets[(first + number) % len(targets)]
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(*target), 3), target
        return None


class Link:
    """One connection of a client and the one made for it."""

    def __init__(
        self,
        proxy: Proxy,
        client: Streams,
        server: Streams,
        target: Address,
    ) -> None:
        self.target = target
        self._proxy = proxy
        self._client = client
        self._server = server
        self._client_port: int = client[1].get_extra_info("peername")[1]
        self._owned_by: dict[frozenset[int], bool] = {}

    def abort(self) -> None:
        for _, writer in (self._client, self._server):
            _reset(writer)

    async def run(self) -> None:
        pumps = [
            asyncio.create_task(self._pump(TO_SERVER, self._client[0], self._server[1])),
            asyncio.create_task(self._pump(TO_CLIENT, self._server[0], self._client[1])),
        ]
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Read ahead of what is delayed, so that a second chunk of one answer waits no second time.
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def read() -> None:
            while True:
                try:
                    chunk = await reader.read(CHUNK)
                except OSError:  # reset, so its sender has thrown away what had not arrived
                    self.abort()
                    pumping.cancel()
                    return
                delay = self._proxy.faults.delay_s.get(direction, 0.0)
                await chunks.put((time.monotonic() + delay if delay else 0.0, chunk))
                if not chunk:
                    return

        pumping = asyncio.current_task()
        assert pumping is not None
        reading = asyncio.create_task(read())
        try:
            while True:
                due, chunk = await chunks.get()
                if due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
                while self._is_held(direction):
                    await self._proxy.changed.wait()
                if not chunk:
                    break
                if direction == TO_SERVER and await self._is_sabotaged(chunk, writer):
                    break
                writer.write(chunk)
                await writer.drain()
        except OSError:
            self.abort()
        finally:
            reading.cancel()
            writer.close()

    def _is_held(self, direction: str) -> bool:
        faults = self._proxy.faults
        if direction not in faults.hold:
            return False
        if faults.pids is None:
            return True
        if faults.pids not in self._owned_by:
            self._owned_by[faults.pids] = owns_port(faults.pids, self._client_port)
        return self._owned_by[faults.pids]

    async def _is_sabotaged(self, chunk: bytes, writer: asyncio.StreamWriter) -> bool:
        plan = self._proxy.sabotaged
        if plan is None or plan.text not in chunk:
            return False
        plan.seen += 1
        if plan.seen % plan.every:
            return False
        plan.done += 1
        _reset(self._client[1])
        if plan.after:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.2)  # for the server to do it
        self.abort()
        return True


def _some(pids: Collection[int] | None) -> frozenset[int] | None:
    return None if pids is None else frozenset(pids)


def _reset(writer: asyncio.StreamWriter) -> None:
    """With RST, not FIN, so that the other end does not take it for an orderly end."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def owns_port(pids: Collection[int], port: int) -> bool:
    """Whether one of these processes has a TCP connection whose local end is that port of 127.0.0.1."""
    sockets = set()
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123 – as short as it gets
        for line in itertools.islice(table, 1, None):
            fields = line.split()
            if fields[1] == f"0100007F:{port:04X}":
                sockets.add(f"socket:[{fields[9]}]")
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(entry.path) in sockets:  # noqa: PTH115 – the text, not a path
                        return True
    return False


def run_all(calls: Sequence[Callable[[], object]]) -> None:
    """Several changes at once, so that one fault begins everywhere at the same moment."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
