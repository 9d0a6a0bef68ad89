"""Runs, and what leads to one: requests, names of submissions, backfills.

Every hot column of `run` has a default, so that a statement names only what it sets.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, Table, UniqueConstraint

from gateway.store.tables.base import MYSQL, BigId, LongText, big_column, int_column, metadata

run = Table(
    "run",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    int_column("namespace_id", 1),
    int_column("job_id"),
    int_column("app_id"),
    int_column("part", 0, SmallInteger),
    big_column("slot_key"),
    int_column("shard"),
    int_column("shard_total", 1),
    int_column("attempt", 1),
    big_column("root_id"),
    int_column("trigger_kind", 1, SmallInteger),
    int_column("state", 1, SmallInteger),
    int_column("outcome", 0, SmallInteger),
    # The part while the run is open, NULL afterwards: what looks for open runs never meets the others.
    Column("open_part", SmallInteger),
    int_column("priority", 5),
    big_column("due_ms"),
    big_column("created_ms"),
    int_column("job_version"),
    Column("address", String(255), nullable=False, server_default=""),
    Column("dialect", String(16), nullable=False, server_default=""),
    big_column("claim_token"),
    big_column("claimed_ms"),
    big_column("send_deadline_ms"),
    big_column("trigger_ms"),
    big_column("sent_ms"),
    big_column("answered_ms"),
    big_column("finished_ms"),
    int_column("result_code"),
    Column("message", LongText),
    Column("reason", LongText),
    Column("params", LongText),
    Column("addresses", LongText),
    big_column("last_slot_ms"),
    int_column("slot_count", 1),
    # The business time handed to the run, where it is not the slot plus the job's offset.
    big_column("data_ms"),
    big_column("expires_ms"),
    # The run that caused this one: a parent's, or the one that was run again.
    big_column("parent_id"),
    # Whoever waits with a larger rank goes first, before any priority.
    int_column("queue_rank"),
    int_column("bypass", 0, SmallInteger),
    big_column("waiting_ms"),
    Column("shard_name", String(128), nullable=False, server_default=""),
    big_column("stop_asked_ms"),
    Column("author", String(64), nullable=False, server_default=""),
    # Whether its end may start the job's children; a run that was run again may leave them out.
    int_column("starts_children", 1, SmallInteger),
    # The run that ran this one again.
    big_column("rerun_id"),
    # Attempts before this one that were none of its job's policy; what follows the end of this one (`core.sequel`).
    int_column("uncounted"),
    int_column("sequel", 0, SmallInteger),
    UniqueConstraint("job_id", "slot_key", "shard", "attempt", name="uq_run_key"),
    Index("ix_run_job_id_id", "job_id", "id"),
    Index("ix_run_open_part_due_ms", "open_part", "due_ms"),
    **MYSQL,
)

# Waiting runs that were inserted by a node that does not own their part, until the owner has taken them up.
request = Table(
    "request",
    metadata,
    Column("run_id", BigId, primary_key=True, autoincrement=False),
    int_column("part", 0, SmallInteger),
    Index("ix_request_part_run_id", "part", "run_id"),
    **MYSQL,
)

# Names that clients gave to submissions; one row a name, kept for seven days.
task = Table(
    "task",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("task_id", String(128), primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    big_column("created_ms"),
    Index("ix_task_created_ms", "created_ms"),
    Index("ix_task_run_id", "run_id"),
    **MYSQL,
)

# Names that clients gave to whole calls; kept for seven days. `record` is what the answer is made of.
idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("namespace_id", Integer, primary_key=True, autoincrement=False),
    Column("key_text", String(128), primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    big_column("created_ms"),
    Column("request_hash", String(64), nullable=False),
    Column("record", LongText, nullable=False),
    Index("ix_idempotency_key_created_ms", "created_ms"),
    **MYSQL,
)

# A past range of a job's slots to be run now, at its own pace.
backfill = Table(
    "backfill",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    int_column("job_id"),
    int_column("part", 0, SmallInteger),
    int_column("state", 1, SmallInteger),
    big_column("from_ms"),
    big_column("to_ms"),
    int_column("total"),
    int_column("max_parallel", 1),
    # Zero: as fast as the others of its kind end.
    int_column("per_minute"),
    int_column("newest_first", 0, SmallInteger),
    Column("params", LongText),
    Column("reason", String(1000), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("created_ms"),
    big_column("last_start_ms"),
    big_column("finished_ms"),
    Index("ix_backfill_state_part", "state", "part"),
    Index("ix_backfill_job_id_id", "job_id", "id"),
    **MYSQL,
)

# The slots of a backfill, each with the run that was made for it, 0 before.
backfill_slot = Table(
    "backfill_slot",
    metadata,
    Column("backfill_id", Integer, primary_key=True, autoincrement=False),
    Column("slot_ms", BigInteger, primary_key=True, autoincrement=False),
    big_column("run_id"),
    **MYSQL,
)
