"""A bare HTTP server that knows when the bytes of a request reached this machine.

The kernel stamps what it receives (SO_TIMESTAMPNS), before this process is woken and before it has worked off
what came earlier. A fleet of many executors in one process reads a burst one request after the other, which
as many machines would read at once: the stamp is when the sender was done, the time of the reading is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from functools import partial

from wire import Heads, read_head

_SO_TIMESTAMPNS = 35  # Linux; Python's socket module does not name it
_STAMP = struct.Struct("qq")  # seconds and nanoseconds of CLOCK_REALTIME
_ANCILLARY = socket.CMSG_SPACE(_STAMP.size)
READ_BYTES = 64 * 1024

# target, body, when the last of it arrived in ns → the finished answer
Answer = Callable[[str, bytes, int], bytes]


class StampedPort:
    """Keep-alive HTTP/1.1, Content-Length only, as `wire.BareServer`, on one port. Built inside the loop."""

    def __init__(self, host: str, port: int, answer: Answer, heads: Heads, *, backlog: int = 1024) -> None:
        self._answer = answer
        self._heads = heads
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(READ_BYTES)  # of all reads: one of its own for each costs more than all else
        self._listener = socket.create_server((host, port), backlog=backlog)
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # accepted ones inherit it
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while True:
                peer = self._listener.accept()[0]
                peer.setblocking(False)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._loop.add_reader(peer, partial(self._read, peer, bytearray()))

    def _read(self, peer: socket.socket, rest: bytearray) -> None:
        try:
            size, ancillary, _, _ = peer.recvmsg_into((self._buffer,), _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size, ancillary = 0, []
        if not size:
            self._loop.remove_reader(peer)
            peer.close()
            return
        seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
        data = bytes(memoryview(self._buffer)[:size])
        if rest:
            data = bytes(rest) + data
            rest.clear()
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            head = data[:end]
            target, length = self._heads.get(head) or read_head(head, self._heads)
            stop = end + 4 + length
            if len(data) < stop:
                break
            answer = self._answer(target, data[end + 4 : stop], seconds * 1_000_000_000 + nanoseconds)
            try:
                sent = peer.send(answer)
            except OSError:
                return  # its end is read next
            if sent < len(answer):
                raise RuntimeError("the peer does not read its answers")
            data = data[stop:]
        rest += data
