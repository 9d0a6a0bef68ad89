"""The OpenAPI 3.1 document, made from the table of routes and the models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.api.models.base import JsonObject
from gateway.api.models.system import Problem
from gateway.api.routes import ROUTES, Route

_REF = "#/components/schemas/{model}"
_MEDIA = {"/metrics": "text/plain"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NUMBERS = ("_id", "version", "old", "new")
_PROBLEM_TEXTS = {
    400: "The body is not JSON.",
    401: "A valid token is needed.",
    404: "There is no such thing.",
    409: "The present state does not allow it.",
    413: "The body is larger than 8 MB.",
    422: "A value is not valid; `errors` says which, and what would be right.",
    429: "A limit of submissions is used up; `Retry-After` says when to come again.",
    502: "The executor cannot be reached.",
    503: "The database does not take it now.",
}


def document(routes: Iterable[Route] = ROUTES) -> JsonObject:
    routes = tuple(routes)
    paths: dict[str, JsonObject] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "xxljob-gateway", "version": _version(), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def models(routes: Iterable[Route] = ROUTES) -> set[type[BaseModel]]:
    """All that the document is made of."""
    found: set[type[BaseModel]] = {Problem}
    for route in routes:
        found |= {one for one in (route.body, route.query, *route.answers.values()) if one is not None}
    return found


def _version() -> str:
    try:
        return version("xxljob-gateway")
    except PackageNotFoundError:
        return "0"


def _operation(route: Route) -> JsonObject:
    operation: JsonObject = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.operation_id.partition("_")[0]],
        "responses": {str(status): _answer(route, status) for status in route.answers},
    }
    if route.open:
        operation["security"] = []
    if parameters := [*_path_parameters(route), *_query_parameters(route.query), *_headers(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        media = "application/merge-patch+json" if route.patch else "application/json"
        schema = _ref(_partial_name(route.body) if route.patch else route.body.__name__)
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {media: {"schema": schema}} | ({"application/json": {"schema": schema}}),
        }
    for status in _problems(route):
        operation["responses"][str(status)] = {
            "description": _PROBLEM_TEXTS[status],
            "content": {"application/problem+json": {"schema": _ref(Problem.__name__)}},
        }
    return operation


def _answer(route: Route, status: int) -> JsonObject:
    model = route.answers[status]
    answer: JsonObject = {"description": route.summary if status < 300 else "Not now; `problems` says why."}
    if model is not None:
        answer["content"] = {"application/json": {"schema": _ref(model.__name__)}}
    elif status != 204:
        answer["content"] = {_MEDIA.get(route.path, "application/json"): {}}
    return answer


def _problems(route: Route) -> list[int]:
    if route.open:
        return []
    found = {401, 503, *route.problems}
    if route.body is not None:
        found |= {400, 413, 422}
    if route.query is not None or "_id}" in route.path:
        found.add(422)
    return sorted(found)


def _path_parameters(route: Route) -> list[JsonObject]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer"} if name.endswith(_NUMBERS) else {"type": "string"},
        }
        for name in _PLACEHOLDER.findall(route.path)
    ]


def _query_parameters(model: type[BaseModel] | None) -> list[JsonObject]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_REF)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": {key: value for key, value in field.items() if key != "title"},
        }
        for name, field in schema["properties"].items()
    ]


def _headers(route: Route) -> list[JsonObject]:
    if not route.keyed:
        return []
    schema = {
        "type": "string",
        "maxLength": 128,
        "description": "A name for this call: made again with it within 7 days, it gets the same answer.",
    }
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema}]


def _schemas(routes: tuple[Route, ...]) -> JsonObject:
    bodies = {route.body for route in routes if route.body is not None}
    answers = {model for route in routes for model in route.answers.values() if model is not None}
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in sorted(bodies, key=lambda one: one.__name__)),
        *((model, "serialization") for model in sorted(answers | {Problem}, key=lambda one: one.__name__)),
    ]
    _, found = models_json_schema(wanted, ref_template=_REF)
    schemas: JsonObject = found["$defs"]
    for route in routes:
        if route.patch and route.body is not None:
            schemas[_partial_name(route.body)] = _partial(schemas[route.body.__name__], route.body)
    return dict(sorted(schemas.items()))


def _partial(schema: JsonObject, model: type[BaseModel]) -> JsonObject:
    """Nothing required and nothing filled in: what is left out stays, null goes back to the default."""
    properties: dict[str, Any] = {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in schema["properties"].items()
    }
    if model.__name__ == "JobBody":
        properties["version"] = {
            "type": "integer",
            "description": "Change only if the job is at this version; 409 otherwise.",
        }
    return {
        "type": "object",
        "title": _partial_name(model),
        "description": "A JSON merge patch: what is left out stays, null goes back to the default.",
        "additionalProperties": False,
        "properties": properties,
    }


def _partial_name(model: type[BaseModel]) -> str:
    return model.__name__.removesuffix("Body") + "Patch"


def _ref(name: str) -> JsonObject:
    return {"$ref": _REF.format(model=name)}
