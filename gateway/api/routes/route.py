"""What one endpoint is: all that the router and the OpenAPI document are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """`patch`: the body is any part of the model. `answers` maps a status to a model, None for no body.

    `keyed`: it takes an idempotency key.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    patch: bool = False
    body_optional: bool = False
    open: bool = False
    keyed: bool = False
    problems: tuple[int, ...] = ()

    @property
    def operation_id(self) -> str:
        room = self.handler.__module__.rpartition(".")[2]
        return f"{room}_{self.handler.__name__}"


V1 = "/api/v1"
APP = f"{V1}/apps/{{appname}}"
JOB = f"{V1}/jobs/{{job_id}}"
RUN = f"{V1}/runs/{{run_id}}"
