"""Jobs, what bounds them, and how they hang together."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, SmallInteger, String, Table

from gateway.core.model import MOST_NAME
from gateway.store.tables.base import MYSQL, LongText, big_column, int_column, metadata

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    int_column("namespace_id", 1),
    int_column("app_id"),
    int_column("part", 0, SmallInteger),
    int_column("version", 1),
    Column("name", String(MOST_NAME), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("definition", LongText, nullable=False),
    big_column("anchor_ms"),
    big_column("created_ms"),
    big_column("updated_ms"),
    # The name of the calendar that the definition uses: who changes one finds its jobs by it.
    Column("calendar", String(64), nullable=False, server_default=""),
    Index("ix_job_app_id_id", "app_id", "id"),
    Index("ix_job_calendar", "calendar"),
    **MYSQL,
)

# What the planner moves, apart from the wide row so that a fire rewrites few bytes.
job_next_fire = Table(
    "job_next_fire",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    int_column("part", 0, SmallInteger),
    int_column("version", 1),
    int_column("enabled", 1, SmallInteger),
    Column("next_fire_at", BigInteger),
    # Slots planned so far, counted only for a job that has a maximum.
    int_column("fired"),
    # The first attempt of the open run of a second_delay chain, whose end sets the next fire. Negative for the parent
    # of a broadcast: its shards name it as well, and must not be taken for it.
    big_column("chain_run_id"),
    # What follows the end of a chain's run, 0 for all other jobs; and when the last one ended.
    big_column("chain_delay_ms"),
    big_column("chain_end_ms"),
    # How often the job's calendar has changed: slots planned by an older one must not be inserted.
    int_column("edition"),
    Index("ix_job_next_fire_part_next_fire_at", "part", "next_fire_at"),
    Index("ix_job_next_fire_part_chain_run_id", "part", "chain_run_id"),
    **MYSQL,
)

job_version = Table(
    "job_version",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", LongText, nullable=False),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("created_ms"),
    # The phase of a fixed rate as this version had it.
    big_column("anchor_ms"),
    # The run of a second_delay that was open, as far as was known, when this version was made.
    big_column("chain_run_id"),
    **MYSQL,
)

# A job that was deleted, until its history is gone as well.
deleted_job = Table(
    "deleted_job",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    int_column("namespace_id", 1),
    int_column("app_id"),
    int_column("part", 0, SmallInteger),
    Column("name", String(MOST_NAME), nullable=False, server_default=""),
    # Its runs stay for as long as those of other jobs.
    int_column("keep_history", 0, SmallInteger),
    big_column("created_ms"),
    big_column("deleted_ms"),
    Column("author", String(64), nullable=False, server_default=""),
    # As in `job_version`.
    big_column("chain_run_id"),
    **MYSQL,
)

# Days listed by year, which jobs include or exclude.
calendar = Table(
    "calendar",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    int_column("version", 1),
    Column("description", String(255), nullable=False, server_default=""),
    Column("days", LongText, nullable=False),
    big_column("created_ms"),
    big_column("updated_ms"),
    **MYSQL,
)

# The calendars of jobs that use several, but for the first, which the job's own row names.
job_calendar = Table(
    "job_calendar",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Index("ix_job_calendar_name", "name"),
    **MYSQL,
)

# Days that a calendar had before: from one instant, outside, up to another.
calendar_edition = Table(
    "calendar_edition",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("until_ms", BigInteger, primary_key=True, autoincrement=False),
    big_column("from_ms"),
    Column("days", LongText, nullable=False),
    **MYSQL,
)

# Which job starts which when it ends, as the parents' definitions say it: what cycles and joins are found by.
job_link = Table(
    "job_link",
    metadata,
    Column("parent_id", Integer, primary_key=True, autoincrement=False),
    Column("child_id", Integer, primary_key=True, autoincrement=False),
    Index("ix_job_link_child_id", "child_id"),
    **MYSQL,
)

# The last end of each parent that counts for a job which waits for all of them. `used`: a start has been made of it.
join_mark = Table(
    "join_mark",
    metadata,
    Column("child_id", Integer, primary_key=True, autoincrement=False),
    Column("parent_id", Integer, primary_key=True, autoincrement=False),
    big_column("root_id"),
    big_column("marked_ms"),
    int_column("used", 0, SmallInteger),
    Index("ix_join_mark_parent_id", "parent_id"),
    **MYSQL,
)

# What starts nothing until further notice: all jobs, those of an app, or one.
pause = Table(
    "pause",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("scope_id", Integer, primary_key=True, autoincrement=False),
    Column("reason", String(1000), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("created_ms"),
    # Zero: until somebody ends it.
    big_column("until_ms"),
    **MYSQL,
)

# Addresses that start a job; only the hash of the part that cannot be guessed is kept. `rules` are JSON.
trigger_url = Table(
    "trigger_url",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    int_column("job_id"),
    Column("kind", String(8), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("rules", String(4096), nullable=False),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("created_ms"),
    big_column("rotated_ms"),
    Index("ix_trigger_url_job_id", "job_id"),
    **MYSQL,
)
