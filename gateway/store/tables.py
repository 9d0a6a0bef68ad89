"""One schema for SQLite, MySQL and MariaDB. A column that has landed changes by a migration only.

Times are integer milliseconds since the epoch. Every hot column of `run` has a default, so that a
statement names only what it sets.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql, sqlite

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_row_format": "DYNAMIC",
}

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

BigId = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def _int(name: str, default: int | None = 0, type_: type[Integer] = Integer) -> Column[int]:
    return Column(name, type_, nullable=False, server_default=None if default is None else str(default))


def _big(name: str, default: int | None = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=None if default is None else str(default))


namespace = Table(
    "namespace",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False, unique=True),
    # The limit of submissions: so many a second as text, empty for none, and how many at once.
    Column("submit_rate", String(32), nullable=False, server_default=""),
    _int("submit_burst"),
    **_MYSQL,
)

id_sequence = Table(
    "id_sequence",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("next_id", BigInteger, nullable=False),
    **_MYSQL,
)

node = Table(
    "node",
    metadata,
    Column("name", String(64), primary_key=True),
    _big("epoch"),
    _big("beat"),
    Column("control_address", String(255), nullable=False, server_default=""),
    _big("started_ms"),
    _big("seen_ms"),
    # The data directory behind the name: a second node that was given the same name has another.
    Column("instance", String(32), nullable=False, server_default=""),
    Column("version", String(32), nullable=False, server_default=""),
    _int("live", 1, SmallInteger),
    _int("draining", 0, SmallInteger),
    _int("fit", 1, SmallInteger),
    _big("clock_offset_ms"),
    # The settings that all nodes must agree on, as JSON.
    Column("agreed", String(1024), nullable=False, server_default=""),
    **_MYSQL,
)

part = Table(
    "part",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("node", String(64), nullable=False, server_default=""),
    _big("epoch"),
    **_MYSQL,
)

app = Table(
    "app",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _int("namespace_id", 1),
    Column("appname", String(64), nullable=False),
    Column("title", String(128), nullable=False, server_default=""),
    Column("address_mode", String(8), nullable=False, server_default="auto"),
    Column("addresses", LongText),
    Column("max_running", Integer),
    Column("starts_per_second", String(32)),
    Column("id_sequence", String(32), nullable=False, server_default="run"),
    _big("created_ms"),
    _big("updated_ms"),
    UniqueConstraint("namespace_id", "appname"),
    **_MYSQL,
)

executor = Table(
    "executor",
    metadata,
    Column("app_id", Integer, primary_key=True, autoincrement=False),
    Column("address", String(255), primary_key=True),
    Column("dialect", String(16), nullable=False),
    Column("client", String(128), nullable=False, server_default=""),
    _big("registered_ms"),
    _big("last_beat_ms"),
    # The count of `revision` at the row's last change; a removed executor stays a while, so that all nodes see it.
    _big("rev"),
    _int("gone", 0, SmallInteger),
    Index("ix_executor_rev", "rev"),
    **_MYSQL,
)

# What people say about an executor, whether or not it is there at this moment. `draining_ms`: since when, 0 if not.
executor_setting = Table(
    "executor_setting",
    metadata,
    Column("app_id", Integer, primary_key=True, autoincrement=False),
    Column("address", String(255), primary_key=True),
    Column("labels", String(2048), nullable=False, server_default=""),
    _int("weight", 100),
    _big("draining_ms"),
    Column("note", String(255), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    _big("updated_ms"),
    **_MYSQL,
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _int("namespace_id", 1),
    _int("app_id"),
    _int("part", 0, SmallInteger),
    _int("version", 1),
    Column("name", String(128), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("definition", LongText, nullable=False),
    _big("anchor_ms"),
    _big("created_ms"),
    _big("updated_ms"),
    # The name of the calendar that the definition uses: who changes one finds its jobs by it.
    Column("calendar", String(64), nullable=False, server_default=""),
    Index("ix_job_app_id_id", "app_id", "id"),
    Index("ix_job_calendar", "calendar"),
    **_MYSQL,
)

# Days listed by year, which jobs include or exclude.
calendar = Table(
    "calendar",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    _int("version", 1),
    Column("description", String(255), nullable=False, server_default=""),
    Column("days", LongText, nullable=False),
    _big("created_ms"),
    _big("updated_ms"),
    **_MYSQL,
)

# What the planner moves, apart from the wide row so that a fire rewrites few bytes.
job_next_fire = Table(
    "job_next_fire",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    _int("part", 0, SmallInteger),
    _int("version", 1),
    _int("enabled", 1, SmallInteger),
    Column("next_fire_at", BigInteger),
    # Slots planned so far, counted only for a job that has a maximum.
    _int("fired"),
    # The first attempt of the open run of a second_delay chain, whose end sets the next fire. Negative for the parent
    # of a broadcast: its shards name it as well, and must not be taken for it.
    _big("chain_run_id"),
    # What follows the end of a chain's run, 0 for all other jobs; and when the last one ended.
    _big("chain_delay_ms"),
    _big("chain_end_ms"),
    # How often the job's calendar has changed: slots planned by an older one must not be inserted.
    _int("edition"),
    Index("ix_job_next_fire_part_next_fire_at", "part", "next_fire_at"),
    Index("ix_job_next_fire_part_chain_run_id", "part", "chain_run_id"),
    **_MYSQL,
)

job_version = Table(
    "job_version",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", LongText, nullable=False),
    Column("author", String(64), nullable=False, server_default=""),
    _big("created_ms"),
    # The phase of a fixed rate as this version had it.
    _big("anchor_ms"),
    **_MYSQL,
)

# A job that was deleted, until its history is gone as well.
deleted_job = Table(
    "deleted_job",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    _int("namespace_id", 1),
    _int("app_id"),
    _int("part", 0, SmallInteger),
    Column("name", String(128), nullable=False, server_default=""),
    # Its runs stay for as long as those of other jobs.
    _int("keep_history", 0, SmallInteger),
    _big("created_ms"),
    _big("deleted_ms"),
    Column("author", String(64), nullable=False, server_default=""),
    **_MYSQL,
)

# Which job starts which when it ends, as the parents' definitions say it: what cycles and joins are found by.
job_link = Table(
    "job_link",
    metadata,
    Column("parent_id", Integer, primary_key=True, autoincrement=False),
    Column("child_id", Integer, primary_key=True, autoincrement=False),
    Index("ix_job_link_child_id", "child_id"),
    **_MYSQL,
)

# The last end of each parent that counts for a job which waits for all of them. `used`: a start has been made of it.
join_mark = Table(
    "join_mark",
    metadata,
    Column("child_id", Integer, primary_key=True, autoincrement=False),
    Column("parent_id", Integer, primary_key=True, autoincrement=False),
    _big("root_id"),
    _big("marked_ms"),
    _int("used", 0, SmallInteger),
    Index("ix_join_mark_parent_id", "parent_id"),
    **_MYSQL,
)

run = Table(
    "run",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    _int("namespace_id", 1),
    _int("job_id"),
    _int("app_id"),
    _int("part", 0, SmallInteger),
    _big("slot_key"),
    _int("shard"),
    _int("shard_total", 1),
    _int("attempt", 1),
    _big("root_id"),
    _int("trigger_kind", 1, SmallInteger),
    _int("state", 1, SmallInteger),
    _int("outcome", 0, SmallInteger),
    # The part while the run is open, NULL afterwards: what looks for open runs never meets the others.
    Column("open_part", SmallInteger),
    _int("priority", 5),
    _big("due_ms"),
    _big("created_ms"),
    _int("job_version"),
    Column("address", String(255), nullable=False, server_default=""),
    Column("dialect", String(16), nullable=False, server_default=""),
    _big("claim_token"),
    _big("claimed_ms"),
    _big("send_deadline_ms"),
    _big("trigger_ms"),
    _big("sent_ms"),
    _big("answered_ms"),
    _big("finished_ms"),
    _int("result_code"),
    Column("message", LongText),
    Column("reason", LongText),
    Column("params", LongText),
    Column("addresses", LongText),
    _big("last_slot_ms"),
    _int("slot_count", 1),
    # The business time handed to the run, where it is not the slot plus the job's offset.
    _big("data_ms"),
    _big("expires_ms"),
    # The run that caused this one: a parent's, or the one that was run again.
    _big("parent_id"),
    # Whoever waits with a larger rank goes first, before any priority.
    _int("queue_rank"),
    _int("bypass", 0, SmallInteger),
    _big("waiting_ms"),
    Column("shard_name", String(128), nullable=False, server_default=""),
    _big("stop_asked_ms"),
    Column("author", String(64), nullable=False, server_default=""),
    # Whether its end may start the job's children; a run that was run again may leave them out.
    _int("starts_children", 1, SmallInteger),
    # The run that ran this one again.
    _big("rerun_id"),
    UniqueConstraint("job_id", "slot_key", "shard", "attempt", name="uq_run_key"),
    Index("ix_run_job_id_id", "job_id", "id"),
    Index("ix_run_open_part_due_ms", "open_part", "due_ms"),
    **_MYSQL,
)

# How often apps, executors and jobs have changed: what every node compares with what it knows.
revision = Table(
    "revision",
    metadata,
    Column("name", String(32), primary_key=True),
    _big("n"),
    **_MYSQL,
)

# Waiting runs that were inserted by a node that does not own their part, until the owner has taken them up.
request = Table(
    "request",
    metadata,
    Column("run_id", BigId, primary_key=True, autoincrement=False),
    _int("part", 0, SmallInteger),
    Index("ix_request_part_run_id", "part", "run_id"),
    **_MYSQL,
)

# What all nodes of this database share.
setting = Table(
    "setting",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(1024), nullable=False),
    **_MYSQL,
)

# What starts nothing until further notice: all jobs, those of an app, or one.
pause = Table(
    "pause",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("scope_id", Integer, primary_key=True, autoincrement=False),
    Column("reason", String(1000), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    _big("created_ms"),
    # Zero: until somebody ends it.
    _big("until_ms"),
    **_MYSQL,
)

# A past range of a job's slots to be run now, at its own pace.
backfill = Table(
    "backfill",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _int("job_id"),
    _int("part", 0, SmallInteger),
    _int("state", 1, SmallInteger),
    _big("from_ms"),
    _big("to_ms"),
    _int("total"),
    _int("max_parallel", 1),
    # Zero: as fast as the others of its kind end.
    _int("per_minute"),
    _int("newest_first", 0, SmallInteger),
    Column("params", LongText),
    Column("reason", String(1000), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    _big("created_ms"),
    _big("last_start_ms"),
    _big("finished_ms"),
    Index("ix_backfill_state_part", "state", "part"),
    Index("ix_backfill_job_id_id", "job_id", "id"),
    **_MYSQL,
)

# The slots of a backfill, each with the run that was made for it, 0 before.
backfill_slot = Table(
    "backfill_slot",
    metadata,
    Column("backfill_id", Integer, primary_key=True, autoincrement=False),
    Column("slot_ms", BigInteger, primary_key=True, autoincrement=False),
    _big("run_id"),
    **_MYSQL,
)

# Names that clients gave to submissions; one row a name, kept for seven days.
task = Table(
    "task",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("task_id", String(128), primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    _big("created_ms"),
    Index("ix_task_created_ms", "created_ms"),
    Index("ix_task_run_id", "run_id"),
    **_MYSQL,
)

# Names that clients gave to whole calls; kept for seven days. `record` is what the answer is made of.
idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("key_text", String(128), primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    _big("created_ms"),
    Column("request_hash", String(64), nullable=False),
    Column("record", LongText, nullable=False),
    Index("ix_idempotency_key_created_ms", "created_ms"),
    **_MYSQL,
)

# What is left of the limits of submissions: the instant from which on the whole burst may be used again.
submission_quota = Table(
    "submission_quota",
    metadata,
    Column("name", String(64), primary_key=True),
    _big("full_at_us"),
    **_MYSQL,
)

# Addresses that start a job; only the hash of the part that cannot be guessed is kept. `rules` are JSON.
trigger_url = Table(
    "trigger_url",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _int("job_id"),
    Column("kind", String(8), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("rules", String(4096), nullable=False),
    Column("author", String(64), nullable=False, server_default=""),
    _big("created_ms"),
    _big("rotated_ms"),
    Index("ix_trigger_url_job_id", "job_id"),
    **_MYSQL,
)

# Results for runs that were never sent from here: old log ids in executors' retry files.
foreign_result = Table(
    "foreign_result",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    _big("log_id"),
    _big("log_time_ms"),
    _int("code"),
    Column("message", LongText),
    Column("client", String(128), nullable=False, server_default=""),
    Column("why", String(128), nullable=False, server_default=""),
    _big("received_ms"),
    Index("ix_foreign_result_log_id", "log_id"),
    **_MYSQL,
)

# How the runs of a job that ended on a day (UTC) went: of kind 0 those that are there, counted anew when there are more;
# of kind 1 those that were removed, added in the transaction that removes them.
run_daily = Table(
    "run_daily",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    _int("app_id"),
    *(_int(name) for name in DAILY_STATES),
    _int("skipped_slots"),
    _int("sent"),
    _int("late"),
    _big("lateness_ms"),
    _big("lateness_max_ms"),
    _int("timed"),
    _big("duration_ms"),
    _big("duration_max_ms"),
    # The smallest id of a run that was open when this was counted: it ends on a later day.
    _big("open_id"),
    _big("counted_ms"),
    Index("ix_run_daily_job_id_day", "job_id", "day"),
    Index("ix_run_daily_app_id_day", "app_id", "day"),
    **_MYSQL,
)

# What people changed and what the scheduler noticed.
event = Table(
    "event",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    _int("namespace_id", 1),
    _big("at_ms"),
    _int("level", 1, SmallInteger),
    Column("source_type", String(16), nullable=False, server_default=""),
    Column("source_id", String(255), nullable=False, server_default=""),
    Column("source_name", String(128), nullable=False, server_default=""),
    Column("reason", String(64), nullable=False, server_default=""),
    Column("text", String(1000), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    Index("ix_event_at_ms", "at_ms"),
    Index("ix_event_source_type_source_id_at_ms", "source_type", "source_id", "at_ms"),
    **_MYSQL,
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    _big("created_ms"),
    Column("submit_rate", String(32), nullable=False, server_default=""),
    _int("submit_burst"),
    **_MYSQL,
)
