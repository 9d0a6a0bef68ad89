"""Errors as RFC 9457 problem+json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.core.errors import (
    AlreadySubmitted,
    Conflict,
    GatewayError,
    InvalidValue,
    KeyReused,
    NotFound,
    Refused,
    StoreError,
    TooMany,
    Unreachable,
)

_URN = "urn:xxljob-gateway:problem:"
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class FieldError:
    field: str
    value: object
    expected: str


class Malformed(GatewayError):
    """The body is not JSON."""


class TooLarge(GatewayError):
    """The body is too large."""


class Unauthorized(GatewayError):
    """A valid token is needed: Authorization: Bearer <token>."""


class NoRoute(GatewayError):
    """There is no such address here."""


class WrongMethod(GatewayError):
    """The address does not take this method."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not taken here, only {', '.join(allowed)}")
        self.allowed = tuple(allowed)


class InvalidInput(GatewayError):
    """Some fields of a body or a query are not valid."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first.field}: expected {first.expected}{more}")
        self.errors = tuple(errors)


_STATUS: tuple[tuple[type[GatewayError], int, str, str], ...] = (
    (InvalidInput, 422, "invalid-value", "A value is not valid"),
    (InvalidValue, 422, "invalid-value", "A value is not valid"),
    (Malformed, 400, "malformed-json", "The body is not JSON"),
    (TooLarge, 413, "too-large", "The body is too large"),
    (Unauthorized, 401, "unauthorized", "A valid token is needed"),
    (NoRoute, 404, "not-found", "Not found"),
    (WrongMethod, 405, "method-not-allowed", "Method not allowed"),
    (NotFound, 404, "not-found", "Not found"),
    (KeyReused, 422, "key-reused", "The idempotency key was used for another request"),
    (AlreadySubmitted, 409, "already-submitted", "Submitted before"),
    (Conflict, 409, "conflict", "The present state does not allow this"),
    (TooMany, 429, "too-many", "A limit of submissions is used up"),
    (Refused, 403, "refused", "A policy forbids this"),
    (Unreachable, 502, "unreachable", "The executor cannot be reached"),
    (StoreError, 503, "store", "The database does not take it now"),
)

_INTERNAL = (GatewayError, 500, "internal", "Internal error")


def problem_of(error: GatewayError) -> web.Response:
    """The answer for an error."""
    found = (row for row in _STATUS if isinstance(error, row[0]))
    _, status, name, title = next(found, _INTERNAL)
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if wrong := errors_of(error):
        extra["errors"] = wrong
    elif isinstance(error, AlreadySubmitted):
        extra["run_id"] = error.run_id
    elif isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, WrongMethod):
        headers["Allow"] = ", ".join(error.allowed)
    elif isinstance(error, TooMany) and error.wait_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.wait_s)))
    elif isinstance(error, StoreError):
        headers["Retry-After"] = "1"
    return problem(status, name, title, str(error), extra, headers)


def errors_of(error: GatewayError) -> list[dict[str, object]]:
    """The wrong fields that an error names."""
    if isinstance(error, InvalidInput):
        return [_wrong(one.field, one.value, one.expected) for one in error.errors]
    return [_wrong(error.field, error.value, error.expected)] if isinstance(error, InvalidValue) else []


def problem(
    status: int,
    name: str,
    title: str,
    detail: str,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {"type": _URN + name, "title": title, "status": status, "detail": detail, **(extra or {})}
    return web.Response(
        status=status,
        body=json.dumps(body, default=str).encode(),
        content_type="application/problem+json",
        headers=headers,
    )


def _wrong(field: str, value: object, expected: str) -> dict[str, object]:
    return {"field": field, "value": _shown(value), "expected": expected}


def _shown(value: object) -> object:
    """The value as it was given, cut short where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    try:
        json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        return text[:_SHOWN]  # NaN and Infinity are not JSON
    return value if len(text) <= _SHOWN else text[:_SHOWN] + "…"
