"""Hessian 1, which executors up to 1.9.1 speak: a value a letter."""

from __future__ import annotations

import struct
from collections.abc import Callable

from compat.hessian.reader import MAX_DEPTH, Reader, date_of, key_of, name_of, text_of
from compat.hessian.strings import pieces
from compat.hessian.values import MAX_INT, MAX_LONG, HessianError, Long, Struct, TypedList, Value

# ---------------------------------------------------------------- reading


def decode(data: bytes) -> Value:
    """The one value of a message. Raises HessianError."""
    reader = Reader(data)
    value = _value(reader)
    reader.end()
    return value


def _value(reader: Reader) -> Value:
    reader.count_value()
    tag = reader.byte()
    read = _READ.get(tag)
    if read is None:
        raise HessianError(f"no value begins with byte {tag:#04x}")
    return read(reader)


def _text(reader: Reader) -> str:
    return text_of(reader.raw_text(reader.size(2)))


def _piece_of_text(reader: Reader) -> str:
    raw = [reader.raw_text(reader.size(2))]
    while (tag := reader.byte()) == ord("s"):
        reader.count_value()
        raw.append(reader.raw_text(reader.size(2)))
    if tag != ord("S"):
        raise HessianError("a text in pieces has no last one")
    raw.append(reader.raw_text(reader.size(2)))
    return text_of(b"".join(raw))


def _bytes(reader: Reader) -> bytes:
    return reader.take(reader.size(2))


def _type(reader: Reader) -> str | None:
    if reader.peek() != ord("t"):
        return None
    reader.byte()
    return name_of(reader.raw_text(reader.size(2)))


def _list(reader: Reader) -> Value:
    name = _type(reader)
    made: list[Value] = [] if name is None else TypedList(name)
    announced: int | None = None
    if reader.peek() == ord("l"):
        reader.byte()
        announced = reader.count_fits(reader.number(4))
    reader.enter(made)
    while reader.peek() != ord("z"):
        made.append(_value(reader))
    reader.byte()
    reader.leave()
    if announced is not None and announced != len(made):
        raise HessianError(f"a list of {len(made)} was announced as one of {announced}")
    return made


def _map(reader: Reader) -> Value:
    made = Struct(_type(reader) or "")
    reader.enter(made)
    while reader.peek() != ord("z"):
        key = key_of(_value(reader))
        made.fields[key] = _value(reader)
    reader.byte()
    reader.leave()
    return made


_READ: dict[int, Callable[[Reader], Value]] = {
    ord("N"): lambda _: None,
    ord("T"): lambda _: True,
    ord("F"): lambda _: False,
    ord("I"): lambda reader: reader.number(4),
    ord("L"): lambda reader: Long(reader.number(8)),
    ord("D"): Reader.double,
    ord("d"): lambda reader: date_of(reader.number(8)),
    ord("S"): _text,
    ord("s"): _piece_of_text,
    ord("B"): _bytes,
    ord("V"): _list,
    ord("M"): _map,
    ord("R"): lambda reader: reader.reference(reader.number(4)),
}

# ---------------------------------------------------------------- writing


def encode(value: Value) -> bytes:
    """Raises HessianError for what cannot be written."""
    out: list[bytes] = []
    _write(out, value, {}, 0)
    return b"".join(out)


def _write(out: list[bytes], value: Value, seen: dict[int, int], depth: int) -> None:
    match value:
        case None:
            out.append(b"N")
        case bool():
            out.append(b"T" if value else b"F")
        case int():
            out.append(_number(value))
        case float():
            out.append(struct.pack(">cd", b"D", value))
        case str():
            *firsts, (units, last) = pieces(value)
            out.extend(b"s%b%b" % (count.to_bytes(2), raw) for count, raw in firsts)
            out.append(b"S%b%b" % (units.to_bytes(2), last))
        case list() | Struct():
            if depth >= MAX_DEPTH:
                raise HessianError(f"values are nested more than {MAX_DEPTH} deep")
            if id(value) in seen:
                out.append(b"R" + seen[id(value)].to_bytes(4))
                return
            seen[id(value)] = len(seen)
            if isinstance(value, Struct):
                out.append(b"M" + _type_bytes(value.name))
                for name, item in value.fields.items():
                    _write(out, name, seen, depth + 1)
                    _write(out, item, seen, depth + 1)
            else:
                kind = _type_bytes(value.type) if isinstance(value, TypedList) else b""
                out.append(b"V%bl%b" % (kind, len(value).to_bytes(4)))
                for item in value:
                    _write(out, item, seen, depth + 1)
            out.append(b"z")
        case _:
            raise HessianError(f"a {type(value).__name__} is never sent")


def _number(value: int) -> bytes:
    if isinstance(value, Long) or not -MAX_INT - 1 <= value <= MAX_INT:
        if not -MAX_LONG - 1 <= value <= MAX_LONG:
            raise HessianError("a number has more than 64 bits")
        return b"L" + value.to_bytes(8, signed=True)
    return b"I" + value.to_bytes(4, signed=True)


def _type_bytes(name: str) -> bytes:
    raw = name.encode()
    return b"t%b%b" % (len(raw).to_bytes(2), raw)
