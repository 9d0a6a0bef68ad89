"""What both versions share of reading: bytes in order, with limits."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from compat.hessian.values import Container, HessianError, Long, Value

MAX_DEPTH = 32
MAX_VALUES = 200_000  # a result in a callback has about ten
FEW_VALUES = 64
MOST_PAIRS = 4096
WINDOW = 8192
MAX_NAME = 255  # of a class, a field, a type

_CONTINUATION = bytes(range(0x80, 0xC0))
_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")


class Reader:
    """Counts what is made of the bytes; `enter` and `leave` stand around what holds other values."""

    __slots__ = ("_data", "_made", "_most_values", "_open", "_pos", "_values")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0
        self._made: list[Container] = []  # what references count
        self._open: list[int] = []
        self._values = 0
        # Values of one byte would cost more than they weigh; a list of results without messages has three for each.
        self._most_values = min(MAX_VALUES, FEW_VALUES + len(data) // 2)

    # ------------------------------------------------------------ bytes

    def byte(self) -> int:
        return self.take(1)[0]

    def peek(self) -> int:
        if self._pos >= len(self._data):
            raise self._short()
        return self._data[self._pos]

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._pos:
            raise self._short()
        piece = self._data[self._pos : self._pos + count]
        self._pos += count
        return piece

    def _short(self) -> HessianError:
        return HessianError(f"the message ends at byte {len(self._data)}, in the middle of a value")

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), signed=True)

    def size(self, count: int) -> int:
        return int.from_bytes(self.take(count))

    def double(self) -> float:
        (number,) = struct.unpack(">d", self.take(8))
        return float(number)

    def raw_text(self, units: int) -> bytes:
        """The bytes of so many UTF-16 units; what is beyond the first 65,536 is two of three bytes each."""
        piece = self.take(units)
        if piece.isascii():
            return piece
        pieces = [piece]
        missing = units - _begun(piece)
        idle = 0
        while missing:
            piece = self.take(missing)
            begun = _begun(piece)
            idle = 0 if begun else idle + 1
            if 3 * begun + 2 < len(piece) or idle > 2:  # or each of many bytes would be a step of its own
                raise HessianError("a text is not UTF-8")
            pieces.append(piece)
            missing -= begun
        # What begins the last character says how long it is: small numbers look like bytes that go on with it.
        begin = self._pos - 1
        while begin > self._pos - 4 and _is_continuation(self._data[begin]):
            begin -= 1
        pieces.append(self.take(max(begin + _length(self._data[begin]) - self._pos, 0)))
        return b"".join(pieces)

    def count_fits(self, count: int) -> int:
        """A number of things to come: each has a byte at least, so that nothing is made room for in vain."""
        if not 0 <= count <= len(self._data) - self._pos:
            raise HessianError(f"{count} values are announced and {len(self._data) - self._pos} bytes left")
        return count

    def end(self) -> None:
        if self._pos != len(self._data):
            raise HessianError(f"{len(self._data) - self._pos} bytes follow the value")

    # ------------------------------------------------------------ values

    def count_value(self) -> None:
        self._values += 1
        if self._values > self._most_values:
            raise HessianError(f"the message holds more than {self._most_values} values")

    def enter(self, made: Container) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise HessianError(f"values are nested more than {MAX_DEPTH} deep")
        self._open.append(len(self._made))
        self._made.append(made)

    def leave(self) -> None:
        self._open.pop()

    def reference(self, index: int) -> Container:
        if not 0 <= index < len(self._made):
            raise HessianError(f"reference {index}: there are {len(self._made)} values to refer to")
        if index in self._open:
            raise HessianError(f"reference {index} is to a value that holds it")
        return self._made[index]


def _begun(piece: bytes) -> int:
    """How many characters begin in it."""
    return len(piece.translate(None, _CONTINUATION))


def _length(first: int) -> int:
    """Of a character in UTF-8."""
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _is_continuation(byte: int) -> bool:
    return 0x80 <= byte < 0xC0


class _Pairs(dict[bytes, bytes]):
    """Two halves of three bytes as the four bytes of their character; the codec for halves is slow."""

    def __missing__(self, pair: bytes) -> bytes:
        high = (pair[1] & 0x0F) << 6 | (pair[2] & 0x3F)
        low = (pair[4] & 0x0F) << 6 | (pair[5] & 0x3F)
        whole = chr(0x10000 + (high << 10) + low).encode()
        if len(self) < MOST_PAIRS:
            self[pair] = whole
        return whole


_PAIRS = _Pairs()


def text_of(raw: bytes) -> str:
    try:
        if b"\xed" not in raw:
            return raw.decode()
        return "".join(
            _PAIR.sub(lambda match: _PAIRS[match[0]], piece).decode("utf-8", "surrogatepass")
            for piece in _windows(raw)
        )
    except UnicodeDecodeError as error:
        raise HessianError(f"a text is not UTF-8: {error.reason}") from None


def _windows(raw: bytes) -> Iterator[bytes]:
    """Pieces of whole characters, small ones: the codec keeps all other threads waiting while it reads halves."""
    start = 0
    while len(raw) - start > WINDOW:
        end = start + WINDOW
        while _is_continuation(raw[end]) and end > start + WINDOW - 4:
            end -= 1
        if raw[end - 3] == 0xED and 0xA0 <= raw[end - 2] <= 0xAF:  # the first half of a pair
            end -= 3
        yield raw[start:end]
        start = end
    yield raw[start:]


def name_of(raw: bytes) -> str:
    name = text_of(raw)
    if len(name) > MAX_NAME:
        raise HessianError(f"a name has {len(name)} characters, at most {MAX_NAME} are read")
    return name


def key_of(value: Value) -> str:
    """A map's key; numbers as text, since nothing here looks for them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return str(int(value))
    raise HessianError("a key of a map is neither text nor a number")


def date_of(milliseconds: int) -> Value:
    return Long(milliseconds)
