"""What all bodies share: unknown fields are refused, and what a later version will do is refused by name."""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue

NOT_YET = "not supported yet by this version"
APPNAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MAX_ID = (1 << 31) - 1
MAX_RUN_ID = (1 << 63) - 1


# A model is built when it is first used (defer_build): all of them at start took a third of the time to the first answer.


class Body(BaseModel):
    """JSON that comes in: types are taken as they are, a text is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Query(BaseModel):
    """Parameters of an address: all text, converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Answer(BaseModel):
    """JSON that goes out."""

    model_config = ConfigDict(frozen=True, defer_build=True)


def refusal(expected: str, *, at: str = "", value: object = None) -> PydanticCustomError:
    """An error for `raise` in a validator. `at` is the field below the validated one, with its value."""
    return PydanticCustomError("refused", "{expected}", {"expected": expected, "at": at, "value": value})


def _nothing_yet(value: object) -> object:
    if value is not None:
        raise refusal(f"null or left out: {NOT_YET}")
    return value


Later = Annotated[None, BeforeValidator(_nothing_yet), Field(description=f"Only null: {NOT_YET}.")]
"""A field that people know from elsewhere, and which this version cannot honour."""


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise refusal("text without NUL characters")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
"""Text that every database keeps as it is: SQLite's ends at a NUL."""


def later_values(*values: str) -> BeforeValidator:
    """For a field some of whose values this version cannot honour."""

    def check(value: object) -> object:
        if value in values:
            raise refusal(f"another value: {value!r} is {NOT_YET}")
        return value

    return BeforeValidator(check)


def _whole_seconds(value: object) -> int:
    try:
        duration_ms = parse_duration_ms(value, field="")
    except InvalidValue as error:
        raise refusal(f"{error.expected}, not negative" if _is_negative(value) else error.expected) from None
    if duration_ms % 1000:
        raise refusal("whole seconds")
    if duration_ms // 1000 > MAX_ID:
        raise refusal(f"at most {MAX_ID} s: seconds are kept in 32 bits")
    return duration_ms // 1000


def _is_negative(value: object) -> bool:
    return isinstance(value, int | float) and value < 0


Seconds = Annotated[
    int,
    BeforeValidator(_whole_seconds),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "examples": ["30s", "7 days"]}],
            "description": "Seconds, or text with a unit.",
        }
    ),
]


def _signed_seconds(value: object) -> int:
    """As whole seconds, but a text may begin with a minus."""
    if isinstance(value, str) and value.strip().startswith("-"):
        return -_whole_seconds(value.strip()[1:])
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return -_whole_seconds(-value)
    return _whole_seconds(value)


SignedSeconds = Annotated[
    int,
    BeforeValidator(_signed_seconds),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string", "examples": ["-1h", "30s"]}],
            "description": "Seconds, or text with a unit; may be negative.",
        }
    ),
]


def _milliseconds(value: object) -> int:
    try:
        return parse_duration_ms(value, field="")
    except InvalidValue as error:
        raise refusal(f"{error.expected}, not negative" if _is_negative(value) else error.expected) from None


Duration = Annotated[
    int,
    BeforeValidator(_milliseconds),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "examples": ["500ms", "30s"]}],
            "description": "Seconds, or text with a unit.",
        }
    ),
]
"""A number of seconds or text with a unit; milliseconds within."""
Priority = Annotated[int, Field(ge=1, le=15)]


def _http_address(value: str) -> str:
    expected = "an address such as http://10.0.0.7:9999/"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in value):
        raise refusal(expected)
    if "?" in value or "#" in value:
        raise refusal(f"{expected}, without a query")
    return value


Address = Annotated[
    str, Field(max_length=255, json_schema_extra={"format": "uri"}), AfterValidator(_http_address)
]


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise refusal("a network such as 10.0.0.0/8 or 2001:db8::/32, with no bits set outside it") from None


Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]

_MAX_MS = 253_402_300_799_999  # the end of the year 9999


def _instant_ms(value: object) -> object:
    expected = "ISO 8601 with an offset, such as 2026-11-21T08:00:00+08:00, or milliseconds since 1970"
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdigit():
            value = int(text)
        else:
            # A plus sign that was not escaped in an address arrives as a blank.
            head, blank, tail = text.rpartition(" ")
            try:
                moment = datetime.fromisoformat(f"{head}+{tail}" if blank and "T" in head else text)
            except ValueError:
                raise refusal(expected) from None
            if moment.tzinfo is None:
                raise refusal(expected)
            value = int(moment.timestamp() * 1000)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_MS:
        raise refusal(expected)
    return value


Instant = Annotated[
    int,
    BeforeValidator(_instant_ms),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}],
            "description": "ISO 8601 with an offset, or milliseconds since the epoch.",
        }
    ),
]


def take_along(values: object, *names: str) -> object:
    """For bodies that take what answers give: an instant as `name`, as `name_ms`, or as both if they agree."""
    if not isinstance(values, dict):
        return values
    values = dict(values)
    for name in names:
        ms, told = values.pop(f"{name}_ms", None), values.get(name)
        if ms is not None and told is None:
            values[name] = ms
        elif ms is not None and _instant_or_none(told) != ms:
            raise refusal(f"the same instant as {name}, or left out", at=f"{name}_ms", value=ms)
    return values


def _instant_or_none(value: object) -> object:
    try:
        return _instant_ms(value)
    except PydanticCustomError:
        return None


Iso = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
JsonObject = dict[str, Any]


class Paging(Query):
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=500)
