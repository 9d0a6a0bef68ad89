"""Endpoints: jobs and their versions."""

from __future__ import annotations

from gateway.api import bulk, jobs, removal, versions
from gateway.api.models.bulk import BulkAnswer, BulkBody
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
from gateway.api.models.versions import DiffAnswer, RollbackBody, VersionAnswer, VersionList, VersionQuery
from gateway.api.routes.route import JOB, V1, Route

ROUTES: tuple[Route, ...] = (
    Route("POST", f"{V1}/jobs", jobs.create, "Create a job", {201: JobAnswer}, JobBody),
    Route("GET", f"{V1}/jobs", jobs.page, "List jobs", {200: JobList}, query=JobQuery, problems=(404,)),
    Route(
        "POST",
        f"{V1}/jobs/batch",
        jobs.create_batch,
        "Create jobs, all or none",
        {201: JobIds},
        BatchBody,
        problems=(409,),
    ),
    Route(
        "POST",
        f"{V1}/jobs/bulk",
        bulk.bulk,
        "Many jobs at once",
        {200: BulkAnswer},
        BulkBody,
        problems=(409,),
    ),
    Route("GET", JOB, jobs.get, "Show a job", {200: JobAnswer}, problems=(404,)),
    Route(
        "PATCH", JOB, jobs.patch, "Change a job", {200: JobAnswer}, JobBody, patch=True, problems=(404, 409)
    ),
    Route(
        "DELETE",
        JOB,
        removal.delete,
        "Delete a job, what waits of it, and then its history",
        {204: None, 200: DeleteAnswer},
        query=DeleteQuery,
        problems=(404,),
    ),
    Route("POST", f"{JOB}/enable", jobs.enable, "Enable a job", {200: JobAnswer}, problems=(404,)),
    Route("POST", f"{JOB}/disable", jobs.disable, "Disable a job", {200: JobAnswer}, problems=(404,)),
    Route(
        "GET",
        f"{JOB}/versions",
        versions.page,
        "List a job's versions, newest first",
        {200: VersionList},
        query=VersionQuery,
        problems=(404,),
    ),
    Route(
        "GET",
        f"{JOB}/versions/{{version}}",
        versions.get,
        "Show a job as it was",
        {200: VersionAnswer},
        problems=(404,),
    ),
    Route(
        "GET",
        f"{JOB}/versions/{{old}}/diff/{{new}}",
        versions.diff,
        "What differs between two versions",
        {200: DiffAnswer},
        problems=(404,),
    ),
    Route(
        "POST",
        f"{JOB}/rollback",
        versions.rollback,
        "Make an earlier version the newest",
        {200: JobAnswer},
        RollbackBody,
        problems=(404, 409),
    ),
)
