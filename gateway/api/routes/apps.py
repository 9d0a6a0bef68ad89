"""Endpoints: apps, their executors, what waits in them."""

from __future__ import annotations

from gateway.api import apps, executors, queue
from gateway.api.models.apps import AppAnswer, AppBody, AppList, AppQuery
from gateway.api.models.executors import ExecutorAnswer, ExecutorBody, ExecutorList
from gateway.api.models.queue import QueueAnswer, QueueQuery
from gateway.api.routes.route import APP, V1, Route

ROUTES: tuple[Route, ...] = (
    Route("POST", f"{V1}/apps", apps.create, "Create an app", {201: AppAnswer}, AppBody, problems=(409,)),
    Route("GET", f"{V1}/apps", apps.page, "List apps", {200: AppList}, query=AppQuery),
    Route("GET", APP, apps.get, "Show an app", {200: AppAnswer}, problems=(404,)),
    Route("PATCH", APP, apps.patch, "Change an app", {200: AppAnswer}, AppBody, patch=True, problems=(404,)),
    Route("DELETE", APP, apps.delete, "Delete an app without jobs", {204: None}, problems=(404, 409)),
    Route(
        "GET",
        f"{APP}/executors",
        executors.page,
        "List the executors of an app, and what is set for them",
        {200: ExecutorList},
        problems=(404,),
    ),
    Route(
        "PATCH",
        f"{APP}/executors",
        executors.change,
        "Set labels, weight, draining or a note of an executor",
        {200: ExecutorAnswer},
        ExecutorBody,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{APP}/queue",
        queue.view,
        "Runs of an app that wait for a place, in order",
        {200: QueueAnswer},
        query=QueueQuery,
        problems=(404,),
    ),
)
