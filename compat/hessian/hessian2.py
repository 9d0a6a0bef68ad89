"""Hessian 2, which executors from 1.9.2 to 2.1.2 speak: small values in few bytes, each class defined once."""

from __future__ import annotations

import struct

from compat.hessian.reader import MAX_DEPTH, Reader, date_of, key_of, name_of, text_of
from compat.hessian.strings import pieces
from compat.hessian.values import MAX_INT, MAX_LONG, HessianError, Long, Struct, TypedList, Value

MAX_CLASSES = 64
MAX_FIELDS = 64

# ---------------------------------------------------------------- reading


def decode(data: bytes) -> Value:
    """The one value of a message. Raises HessianError."""
    reader = Reader(data)
    value = _Decoder(reader).value()
    reader.end()
    return value


class _Decoder:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._classes: list[tuple[str, list[str]]] = []
        self._types: list[str] = []

    def value(self) -> Value:
        reader = self._reader
        reader.count_value()
        tag = reader.byte()
        while tag == 0x43:
            self._define()
            tag = reader.byte()
        number = self._number(tag)
        if number is not None:
            return number
        if tag <= 0x1F or 0x30 <= tag <= 0x33 or tag in {0x52, 0x53}:
            return text_of(self._raw_text(tag))
        if 0x60 <= tag <= 0x6F or tag == 0x4F:
            return self._object(self._whole() if tag == 0x4F else tag - 0x60)
        if 0x55 <= tag <= 0x58 or 0x70 <= tag <= 0x7F:
            return self._list(tag)
        match tag:
            case 0x4E:
                return None
            case 0x54:
                return True
            case 0x46:
                return False
            case 0x48:
                return self._map("")
            case 0x4D:
                return self._map(self._type())
            case 0x51:
                return reader.reference(self._whole())
        return self._rare(tag)

    def _number(self, tag: int) -> int | None:
        """Most of all tags are numbers, with their first bits in the tag."""
        reader = self._reader
        if tag >= 0x80:
            if tag <= 0xBF:
                return tag - 0x90
            if tag <= 0xCF:
                return (tag - 0xC8 << 8) + reader.byte()
            if tag <= 0xD7:
                return (tag - 0xD4 << 16) + reader.size(2)
            if tag <= 0xEF:
                return Long(tag - 0xE0)
            return Long((tag - 0xF8 << 8) + reader.byte())
        if 0x38 <= tag <= 0x3F:
            return Long((tag - 0x3C << 16) + reader.size(2))
        match tag:
            case 0x49:
                return reader.number(4)
            case 0x59:
                return Long(reader.number(4))
            case 0x4C:
                return Long(reader.number(8))
        return None

    def _whole(self) -> int:
        """A number that is no value of its own: a length, an index."""
        number = self._number(tag := self._reader.byte())
        if number is None or isinstance(number, Long):
            raise HessianError(f"byte {tag:#04x} instead of a length or an index")
        return number

    def _raw_text(self, tag: int) -> bytes:
        reader = self._reader
        raw: list[bytes] = []
        while tag == 0x52:
            reader.count_value()
            raw.append(reader.raw_text(reader.size(2)))
            tag = reader.byte()
        if tag <= 0x1F:
            raw.append(reader.raw_text(tag))
        elif 0x30 <= tag <= 0x33:
            raw.append(reader.raw_text((tag - 0x30 << 8) + reader.byte()))
        elif tag == 0x53:
            raw.append(reader.raw_text(reader.size(2)))
        else:
            raise HessianError(f"byte {tag:#04x} instead of a text")
        return b"".join(raw)

    def _name(self) -> str:
        return name_of(self._raw_text(self._reader.byte()))

    def _type(self) -> str:
        """A text at first, then the number of an earlier one."""
        tag = self._reader.peek()
        if tag <= 0x1F or 0x30 <= tag <= 0x33 or tag in {0x52, 0x53}:
            self._types.append(self._name())
            return self._types[-1]
        index = self._whole()
        if not 0 <= index < len(self._types):
            raise HessianError(f"type {index}: there are {len(self._types)}")
        return self._types[index]

    def _define(self) -> None:
        if len(self._classes) >= MAX_CLASSES:
            raise HessianError(f"more than {MAX_CLASSES} classes are defined")
        name = self._name()
        count = self._whole()
        if not 0 <= count <= MAX_FIELDS:
            raise HessianError(f"class {name!r} has {count} fields, at most {MAX_FIELDS} are read")
        self._classes.append((name, [self._name() for _ in range(count)]))

    def _object(self, index: int) -> Struct:
        if not 0 <= index < len(self._classes):
            raise HessianError(f"class {index}: {len(self._classes)} are defined")
        name, fields = self._classes[index]
        made = Struct(name)
        self._reader.enter(made)
        for one in fields:
            made.fields[one] = self.value()
        self._reader.leave()
        return made

    def _map(self, name: str) -> Struct:
        reader = self._reader
        made = Struct(name)
        reader.enter(made)
        while reader.peek() != 0x5A:
            key = key_of(self.value())
            made.fields[key] = self.value()
        reader.byte()
        reader.leave()
        return made

    def _list(self, tag: int) -> Value:
        reader = self._reader
        is_typed = tag in {0x55, 0x56} or 0x70 <= tag <= 0x77
        made: list[Value] = TypedList(self._type()) if is_typed else []
        count: int | None = None
        if tag >= 0x70:
            count = tag & 7
        elif tag in {0x56, 0x58}:
            count = reader.count_fits(self._whole())
        reader.enter(made)
        if count is None:
            while reader.peek() != 0x5A:
                made.append(self.value())
            reader.byte()
        else:
            made.extend(self.value() for _ in range(count))
        reader.leave()
        return made

    def _rare(self, tag: int) -> Value:
        """What a handler of a user may have put into its result."""
        reader = self._reader
        if 0x20 <= tag <= 0x2F:
            return reader.take(tag - 0x20)
        match tag:
            case 0x34 | 0x35 | 0x36 | 0x37:
                return reader.take((tag - 0x34 << 8) + reader.byte())
            case 0x42:
                return reader.take(reader.size(2))
            case 0x44:
                return reader.double()
            case 0x5B | 0x5C:
                return float(tag - 0x5B)
            case 0x5D | 0x5E:
                return float(reader.number(tag - 0x5C))
            case 0x5F:
                return reader.number(4) / 1000
            case 0x4A:
                return date_of(reader.number(8))
            case 0x4B:
                return date_of(reader.number(4) * 60_000)
        raise HessianError(f"no value begins with byte {tag:#04x}")


