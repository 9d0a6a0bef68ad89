"""Endpoints: when jobs are due, and when not: previews, calendars, pauses."""

from __future__ import annotations

from gateway.api import calendars, pauses, schedules
from gateway.api.models.calendars import CalendarAnswer, CalendarBody, CalendarList, CalendarQuery, DaysBody
from gateway.api.models.pauses import PauseAnswer, PauseBody, PauseList
from gateway.api.models.previews import PreviewAnswer, PreviewBody, PreviewQuery
from gateway.api.routes.route import APP, JOB, V1, Route

_CALENDAR = f"{V1}/calendars/{{name}}"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{JOB}/preview",
        schedules.of_job,
        "When a job is due next",
        {200: PreviewAnswer},
        query=PreviewQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{V1}/schedules/preview",
        schedules.of_body,
        "When a schedule would fire",
        {200: PreviewAnswer},
        PreviewBody,
    ),
    Route(
        "POST",
        f"{JOB}/pause",
        pauses.pause_job,
        "Pause a job",
        {200: PauseAnswer},
        PauseBody,
        body_optional=True,
        problems=(404,),
    ),
    Route("POST", f"{JOB}/resume", pauses.resume_job, "Resume a job", {204: None}, problems=(404,)),
    Route(
        "POST",
        f"{APP}/pause",
        pauses.pause_app,
        "Pause an app",
        {200: PauseAnswer},
        PauseBody,
        body_optional=True,
        problems=(404,),
    ),
    Route("POST", f"{APP}/resume", pauses.resume_app, "Resume an app", {204: None}, problems=(404,)),
    Route(
        "POST",
        f"{V1}/pause",
        pauses.pause_all,
        "Pause everything",
        {200: PauseAnswer},
        PauseBody,
        body_optional=True,
    ),
    Route("POST", f"{V1}/resume", pauses.resume_all, "Resume everything", {204: None}, problems=(404,)),
    Route("GET", f"{V1}/pauses", pauses.page, "List the pauses in force", {200: PauseList}),
    Route(
        "POST",
        f"{V1}/calendars",
        calendars.create,
        "Create a calendar",
        {201: CalendarAnswer},
        CalendarBody,
        problems=(409,),
    ),
    Route(
        "GET", f"{V1}/calendars", calendars.page, "List calendars", {200: CalendarList}, query=CalendarQuery
    ),
    Route("GET", _CALENDAR, calendars.get, "Show a calendar", {200: CalendarAnswer}, problems=(404,)),
    Route(
        "PUT",
        _CALENDAR,
        calendars.put,
        "Replace the days of a calendar",
        {200: CalendarAnswer},
        DaysBody,
        problems=(404,),
    ),
    Route(
        "DELETE",
        _CALENDAR,
        calendars.delete,
        "Delete a calendar that no job uses",
        {204: None},
        problems=(404, 409),
    ),
)
