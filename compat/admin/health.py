"""`/actuator/health`: for probes, without a login."""

from __future__ import annotations

import json

from aiohttp import web

from compat.admin.generations import OLD_PREFIX
from compat.admin.ports import PORTS

PATHS = ("/actuator/health", "/actuator/health/liveness", "/actuator/health/readiness")


async def health(request: web.Request) -> web.Response:
    """Alive is whoever answers; up or ready is who schedules."""
    problems = () if request.path.endswith("/liveness") else request.app[PORTS].operations.health().problems
    body: dict[str, object] = {"status": "DOWN" if problems else "UP"}
    if request.path.endswith("/health") and not request.path.startswith(OLD_PREFIX):
        body["groups"] = ["liveness", "readiness"]
    return web.Response(
        status=503 if problems else 200,
        body=json.dumps(body, separators=(",", ":")).encode(),
        content_type="application/vnd.spring-boot.actuator.v3+json",
    )
