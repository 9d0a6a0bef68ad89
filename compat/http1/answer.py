"""Reads one HTTP/1.x answer from bytes, in whatever pieces they come. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
_MAX_SIZE_LINE = 1024

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")

CHUNKED = -1
UNTIL_CLOSE = -2


class BadAnswerError(ValueError):
    """What came back is not an answer this client accepts."""


class Answer(NamedTuple):
    status: int
    body: bytes
    keep_alive: bool  # the connection may carry another request


class Head(NamedTuple):
    status: int
    length: int  # bytes of the body, or CHUNKED, or UNTIL_CLOSE
    keep_alive: bool


def parse_head(head: bytes) -> Head:
    """Status line and header fields without the empty line that ends them."""
    first, _, fields = head.partition(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise BadAnswerError(f"not an HTTP/1.x status line: {first[:60]!r}")
    status = int(line[2])
    keep_alive = line[1] == b"1"
    length: int | None = None
    chunked = False
    for field in fields.split(b"\r\n") if fields else ():
        name, colon, value = field.partition(b":")
        if not colon:
            raise BadAnswerError(f"not a header field: {field[:60]!r}")
        name = name.lower()
        value = value.strip()
        if name == b"content-length":
            if not value.isdigit() or length not in {None, int(value)}:
                raise BadAnswerError(f"Content-Length: {value[:60]!r}")
            length = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise BadAnswerError(f"Transfer-Encoding: {value[:60]!r}")
            chunked = True
        elif name == b"connection":
            options = value.lower()
            keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
    if status < 200 or status in {204, 304}:
        return Head(status, 0, keep_alive)
    if chunked:
        return Head(status, CHUNKED, keep_alive)
    if length is None:
        return Head(status, UNTIL_CLOSE, keep_alive=False)
    return Head(status, length, keep_alive)


class AnswerReader:
    """For the answers that did not arrive as one piece, or whose head was not seen before.

    `feed` returns the answer once it is complete. `plain_heads` is filled with the heads of answers
    with a Content-Length: executors repeat them byte for byte, so the next whole answer needs
    only one look-up.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_head",
        "_in_trailer",
        "_left",
        "_max_bytes",
        "_plain_heads",
        "_searched",
    )

    def __init__(self, max_bytes: int, plain_heads: dict[bytes, Head] | None = None) -> None:
        self._max_bytes = max_bytes
        self._plain_heads = plain_heads
        self._buffer = bytearray()
        self._searched = 0  # in this many bytes of the buffer the end of the head does not begin
        self._head: Head | None = None
        self._body = bytearray()  # chunks taken so far
        self._left = 0  # bytes of the current chunk still to come, with its CRLF
        self._in_trailer = False

    def feed(self, data: bytes) -> Answer | None:
        """Raises BadAnswerError; the connection is of no use after that."""
        self._buffer += data
        head = self._head or self._read_head()
        if head is None:
            return None
        if head.length == CHUNKED:
            return self._read_chunks(head)
        have = len(self._buffer)
        if head.length == UNTIL_CLOSE:
            self._check_size(have)
            return None
        if have < head.length:
            return None
        body = bytes(self._buffer[: head.length])
        return Answer(head.status, body, head.keep_alive and have == head.length)

    def end(self) -> Answer | None:
        """The connection has ended in order: complete only if that is how the body's end is told."""
        if self._head is None or self._head.length != UNTIL_CLOSE:
            return None
        return Answer(self._head.status, bytes(self._buffer), keep_alive=False)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise BadAnswerError(f"the answer's body is longer than {self._max_bytes} bytes")

    def _read_head(self) -> Head | None:
        while True:
            end = self._buffer.find(b"\r\n\r\n", self._searched)
            if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
                raise BadAnswerError(f"the answer's head is longer than {MAX_HEAD_BYTES} bytes")
            if end < 0:
                self._searched = max(0, len(self._buffer) - 3)
                return None
            text = bytes(self._buffer[:end])
            head = parse_head(text)
            del self._buffer[: end + 4]
            self._searched = 0
            if head.status >= 200:
                break
            if head.status == 101:
                raise BadAnswerError("101: nobody asked for another protocol")
        self._check_size(head.length)
        if head.length >= 0 and self._plain_heads is not None:
            if len(self._plain_heads) >= 256:  # heads with a date or an id in them: forget and go on
                self._plain_heads.clear()
            self._plain_heads[text] = head
        self._head = head
        return head

    def _read_chunks(self, head: Head) -> Answer | None:
        buffer = self._buffer
        while True:
            if self._left:
                if len(buffer) < self._left:
                    return None
                if buffer[self._left - 2 : self._left] != b"\r\n":
                    raise BadAnswerError("a chunk does not end where it said")
                self._body += buffer[: self._left - 2]
                del buffer[: self._left]
                self._left = 0
            end = buffer.find(b"\r\n", 0, _MAX_SIZE_LINE + 2)
            if end < 0:
                if len(buffer) > _MAX_SIZE_LINE:
                    raise BadAnswerError("a chunk's size line does not end")
                return None
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            if self._in_trailer:
                if line:
                    continue
                return Answer(head.status, bytes(self._body), head.keep_alive and not buffer)
            size = line.partition(b";")[0].strip()
            if not _HEX.fullmatch(size):
                raise BadAnswerError(f"a chunk's size: {line[:60]!r}")
            length = int(size, 16)
            self._check_size(len(self._body) + length)
            if length:
                self._left = length + 2
            else:
                self._in_trailer = True
