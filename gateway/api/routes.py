"""The table of all endpoints, from which the router and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from gateway.api import (
    apps,
    backfills,
    bulk,
    calendars,
    events,
    executors,
    explain,
    failures,
    jobs,
    nodes,
    pauses,
    proof,
    queue,
    removal,
    run_removal,
    runs,
    schedules,
    simulate,
    stats,
    submission_limits,
    system,
    tokens,
    trigger,
    trigger_urls,
    versions,
)
from gateway.api.models.apps import AppAnswer, AppBody, AppList, AppQuery
from gateway.api.models.backfills import (
    BackfillAnswer,
    BackfillBody,
    BackfillList,
    BackfillPlan,
    BackfillQuery,
)
from gateway.api.models.bulk import BulkAnswer, BulkBody
from gateway.api.models.calendars import (
    CalendarAnswer,
    CalendarBody,
    CalendarList,
    CalendarQuery,
    DaysBody,
)
from gateway.api.models.events import EventList, EventQuery
from gateway.api.models.executors import ExecutorAnswer, ExecutorBody, ExecutorList
from gateway.api.models.explain import ExplainAnswer, ExplainQuery
from gateway.api.models.failures import (
    FailureQuery,
    MarkBody,
    RedriveAnswer,
    RedriveBody,
    RerunAnswer,
    RerunBody,
)
from gateway.api.models.jobs import (
    BatchBody,
    DeleteAnswer,
    DeleteQuery,
    JobAnswer,
    JobBody,
    JobIds,
    JobList,
    JobQuery,
)
from gateway.api.models.pauses import PauseAnswer, PauseBody, PauseList
from gateway.api.models.previews import PreviewAnswer, PreviewBody, PreviewQuery
from gateway.api.models.proof import ProofAnswer, ProofQuery
from gateway.api.models.queue import QueueAnswer, QueueQuery
from gateway.api.models.run_removal import RemovalAnswer, RemovalBody, RemovalQuery
from gateway.api.models.runs import LogAnswer, LogQuery, RunAnswer, RunList, RunQuery, StopAnswer
from gateway.api.models.simulation import SimulationAnswer, SimulationBody
from gateway.api.models.stats import DailyAnswer, DailyQuery
from gateway.api.models.submissions import SubmissionsAnswer, SubmissionsBody, TriggerAnswer, TriggerBody
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
from gateway.api.models.trigger_urls import NewUrlAnswer, UrlAnswer, UrlBody, UrlList, UrlRulesBody
from gateway.api.models.versions import DiffAnswer, RollbackBody, VersionAnswer, VersionList, VersionQuery

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


_V1 = "/api/v1"
_APP = f"{_V1}/apps/{{appname}}"
_JOB = f"{_V1}/jobs/{{job_id}}"
_BACKFILL = f"{_V1}/backfills/{{backfill_id}}"
_CALENDAR = f"{_V1}/calendars/{{name}}"
_URLS = f"{_JOB}/trigger-urls"
_URL = f"{_URLS}/{{url_id}}"
_RUN = f"{_V1}/runs/{{run_id}}"


def _limits(kind: str, path: str, whose: str) -> tuple[Route, ...]:
    """The limit of submissions of a token or a namespace: shown, set, taken away."""
    get, put, free = (getattr(submission_limits, f"{verb}_{kind}") for verb in ("of", "limit", "free"))
    shown = {200: LimitAnswer}
    return (
        Route("GET", path, get, f"Show the limit of submissions of {whose}", shown, problems=(404,)),
        Route("PUT", path, put, f"Limit the submissions of {whose}", shown, LimitBody, problems=(404,)),
        Route("DELETE", path, free, f"Take the limit of {whose} away", {204: None}, problems=(404,)),
    )


ROUTES: tuple[Route, ...] = (
    Route("POST", f"{_V1}/apps", apps.create, "Create an app", {201: AppAnswer}, AppBody, problems=(409,)),
    Route("GET", f"{_V1}/apps", apps.page, "List apps", {200: AppList}, query=AppQuery),
    Route("GET", _APP, apps.get, "Show an app", {200: AppAnswer}, problems=(404,)),
    Route("PATCH", _APP, apps.patch, "Change an app", {200: AppAnswer}, AppBody, patch=True, problems=(404,)),
    Route("DELETE", _APP, apps.delete, "Delete an app without jobs", {204: None}, problems=(404, 409)),
    Route(
        "GET",
        f"{_APP}/executors",
        executors.page,
        "List the executors of an app, and what is set for them",
        {200: ExecutorList},
        problems=(404,),
    ),
    Route(
        "PATCH",
        f"{_APP}/executors",
        executors.change,
        "Set labels, weight, draining or a note of an executor",
        {200: ExecutorAnswer},
        ExecutorBody,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_APP}/queue",
        queue.view,
        "Runs of an app that wait for a place, in order",
        {200: QueueAnswer},
        query=QueueQuery,
        problems=(404,),
    ),
    Route("POST", f"{_V1}/jobs", jobs.create, "Create a job", {201: JobAnswer}, JobBody),
    Route("GET", f"{_V1}/jobs", jobs.page, "List jobs", {200: JobList}, query=JobQuery, problems=(404,)),
    Route(
        "POST", f"{_V1}/jobs/batch", jobs.create_batch, "Create jobs, all or none", {201: JobIds}, BatchBody
    ),
    Route(
        "POST",
        f"{_V1}/jobs/bulk",
        bulk.bulk,
        "Many jobs at once",
        {200: BulkAnswer},
        BulkBody,
        problems=(409,),
    ),
    Route("GET", _JOB, jobs.get, "Show a job", {200: JobAnswer}, problems=(404,)),
    Route(
        "PATCH", _JOB, jobs.patch, "Change a job", {200: JobAnswer}, JobBody, patch=True, problems=(404, 409)
    ),
    Route(
        "DELETE",
        _JOB,
        removal.delete,
        "Delete a job, what waits of it, and then its history",
        {204: None, 200: DeleteAnswer},
        query=DeleteQuery,
        problems=(404,),
    ),
    Route("POST", f"{_JOB}/enable", jobs.enable, "Enable a job", {200: JobAnswer}, problems=(404,)),
    Route("POST", f"{_JOB}/disable", jobs.disable, "Disable a job", {200: JobAnswer}, problems=(404,)),
    Route(
        "POST",
        f"{_JOB}/trigger",
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
        f"{_JOB}/trigger/batch",
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
        "GET",
        f"{_JOB}/preview",
        schedules.of_job,
        "When a job is due next",
        {200: PreviewAnswer},
        query=PreviewQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_JOB}/explain",
        explain.of_job,
        "Why a job ran, runs late, waits or does not run at an instant",
        {200: ExplainAnswer},
        query=ExplainQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_JOB}/versions",
        versions.page,
        "List a job's versions, newest first",
        {200: VersionList},
        query=VersionQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_JOB}/versions/{{version}}",
        versions.get,
        "Show a job as it was",
        {200: VersionAnswer},
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_JOB}/versions/{{old}}/diff/{{new}}",
        versions.diff,
        "What differs between two versions",
        {200: DiffAnswer},
        problems=(404,),
    ),
    Route(
        "POST",
        f"{_JOB}/rollback",
        versions.rollback,
        "Make an earlier version the newest",
        {200: JobAnswer},
        RollbackBody,
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{_V1}/schedules/preview",
        schedules.of_body,
        "When a schedule would fire",
        {200: PreviewAnswer},
        PreviewBody,
    ),
    Route(
        "POST",
        f"{_JOB}/backfills",
        backfills.create,
        "Run a past range of a job's slots",
        {200: BackfillPlan, 201: BackfillAnswer},
        BackfillBody,
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{_JOB}/backfills",
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
    Route(
        "POST",
        f"{_JOB}/pause",
        pauses.pause_job,
        "Pause a job",
        {200: PauseAnswer},
        PauseBody,
        body_optional=True,
        problems=(404,),
    ),
    Route("POST", f"{_JOB}/resume", pauses.resume_job, "Resume a job", {204: None}, problems=(404,)),
    Route(
        "POST",
        f"{_APP}/pause",
        pauses.pause_app,
        "Pause an app",
        {200: PauseAnswer},
        PauseBody,
        body_optional=True,
        problems=(404,),
    ),
    Route("POST", f"{_APP}/resume", pauses.resume_app, "Resume an app", {204: None}, problems=(404,)),
    Route(
        "POST",
        f"{_V1}/pause",
        pauses.pause_all,
        "Pause everything",
        {200: PauseAnswer},
        PauseBody,
        body_optional=True,
    ),
    Route("POST", f"{_V1}/resume", pauses.resume_all, "Resume everything", {204: None}, problems=(404,)),
    Route("GET", f"{_V1}/pauses", pauses.page, "List the pauses in force", {200: PauseList}),
    Route(
        "GET",
        f"{_V1}/runs",
        runs.page,
        "List runs, newest first",
        {200: RunList},
        query=RunQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{_V1}/runs/remove",
        run_removal.many,
        "Remove runs that have ended, a page a call",
        {200: RemovalAnswer},
        RemovalBody,
        query=RemovalQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{_V1}/simulate",
        simulate.simulate,
        "What would happen in a range of time; nothing is touched",
        {200: SimulationAnswer},
        SimulationBody,
        problems=(404, 409),
    ),
    Route("GET", _RUN, runs.get, "Show a run", {200: RunAnswer}, problems=(404,)),
    Route(
        "DELETE",
        _RUN,
        run_removal.one,
        "Remove a run that has ended, with all of its slot",
        {204: None},
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{_V1}/proof",
        proof.page,
        "Prove that no slot was lost or doubled",
        {200: ProofAnswer},
        query=ProofQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_V1}/stats/daily",
        stats.daily,
        "How the runs of each day went",
        {200: DailyAnswer},
        query=DailyQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{_RUN}/log",
        runs.log,
        "Lines of a run's log, from its executor",
        {200: LogAnswer},
        query=LogQuery,
        problems=(404, 409, 502),
    ),
    Route(
        "POST",
        f"{_RUN}/move-to-front",
        queue.move_to_front,
        "Have a waiting run start before all others of its app",
        {200: RunAnswer},
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{_RUN}/bypass-limits",
        queue.bypass,
        "Let a waiting run start whatever the limits",
        {200: RunAnswer},
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{_RUN}/rerun",
        failures.rerun,
        "Run a run again that has ended",
        {202: RerunAnswer},
        RerunBody,
        body_optional=True,
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{_RUN}/mark-succeeded",
        failures.mark_succeeded,
        "Say that a failed run needs nothing more",
        {200: RunAnswer},
        MarkBody,
        problems=(404, 409),
    ),
    Route(
        "GET",
        f"{_V1}/failures",
        failures.page,
        "List runs whose last attempt has failed, newest first",
        {200: RunList},
        query=FailureQuery,
        problems=(404,),
    ),
    Route(
        "POST",
        f"{_V1}/failures/redrive",
        failures.redrive,
        "Run failures again, each once, with a result each",
        {200: RedriveAnswer},
        RedriveBody,
    ),
    Route("POST", f"{_RUN}/stop", runs.stop, "Stop a run", {200: StopAnswer}, problems=(404, 409, 502)),
    Route(
        "GET",
        f"{_V1}/events",
        events.page,
        "List what was changed and noticed, newest first",
        {200: EventList},
        query=EventQuery,
    ),
    Route(
        "POST", f"{_V1}/tokens", tokens.create, "Create a token", {201: NewToken}, TokenBody, problems=(409,)
    ),
    Route("GET", f"{_V1}/tokens", tokens.page, "List tokens", {200: TokenList}),
    Route(
        "DELETE", f"{_V1}/tokens/{{token_id}}", tokens.revoke, "Revoke a token", {204: None}, problems=(404,)
    ),
    *_limits("token", f"{_V1}/tokens/{{token_id}}/limit", "a token"),
    *_limits("namespace", f"{_V1}/namespaces/{{namespace}}/limit", "a namespace"),
    Route(
        "POST",
        f"{_V1}/calendars",
        calendars.create,
        "Create a calendar",
        {201: CalendarAnswer},
        CalendarBody,
        problems=(409,),
    ),
    Route(
        "GET", f"{_V1}/calendars", calendars.page, "List calendars", {200: CalendarList}, query=CalendarQuery
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
    Route("GET", f"{_V1}/nodes", nodes.page, "List the nodes of this database", {200: NodeList}),
    Route(
        "POST",
        f"{_V1}/nodes/{{name}}/drain",
        nodes.drain,
        "Have a node give its parts to the others",
        {200: NodeAnswer},
        problems=(404, 409),
    ),
    Route(
        "POST",
        f"{_V1}/nodes/{{name}}/resume",
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
