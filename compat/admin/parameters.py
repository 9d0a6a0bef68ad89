"""The parameters of a call: from the address and from a form alike, bounded, and lenient where the admin was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from aiohttp import BodyPartReader, ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.core.errors import InvalidValue

MAX_BODY = 4 * 1024 * 1024
MAX_FIELDS = 2000
MAX_IDS = 1000
MAX_INT = (1 << 31) - 1
MAX_LONG = (1 << 63) - 1
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_NUMBER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_LISTED = re.compile(r"(\w+)\[\d+\]", re.ASCII)


class TooLargeError(Exception):
    """The body is more than anybody means; what is left of it is not read."""


class Parameters:
    """Names with all their values. Of one that is given twice the first counts, as in a servlet."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._values)

    def text(self, *names: str, most: int = 65_000) -> str | None:
        """The first of these names that is given; None if none is. Raises `InvalidValue`."""
        for name in names:
            if name in self._values:
                value = self._values[name][0]
                if len(value) > most:
                    raise InvalidValue(name, value[:100] + "…", f"at most {most} characters")
                if "\0" in value:
                    raise InvalidValue(name, value[:100], "text without NUL characters")
                return value
        return None

    def number(self, name: str, default: int | None = None, *, most: int = MAX_INT) -> int:
        """Raises `InvalidValue` for what is no number, and for none where there is no default."""
        value = (self.text(name) or "").strip()
        if not value and default is not None:
            return default
        if not _NUMBER.fullmatch(value) or abs(int(value)) > most:
            raise InvalidValue(
                name, value[:100], "a whole number" if value else "a whole number: it is missing"
            )
        return int(value)

    def one_id(self, name: str = "id") -> int:
        """As `id`, or as the one item of a list of ids. Raises `InvalidValue`."""
        if name in self._values:
            return self.number(name)
        found = self.ids()
        if len(found) != 1:
            raise InvalidValue("ids[]", ",".join(map(str, found[:20])), "exactly one id")
        return found[0]

    def ids(self) -> list[int]:
        """`ids[]`, `ids` or `id`, several times or with commas. Raises `InvalidValue` for none."""
        given: list[str] = []
        for name in ("ids[]", "ids", "id"):
            for value in self._values.get(name, ()):
                given.extend(one.strip() for one in value.split(",") if one.strip())
        if not given:
            raise InvalidValue("ids[]", None, "at least one id")
        if len(given) > MAX_IDS:
            raise InvalidValue("ids[]", len(given), f"at most {MAX_IDS} ids in one call")
        for one in given:
            if not _NUMBER.fullmatch(one) or abs(int(one)) > MAX_INT:
                raise InvalidValue("ids[]", one[:100], "whole numbers")
        return list(dict.fromkeys(map(int, given)))


async def read_parameters(request: web.Request) -> Parameters:
    """Those of the address first, then those of a form. A body that is no form says nothing, as at the admin.

    Raises `TooLargeError`, `InvalidValue`.
    """
    pairs = list(request.query.items())
    if request.body_exists and request.content_type == _MULTIPART:
        pairs += await _parts(request)
    elif request.body_exists and request.content_type == _FORM:
        body = await read_body(request)
        try:
            text = body.decode("utf-8", "replace")
            pairs += parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)
        except ValueError:
            raise InvalidValue("body", None, f"a form of at most {MAX_FIELDS} fields") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        listed = _LISTED.fullmatch(name)
        values.setdefault(listed[1] + "[]" if listed else name, []).append(value)
    return Parameters(values)


async def _parts(request: web.Request) -> list[tuple[str, str]]:
    """The fields of a form as browsers build it from objects; files are passed over."""
    pairs: list[tuple[str, str]] = []
    size = 0
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            part = _simple(part, len(pairs))
            pieces: list[bytes] = []
            while piece := await part.read_chunk():
                size += len(piece)
                if size > MAX_BODY:
                    raise TooLargeError
                pieces.append(piece)
            if part.name and not part.filename:
                pairs.append((part.name, b"".join(pieces).decode("utf-8", "replace")))
    except (ValueError, RuntimeError, AssertionError, ClientError, HttpProcessingError) as error:
        request.content.feed_eof()
        raise InvalidValue("body", None, f"a form that can be read ({type(error).__name__})") from None
    return pairs


def _simple(part: object, count: int) -> BodyPartReader:
    """Raises `ValueError`."""
    if not isinstance(part, BodyPartReader) or count >= MAX_FIELDS:
        raise ValueError("parts within parts, or too many")
    return part


async def read_body(request: web.Request) -> bytes:
    """The whole body. Raises `TooLargeError`, `InvalidValue`."""
    if (request.content_length or 0) > MAX_BODY:
        raise TooLargeError
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > MAX_BODY:
                raise TooLargeError
            pieces.append(piece)
    except (ClientError, HttpProcessingError, ConnectionError, web.RequestPayloadError) as error:
        request.content.feed_eof()  # or aiohttp goes on reading, and logs the same error as its own
        raise InvalidValue("body", None, f"a body that can be read ({type(error).__name__})") from None
    return b"".join(pieces)
