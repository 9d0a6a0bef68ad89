"""What is kept beside runs: counts of days, events, results of others."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, SmallInteger, String, Table

from gateway.store.tables.base import MYSQL, BigId, LongText, big_column, int_column, metadata

# The final states that are counted by day, as columns.
DAILY_STATES = (
    "succeeded",
    "failed",
    "timed_out",
    "lost",
    "stopped",
    "retrying",
    "skipped",
    "expired",
    "invalid",
)

# How the runs of a job that ended on a day (UTC) went: of kind 0 those that are there, counted anew when there are more;
# of kind 1 those that were removed, added in the transaction that removes them.
run_daily = Table(
    "run_daily",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    int_column("app_id"),
    *(int_column(name) for name in DAILY_STATES),
    int_column("skipped_slots"),
    int_column("sent"),
    int_column("late"),
    big_column("lateness_ms"),
    big_column("lateness_max_ms"),
    int_column("timed"),
    big_column("duration_ms"),
    big_column("duration_max_ms"),
    # The smallest id of a run that was open when this was counted: it ends on a later day.
    big_column("open_id"),
    big_column("counted_ms"),
    Index("ix_run_daily_job_id_day", "job_id", "day"),
    Index("ix_run_daily_app_id_day", "app_id", "day"),
    **MYSQL,
)

# What people changed and what the scheduler noticed.
event = Table(
    "event",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    int_column("namespace_id", 1),
    big_column("at_ms"),
    int_column("level", 1, SmallInteger),
    Column("source_type", String(16), nullable=False, server_default=""),
    Column("source_id", String(255), nullable=False, server_default=""),
    Column("source_name", String(128), nullable=False, server_default=""),
    Column("reason", String(64), nullable=False, server_default=""),
    Column("text", String(1000), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    Index("ix_event_at_ms", "at_ms"),
    Index("ix_event_source_type_source_id_at_ms", "source_type", "source_id", "at_ms"),
    **MYSQL,
)

# Results for runs that were never sent from here: old log ids in executors' retry files.
foreign_result = Table(
    "foreign_result",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    big_column("log_id"),
    big_column("log_time_ms"),
    int_column("code"),
    Column("message", LongText),
    Column("client", String(128), nullable=False, server_default=""),
    Column("why", String(128), nullable=False, server_default=""),
    big_column("received_ms"),
    Index("ix_foreign_result_log_id", "log_id"),
    **MYSQL,
)
