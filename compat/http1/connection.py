"""One kept-alive connection: one request at a time, from its bytes to its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Callable
from enum import Enum, IntEnum, auto
from typing import Protocol, cast

from compat.http1.answer import Answer, AnswerReader, BadAnswerError, Head

PIECE_BYTES = 64 * 1024  # a long request is handed to the transport in pieces of this size


class Outcome(IntEnum):
    ANSWERED = 0  # a complete answer; its status and body are the caller's to judge
    NOT_SENT = 1  # certainly not one byte has left
    NO_ANSWER = 2  # bytes have left and no complete answer came: doubtful


class Call:
    """One request on its way.

    `on_done(call, outcome, status, body)` is called exactly once and never from within `send`; for
    NOT_SENT and NO_ANSWER status is 0, body is empty and `error` says why. `send_before` and
    `sent_at` are seconds of the pool's monotonic clock.
    """

    __slots__ = ("error", "on_done", "request", "send_before", "sent_at", "token")

    def __init__(
        self,
        request: bytes,
        send_before: float,
        on_done: Callable[[Call, Outcome, int, bytes], None],
        token: object = None,
    ) -> None:
        self.request = request
        self.send_before = send_before
        self.on_done = on_done
        self.token = token
        self.sent_at = 0.0  # when the bytes were handed over; 0.0: they were not
        self.error = ""


class Start(Enum):
    SENT = auto()  # and, for a long request, perhaps given up again half-way (`alive`)
    TOO_LATE = auto()  # the call's time has passed; the connection is as good as before
    GONE = auto()  # the connection is closed; the call has not lost a byte


class Owner(Protocol):
    """What a connection needs of its address, and tells it."""

    monotonic: Callable[[], float]
    max_answer_bytes: int
    unacknowledged_ms: int
    plain_heads: dict[bytes, Head]
    read_buffer: memoryview

    def opened(self, connection: Connection) -> None:
        """It can carry its first request."""
        ...

    def answered(self, connection: Connection, call: Call, status: int, body: bytes) -> None:
        """The connection is free again, or closed (`alive`)."""
        ...

    def gone(self, connection: Connection, reason: str) -> None:
        """It carries no more requests; `call` is what it leaves without an answer."""
        ...

    def released(self, connection: Connection) -> None:
        """Its socket is closed."""
        ...


class Connection(asyncio.BufferedProtocol):
    """All connections of a pool read into one buffer: with 256 KiB of its own for each read, asyncio's loop
    spends three times as long on a call.
    """

    __slots__ = (
        "_owner",
        "_poll",
        "_read_buffer",
        "_reader",
        "_rest",
        "_transport",
        "alive",
        "call",
        "idle_since",
        "used",
    )

    _transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self.alive = False
        self.used = False  # it has carried a request
        self.idle_since = 0.0  # the owner's own
        self.call: Call | None = None  # sent and not answered
        self._owner = owner
        self._read_buffer = owner.read_buffer
        self._reader: AnswerReader | None = None
        self._rest: memoryview | None = None  # what the transport has not been given yet
        self._poll: select.poll | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        _keep_no_longer(transport, self._owner.unacknowledged_ms)
        if transport.get_extra_info("ssl_object") is None:  # with TLS, bytes between answers are normal
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
            # No room to buffer: bytes go out at once (uvloop may keep them back for the end of its round, past
            # the check of the deadline), and of a long request the next piece only when one has gone.
            self._transport.set_write_buffer_limits(high=0)
        self.alive = True
        self._owner.opened(self)

    def start(self, call: Call) -> Start:
        """Write the request unless its time has passed. The connection must be alive and idle."""
        if self._poll is not None and self._poll.poll(0):
            # Closed by the server, and the loop has not come round to telling: 0.3 µs that save a doubt.
            self.drop("the server closed the idle connection")
            return Start.GONE
        request = call.request
        now = self._owner.monotonic()
        if now >= call.send_before:
            return Start.TOO_LATE
        call.sent_at = now
        self.call = call
        self.used = True
        if len(request) <= PIECE_BYTES or self._poll is None:
            self._transport.write(request)
        else:
            self._rest = memoryview(request)[PIECE_BYTES:]
            self._transport.write(request[:PIECE_BYTES])
            self._write_on()
        return Start.SENT

    def resume_writing(self) -> None:
        self._write_on()

    def _write_on(self) -> None:
        while self._rest and self.call is not None and not self._transport.get_write_buffer_size():
            if self._owner.monotonic() >= self.call.send_before:
                self.drop("the time to send had passed before the whole request had left")
                return
            piece, self._rest = self._rest[:PIECE_BYTES], self._rest[PIECE_BYTES:]
            self._transport.write(piece)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's interface
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        call = self.call
        if call is None:
            self.drop("the server sent bytes nobody asked for")
            return
        data = bytes(self._read_buffer[:nbytes])
        reader = self._reader
        if reader is None:
            end = data.find(b"\r\n\r\n")
            if end > 0:
                head = self._owner.plain_heads.get(data[:end])
                if head is not None and head.length == len(data) - end - 4:
                    self._answered(call, head.status, data[end + 4 :], head.keep_alive)
                    return
            reader = self._reader = AnswerReader(self._owner.max_answer_bytes, self._owner.plain_heads)
        try:
            answer = reader.feed(data)
        except BadAnswerError as error:
            self.drop(str(error))
            return
        if answer is not None:
            self._answered(call, *answer)

    def _answered(self, call: Call, status: int, body: bytes, keep_alive: bool) -> None:
        self.call = None
        self._reader = None
        if not keep_alive or self._rest or self._transport.get_write_buffer_size():
            self.drop("the server closes the connection")
        self._owner.answered(self, call, status, body)

    def eof_received(self) -> None:
        answer: Answer | None = None
        if self.call is not None and self._reader is not None:
            answer = self._reader.end()
        if answer is not None and self.call is not None:
            self._answered(self.call, *answer)
        else:
            self.drop("the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop(str(exc) if exc else "the connection was closed")
        self._owner.released(self)

    def drop(self, reason: str) -> None:
        """Close it now, whatever it is doing."""
        if self.alive:
            self.alive = False
            self._rest = None
            if self.call is not None:
                _throw_away(self._transport)
            self._transport.abort()
            self._owner.gone(self, reason)


# A socket that is closed, by its program or because that has ended, goes on sending what its peer has not acknowledged, for
# minutes if packets are lost meanwhile. A request that was given up must not arrive after all.


def _keep_no_longer(transport: asyncio.BaseTransport, unacknowledged_ms: int) -> None:
    """Have the kernel give up what is not acknowledged after that time, whether this program lives or not."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        _set(transport, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unacknowledged_ms)


def _throw_away(transport: asyncio.BaseTransport) -> None:
    """Close with a reset, so that the kernel throws away what it has not sent."""
    _set(transport, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _set(transport: asyncio.BaseTransport, level: int, option: int, value: int | bytes) -> None:
    # The socket may be closed already, for which uvloop's word is ValueError.
    with contextlib.suppress(OSError, ValueError):
        transport.get_extra_info("socket").setsockopt(level, option, value)
