"""Endpoints: tokens of callers and of executors, limits of callers, nodes, probes."""

from __future__ import annotations

from gateway.api import access, nodes, submission_limits, system, tokens
from gateway.api.models.access import AccessTokenBody, AccessTokenList, NewAccessToken
from gateway.api.models.system import (
    Alive,
    LimitAnswer,
    LimitBody,
    NewToken,
    NodeAnswer,
    NodeList,
    Ready,
    TokenBody,
    TokenList,
)
from gateway.api.routes.route import V1, Route


def _limits(kind: str, path: str, whose: str) -> tuple[Route, ...]:
    """The limit of submissions of a token or a namespace: shown, set, taken away."""
    get, put, free = (getattr(submission_limits, f"{verb}_{kind}") for verb in ("of", "limit", "free"))
    shown = {200: LimitAnswer}
    return (
        Route("GET", path, get, f"Show the limit of submissions of {whose}", shown, problems=(404,)),
        Route("PUT", path, put, f"Limit the submissions of {whose}", shown, LimitBody, problems=(404,)),
        Route("DELETE", path, free, f"Take the limit of {whose} away", {204: None}, problems=(404,)),
    )


def _access(kind: str, path: str, whose: str) -> tuple[Route, ...]:
    """The access tokens of an app or a namespace."""
    create, page, remove = (getattr(access, f"{verb}_of_{kind}") for verb in ("create", "page", "remove"))
    return (
        Route(
            "POST",
            path,
            create,
            f"Create an access token of {whose}",
            {201: NewAccessToken},
            AccessTokenBody,
            body_optional=True,
            problems=(404, 409),
        ),
        Route(
            "GET",
            path,
            page,
            f"List the access tokens of {whose}",
            {200: AccessTokenList},
            problems=(404,),
        ),
        Route(
            "DELETE",
            f"{path}/{{token_id}}",
            remove,
            f"Remove an access token of {whose}",
            {204: None},
            problems=(404,),
        ),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        "POST", f"{V1}/tokens", tokens.create, "Create a token", {201: NewToken}, TokenBody, problems=(409,)
    ),
    Route("GET", f"{V1}/tokens", tokens.page, "List tokens", {200: TokenList}),
    Route(
        "DELETE", f"{V1}/tokens/{{token_id}}", tokens.revoke, "Revoke a token", {204: None}, problems=(404,)
    ),
    *_limits("token", f"{V1}/tokens/{{token_id}}/limit", "a token"),
    *_limits("namespace", f"{V1}/namespaces/{{namespace}}/limit", "a namespace"),
    *_access("app", f"{V1}/apps/{{appname}}/tokens", "an app"),
    *_access("namespace", f"{V1}/namespaces/{{namespace}}/tokens", "a namespace"),
    Route("GET", f"{V1}/nodes", nodes.page, "List the nodes of this database", {200: NodeList}),
    Route(
        "POST",
        f"{V1}/nodes/{{name}}/drain",
        nodes.drain,
        "Have a node give its parts to the others",
        {200: NodeAnswer},
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{V1}/nodes/{{name}}/resume",
        nodes.resume,
        "Let a drained node own parts again",
        {200: NodeAnswer},
        problems=(404, 409),
    ),
    Route("GET", "/healthz", system.healthz, "Whether the process answers", {200: Alive}, open=True),
    Route("GET", "/readyz", system.readyz, "Whether the node schedules", {200: Ready, 503: Ready}, open=True),
    Route("GET", "/metrics", system.metrics, "Counters for Prometheus", {200: None}, open=True),
    Route("GET", "/openapi.json", system.openapi, "The OpenAPI document", {200: None}, open=True),
)
