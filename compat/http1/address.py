"""One address: its open connections, the calls that wait for one, and when to open another."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from compat.http1.answer import Head
from compat.http1.connection import Call, Connection, Outcome, Start
from compat.http1.request import Origin

READ_BYTES = 64 * 1024
# Less than it takes another node to ask twice and send again, however long an answer may take.
UNACKNOWLEDGED_S = 3.0


class Shared:
    """What all addresses of a pool have in common."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        connect_timeout_s: float,
        answer_timeout_s: float,
        max_connections_per_address: int,
        max_answer_bytes: int,
        verify_tls: bool,
    ) -> None:
        self.monotonic = monotonic
        self.connect_timeout_s = connect_timeout_s
        self.unacknowledged_ms = round(min(answer_timeout_s, UNACKNOWLEDGED_S) * 1000)
        self.max_connections = max_connections_per_address
        self.max_answer_bytes = max_answer_bytes
        self.loop = asyncio.get_running_loop()
        self.plain_heads: dict[bytes, Head] = {}
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self.in_flight: dict[Connection, Call] = {}  # the longest in flight first
        self.sockets: set[Connection] = set()
        self.connects: set[asyncio.Task[None]] = set()
        self.all_released: asyncio.Future[None] | None = None  # awaited by `close`
        self.swept_at = monotonic()  # the time, as coarse as the sweep
        self.closing = False
        self.opened = 0
        self.outcomes = [0, 0, 0]
        self._verify_tls = verify_tls
        self._tls: ssl.SSLContext | None = None

    def tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if not self._verify_tls:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        return self._tls

    def done(self, call: Call, outcome: Outcome, status: int, body: bytes) -> None:
        self.outcomes[outcome] += 1
        try:
            call.on_done(call, outcome, status, body)
        except Exception as error:  # the caller's mistake must not take the connection down
            self.loop.call_exception_handler(
                {"message": "on_done of an HTTP call failed", "exception": error}
            )

    def fail(self, call: Call, outcome: Outcome, reason: str) -> None:
        call.error = reason
        self.loop.call_soon(self.done, call, outcome, 0, b"")


class Address:
    """Invariant: while a connection is idle, no call waits."""

    __slots__ = (
        "connecting",
        "idle",
        "max_answer_bytes",
        "monotonic",
        "open",
        "origin",
        "plain_heads",
        "read_buffer",
        "shared",
        "unacknowledged_ms",
        "waiting",
    )

    def __init__(self, origin: Origin, shared: Shared) -> None:
        self.origin = origin
        self.shared = shared
        self.monotonic = shared.monotonic
        self.max_answer_bytes = shared.max_answer_bytes
        self.unacknowledged_ms = shared.unacknowledged_ms
        self.plain_heads = shared.plain_heads
        self.read_buffer = shared.read_buffer
        self.idle: deque[Connection] = deque()  # the last one used is taken first, so that others can go
        self.waiting: deque[Call] = deque()
        self.open = 0
        self.connecting = 0

    def send(self, call: Call) -> None:
        idle = self.idle
        while idle:
            connection = idle.pop()
            start = connection.start(call)
            if start is Start.SENT:
                if connection.alive:
                    self.shared.in_flight[connection] = call
                return
            if start is Start.TOO_LATE:
                idle.append(connection)
                self.shared.fail(call, Outcome.NOT_SENT, "the time to send had passed")
                return
        self.waiting.append(call)
        self._open_more()

    def fail_waiting(self, reason: str) -> None:
        while self.waiting:
            self.shared.fail(self.waiting.popleft(), Outcome.NOT_SENT, reason)

    def sweep(self, now: float, idle_before: float) -> bool:
        """Fail what waits too long, close what idles too long; False: nothing is left of this address."""
        if self.waiting:
            kept: deque[Call] = deque()
            for call in self.waiting:  # each is asked once: its time may pass between two questions
                if now < call.send_before:
                    kept.append(call)
                else:
                    self.shared.fail(call, Outcome.NOT_SENT, "the time to send had passed")
            self.waiting = kept
        while self.idle and self.idle[0].idle_since <= idle_before:
            self.idle[0].drop("idle for long enough")
        return bool(self.open or self.connecting or self.waiting)

    # What its connections tell

    def opened(self, connection: Connection) -> None:
        self.shared.sockets.add(connection)
        self.shared.opened += 1
        self.open += 1
        self._next(connection)

    def answered(self, connection: Connection, call: Call, status: int, body: bytes) -> None:
        self.shared.in_flight.pop(connection, None)
        if connection.alive:
            self._next(connection)  # the next request leaves before this answer is looked at
        self.shared.done(call, Outcome.ANSWERED, status, body)

    def gone(self, connection: Connection, reason: str) -> None:
        self.open -= 1
        self.shared.in_flight.pop(connection, None)
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.call is not None:
            self.shared.fail(connection.call, Outcome.NO_ANSWER, reason)
        if connection.used:  # each such loss cost a call, so this cannot go on for ever
            self._open_more()

    def released(self, connection: Connection) -> None:
        shared = self.shared
        shared.sockets.discard(connection)
        if not shared.sockets and shared.all_released is not None and not shared.all_released.done():
            shared.all_released.set_result(None)

    def _next(self, connection: Connection) -> None:
        """Give a free connection the next waiting call, or let it rest."""
        if self.shared.closing:
            connection.drop("the pool is closed")
            return
        while self.waiting:
            start = connection.start(self.waiting[0])
            if start is Start.GONE:
                return  # the call is still the first, for another connection
            call = self.waiting.popleft()
            if start is Start.TOO_LATE:
                self.shared.fail(call, Outcome.NOT_SENT, "the time to send had passed")
                continue
            if connection.alive:
                self.shared.in_flight[connection] = call
            return
        connection.idle_since = self.shared.swept_at
        self.idle.append(connection)

    def _open_more(self) -> None:
        """As many as there are calls waiting; but one first, to see whether anybody is there."""
        room = self.shared.max_connections - self.open if self.open else 1
        for _ in range(min(len(self.waiting), room) - self.connecting):
            self.connecting += 1
            task = self.shared.loop.create_task(self._connect())
            self.shared.connects.add(task)
            task.add_done_callback(self.shared.connects.discard)

    async def _connect(self) -> None:
        connection = Connection(self)
        complete = False
        error = "the server closed the connection at once"
        try:
            async with asyncio.timeout(self.shared.connect_timeout_s):
                await self.shared.loop.create_connection(
                    lambda: connection,
                    self.origin.host,
                    self.origin.port,
                    ssl=self.shared.tls_context() if self.origin.scheme == "https" else None,
                )
            complete = True
        except TimeoutError:
            error = f"no connection within {self.shared.connect_timeout_s:g} s"
        except (OSError, ValueError) as cause:  # ValueError: a host name that cannot be one
            error = f"no connection: {cause}"
        finally:
            self.connecting -= 1
            if not complete:  # given up in the moment it came about, uvloop closes it without a word
                connection.connection_lost(None)
        if connection.alive or connection.used:
            self._open_more()
        elif not self.open and not self.connecting:
            self.fail_waiting(error)
