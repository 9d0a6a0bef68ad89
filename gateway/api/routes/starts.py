"""Endpoints: what starts runs beside a schedule: calls, trigger URLs, backfills."""

from __future__ import annotations

from gateway.api import backfills, trigger, trigger_urls
from gateway.api.models.backfills import (
    BackfillAnswer,
    BackfillBody,
    BackfillList,
    BackfillPlan,
    BackfillQuery,
)
from gateway.api.models.submissions import SubmissionsAnswer, SubmissionsBody, TriggerAnswer, TriggerBody
from gateway.api.models.trigger_urls import NewUrlAnswer, UrlAnswer, UrlBody, UrlList, UrlRulesBody
from gateway.api.routes.route import JOB, V1, Route

_BACKFILL = f"{V1}/backfills/{{backfill_id}}"
_URLS = f"{JOB}/trigger-urls"
_URL = f"{_URLS}/{{url_id}}"

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        f"{JOB}/trigger",
        trigger.trigger,
        "Run a job, now or later",
        {202: TriggerAnswer},
        TriggerBody,
        body_optional=True,
        problems=(404, 409, 429),
        keyed=True,
    ),
    Route(
        "POST",
        f"{JOB}/trigger/batch",
        trigger.trigger_batch,
        "Run a job up to 10,000 times",
        {202: SubmissionsAnswer},
        SubmissionsBody,
        problems=(404, 409, 429),
        keyed=True,
    ),
    Route(
        "POST",
        _URLS,
        trigger_urls.create,
        "Make a trigger URL",
        {201: NewUrlAnswer},
        UrlBody,
        problems=(404, 409),
    ),
    Route("GET", _URLS, trigger_urls.page, "List trigger URLs", {200: UrlList}, problems=(404,)),
    Route(
        "PUT",
        _URL,
        trigger_urls.change,
        "Change a trigger URL",
        {200: UrlAnswer},
        UrlRulesBody,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{_URL}/rotate",
        trigger_urls.rotate,
        "Give it a new secret",
        {200: NewUrlAnswer},
        problems=(404,),
    ),
    Route("DELETE", _URL, trigger_urls.delete, "Delete a trigger URL", {204: None}, problems=(404,)),
    Route(
        "POST",
        f"{JOB}/backfills",
        backfills.create,
        "Run a past range of a job's slots",
        {200: BackfillPlan, 201: BackfillAnswer},
        BackfillBody,
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{JOB}/backfills",
        backfills.page,
        "List the backfills of a job, newest first",
        {200: BackfillList},
        query=BackfillQuery,
        problems=(404,),
    ),
    Route("GET", _BACKFILL, backfills.get, "Show a backfill", {200: BackfillAnswer}, problems=(404,)),
    Route(
        "POST",
        f"{_BACKFILL}/cancel",
        backfills.cancel,
        "Make no more runs for a backfill",
        {200: BackfillAnswer},
        problems=(404, 409),
    ),
)
