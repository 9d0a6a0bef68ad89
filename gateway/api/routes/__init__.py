"""The table of all endpoints, from which the router and the OpenAPI document are made; a module a room."""

from __future__ import annotations

from gateway.api.routes import apps, insight, jobs, runs, starts, system, timing, users
from gateway.api.routes.route import Handler, Route

ROUTES: tuple[Route, ...] = (
    *apps.ROUTES,
    *jobs.ROUTES,
    *starts.ROUTES,
    *timing.ROUTES,
    *runs.ROUTES,
    *insight.ROUTES,
    *users.ROUTES,
    *system.ROUTES,
)

__all__ = ["ROUTES", "Handler", "Route"]
