"""The tables: one schema for SQLite, MySQL and MariaDB. A column that has landed changes by a migration only."""

from __future__ import annotations

from gateway.store.tables.access import (
    access_token,
    api_token,
    namespace,
    submission_quota,
    user_account,
    user_session,
)
from gateway.store.tables.apps import app, executor, executor_setting
from gateway.store.tables.base import metadata
from gateway.store.tables.cluster import id_sequence, node, part, revision, setting
from gateway.store.tables.imports import app_alias, import_item, import_source
from gateway.store.tables.jobs import (
    calendar,
    calendar_edition,
    deleted_job,
    job,
    job_calendar,
    job_link,
    job_next_fire,
    job_version,
    join_mark,
    pause,
    trigger_url,
)
from gateway.store.tables.records import DAILY_STATES, event, foreign_result, run_daily
from gateway.store.tables.runs import backfill, backfill_slot, idempotency_key, request, run, task

__all__ = [
    "DAILY_STATES",
    "access_token",
    "api_token",
    "app",
    "app_alias",
    "backfill",
    "backfill_slot",
    "calendar",
    "calendar_edition",
    "deleted_job",
    "event",
    "executor",
    "executor_setting",
    "foreign_result",
    "id_sequence",
    "idempotency_key",
    "import_item",
    "import_source",
    "job",
    "job_calendar",
    "job_link",
    "job_next_fire",
    "job_version",
    "join_mark",
    "metadata",
    "namespace",
    "node",
    "part",
    "pause",
    "request",
    "revision",
    "run",
    "run_daily",
    "setting",
    "submission_quota",
    "task",
    "trigger_url",
    "user_account",
    "user_session",
]