# ---------------------------------------------------------------- writing


def encode(value: Value) -> bytes:
    """Raises HessianError for what cannot be written."""
    encoder = _Encoder()
    encoder.write(value, 0)
    return b"".join(encoder.out)


class _Encoder:
    def __init__(self) -> None:
        self.out: list[bytes] = []
        self._classes: dict[tuple[str, ...], int] = {}
        self._types: dict[str, int] = {}
        self._seen: dict[int, int] = {}

    def write(self, value: Value, depth: int) -> None:
        match value:
            case None:
                self.out.append(b"N")
            case bool():
                self.out.append(b"T" if value else b"F")
            case int():
                self.out.append(_number(value))
            case float():
                self.out.append(struct.pack(">cd", b"D", value))
            case str():
                self.out.append(_text(value))
            case list() | Struct():
                if depth >= MAX_DEPTH:
                    raise HessianError(f"values are nested more than {MAX_DEPTH} deep")
                if id(value) in self._seen:
                    self.out.append(b"Q" + _number(self._seen[id(value)]))
                    return
                self._container(value, depth + 1)
            case _:
                raise HessianError(f"a {type(value).__name__} is never sent")

    def _container(self, value: list[Value] | Struct, depth: int) -> None:
        self._seen[id(value)] = len(self._seen)
        if isinstance(value, Struct):
            index = self._class(value)
            self.out.append(bytes([0x60 + index]) if index <= 15 else b"O" + _number(index))
            items = list(value.fields.values())
        else:
            items = value
            count = len(items)
            if isinstance(value, TypedList):
                self.out.append(bytes([0x70 + count]) if count <= 7 else b"V")
                self._type(value.type)
            else:
                self.out.append(bytes([0x78 + count]) if count <= 7 else b"X")
            if count > 7:
                self.out.append(_number(count))
        for item in items:
            self.write(item, depth)

    def _class(self, value: Struct) -> int:
        key = (value.name, *value.fields)
        index = self._classes.get(key)
        if index is None:
            index = self._classes[key] = len(self._classes)
            names = b"".join(map(_text, value.fields))
            self.out.append(b"C%b%b%b" % (_text(value.name), _number(len(value.fields)), names))
        return index

    def _type(self, name: str) -> None:
        index = self._types.get(name)
        if index is None:
            self._types[name] = len(self._types)
        self.out.append(_text(name) if index is None else _number(index))


def _number(value: int) -> bytes:
    if isinstance(value, Long):
        if -8 <= value <= 15:
            return bytes([0xE0 + value])
        if -0x800 <= value <= 0x7FF:
            return bytes([0xF8 + (value >> 8), value & 0xFF])
        if -0x40000 <= value <= 0x3FFFF:
            return bytes([0x3C + (value >> 16)]) + (value & 0xFFFF).to_bytes(2)
        if -MAX_INT - 1 <= value <= MAX_INT:
            return b"Y" + value.to_bytes(4, signed=True)
        if not -MAX_LONG - 1 <= value <= MAX_LONG:
            raise HessianError("a number has more than 64 bits")
        return b"L" + value.to_bytes(8, signed=True)
    if -16 <= value <= 47:
        return bytes([0x90 + value])
    if -0x800 <= value <= 0x7FF:
        return bytes([0xC8 + (value >> 8), value & 0xFF])
    if -0x40000 <= value <= 0x3FFFF:
        return bytes([0xD4 + (value >> 16)]) + (value & 0xFFFF).to_bytes(2)
    if -MAX_INT - 1 <= value <= MAX_INT:
        return b"I" + value.to_bytes(4, signed=True)
    return _number(Long(value))


def _text(text: str) -> bytes:
    *firsts, (units, last) = pieces(text)
    raw = b"".join(b"R%b%b" % (count.to_bytes(2), piece) for count, piece in firsts)
    if units <= 0x1F:
        return raw + bytes([units]) + last
    if units <= 0x3FF:
        return raw + bytes([0x30 + (units >> 8), units & 0xFF]) + last
    return raw + b"S" + units.to_bytes(2) + last
