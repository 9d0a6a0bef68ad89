"""Endpoints: runs, those that wait, those that failed."""

from __future__ import annotations

from gateway.api import failures, queue, run_removal, runs
from gateway.api.models.failures import (
    FailureQuery,
    MarkBody,
    RedriveAnswer,
    RedriveBody,
    RerunAnswer,
    RerunBody,
)
from gateway.api.models.run_removal import RemovalAnswer, RemovalBody, RemovalQuery
from gateway.api.models.runs import LogAnswer, LogQuery, RunAnswer, RunList, RunQuery, StopAnswer
from gateway.api.routes.route import RUN, V1, Route

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{V1}/runs",
        runs.page,
        "List runs, newest first",
        {200: RunList},
        query=RunQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{V1}/runs/remove",
        run_removal.many,
        "Remove runs that have ended, a page a call",
        {200: RemovalAnswer},
        RemovalBody,
        query=RemovalQuery,
        problems=(404,),
    ),
    Route("GET", RUN, runs.get, "Show a run", {200: RunAnswer}, problems=(404,)),
    Route(
        "DELETE",
        RUN,
        run_removal.one,
        "Remove a run that has ended, with all of its slot",
        {204: None},
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{RUN}/log",
        runs.log,
        "Lines of a run's log, from its executor",
        {200: LogAnswer},
        query=LogQuery,
        problems=(404, 409, 502),
    ),
    Route(
        "POST",
        f"{RUN}/move-to-front",
        queue.move_to_front,
        "Have a waiting run start before all others of its app",
        {200: RunAnswer},
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{RUN}/bypass-limits",
        queue.bypass,
        "Let a waiting run start whatever the limits",
        {200: RunAnswer},
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{RUN}/rerun",
        failures.rerun,
        "Run a run again that has ended",
        {202: RerunAnswer},
        RerunBody,
        body_optional=True,
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{RUN}/mark-succeeded",
        failures.mark_succeeded,
        "Say that a failed run needs nothing more",
        {200: RunAnswer},
        MarkBody,
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{V1}/failures",
        failures.page,
        "List runs whose last attempt has failed, newest first",
        {200: RunList},
        query=FailureQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{V1}/failures/redrive",
        failures.redrive,
        "Run failures again, each once, with a result each",
        {200: RedriveAnswer},
        RedriveBody,
    ),
    Route("POST", f"{RUN}/stop", runs.stop, "Stop a run", {200: StopAnswer}, problems=(404, 409, 502)),
)
