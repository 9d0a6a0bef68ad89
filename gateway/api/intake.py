"""Reading what a caller sent: bounded, strict, and with an error for each wrong field."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from gateway.api.patterns import WORDS
from gateway.api.problems import FieldError, InvalidInput, Malformed, TooLarge

M = TypeVar("M", bound=BaseModel)

MAX_BODY = 8 * 1024 * 1024
_MOST_ERRORS = 20
_ALIKE = 0.65
_MOST_TOLD = 15
_TYPES = frozenset({"str", "int", "float", "bool"})


async def read_body(request: web.Request) -> bytes:
    """The whole body. Raises `TooLarge` beyond 8 MB, as early as it shows."""
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > MAX_BODY:
        raise TooLarge(f"the body has {request.content_length} bytes, at most {MAX_BODY} are taken")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise TooLarge(f"the body has more than {MAX_BODY} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_as(request: web.Request, model: type[M]) -> M:
    """The body as a model. Raises `Malformed`, `InvalidInput`, `TooLarge`."""
    return parsed(await read_body(request), model)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object that is not checked further. Raises `Malformed`, `InvalidInput`, `TooLarge`."""
    return object_in(await read_body(request))


def object_in(body: bytes) -> dict[str, Any]:
    """A JSON object that is not checked further. Raises `Malformed`, `InvalidInput`."""
    try:
        value = from_json(body)
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput([FieldError("body", value, "a JSON object")])
    return value


def parsed(body: bytes, model: type[M], *, within: str = "") -> M:
    """A model from JSON; `within` is put before the names of wrong fields."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error, model, within) from None


def checked(value: object, model: type[M], *, within: str = "") -> M:
    """A model from JSON that was parsed already."""
    return parsed(to_json(value), model, within=within)


def query_as(request: web.Request, model: type[M]) -> M:
    """The parameters of the address as a model. Raises `InvalidInput`."""
    for name in request.query:
        values = request.query.getall(name)
        if len(values) > 1:
            raise InvalidInput([FieldError(name, values, "to be given once")])
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise _refused(error, model, "") from None


def path_id(request: web.Request, name: str) -> int:
    """A number in the path. Raises `InvalidInput`."""
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput([FieldError(name, text, "a whole number")])
    return int(text)


def _refused(error: ValidationError, model: type[BaseModel], within: str) -> Malformed | InvalidInput:
    details = error.errors(include_url=False)
    if details[0]["type"] == "json_invalid":
        return Malformed(f"the body is not JSON: {details[0]['ctx']['error']}")
    return InvalidInput(_merged([_field_error(one, model, within) for one in details[:_MOST_ERRORS]]))


def _merged(errors: Sequence[FieldError]) -> list[FieldError]:
    """One error a field: what a union of types expects is told as alternatives."""
    merged: dict[str, FieldError] = {}
    for error in errors:
        known = merged.setdefault(error.field, error)
        if known is not error and error.expected not in known.expected:
            merged[error.field] = replace(known, expected=f"{known.expected}, or {error.expected}")
    return list(merged.values())


def _field_error(detail: ErrorDetails, model: type[BaseModel], within: str) -> FieldError:
    steps: list[int | str] = [step for step in detail["loc"] if not _is_no_field(step)]
    value: object = detail["input"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            value, expected = None, "a value: it is required"
        case "extra_forbidden":
            expected = _known_field(str(steps[-1]), _fields_at(model, steps[:-1]))
        case "too_long" if isinstance(value, list):
            value, expected = f"{context['actual_length']} items", f"at most {context['max_length']} items"
        case "refused":
            expected = context["expected"]
            if context["at"]:
                steps.append(context["at"])
                value = context["value"]
        case "model_type" | "model_attributes_type":
            expected = "a JSON object"
        case "string_too_short":
            expected = f"at least {_counted(context['min_length'], 'character')}"
        case "string_too_long":
            expected = f"at most {_counted(context['max_length'], 'character')}"
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            expected = WORDS.get(pattern, f"text that matches the pattern {pattern}")
        case "too_short":
            expected = f"at least {_counted(context['min_length'], 'item')}"
        case _:
            message = detail["msg"]
            expected = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return FieldError(_path(steps, within), value, expected)


def _is_no_field(step: int | str) -> bool:
    """Whether a step names an alternative of a union, by a tag of ours or by its type, and no field."""
    return isinstance(step, str) and (":" in step or step in _TYPES or step.startswith(("dict[", "list[")))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _path(steps: Sequence[int | str], within: str) -> str:
    path = within
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path or "body"


def _known_field(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, _ALIKE)
    if close:
        return f"a known field; did you mean {close[0]!r}?"
    if len(known) > _MOST_TOLD:
        return "a known field; /openapi.json lists them"
    return f"a known field: {', '.join(known)}"


def _fields_at(model: type[BaseModel], steps: Sequence[int | str]) -> list[str]:
    """The names of the fields that the model at this path has."""
    for step in steps:
        if isinstance(step, str) and step in model.model_fields:
            model = next(_models_in(model.model_fields[step].annotation), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: object) -> typing.Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)
