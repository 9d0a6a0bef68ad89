"""Apps and their executors."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, SmallInteger, String, Table, UniqueConstraint

from gateway.store.tables.base import MYSQL, LongText, big_column, int_column, metadata

app = Table(
    "app",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    int_column("namespace_id", 1),
    Column("appname", String(64), nullable=False),
    Column("title", String(128), nullable=False, server_default=""),
    Column("address_mode", String(8), nullable=False, server_default="auto"),
    Column("addresses", LongText),
    Column("max_running", Integer),
    Column("starts_per_second", String(32)),
    # `run_int` for executors that keep log ids in 32 bits.
    Column("id_sequence", String(32), nullable=False, server_default="run"),
    big_column("created_ms"),
    big_column("updated_ms"),
    # The generation of executors that do not register, and networks from which calls without a token are let in.
    Column("dialect", String(16), nullable=False, server_default=""),
    Column("tokenless_from", String(3000), nullable=False, server_default=""),
    UniqueConstraint("namespace_id", "appname"),
    **MYSQL,
)

executor = Table(
    "executor",
    metadata,
    Column("app_id", Integer, primary_key=True, autoincrement=False),
    Column("address", String(255), primary_key=True),
    Column("dialect", String(16), nullable=False),
    Column("client", String(128), nullable=False, server_default=""),
    big_column("registered_ms"),
    big_column("last_beat_ms"),
    # The count of `revision` at the row's last change; a removed executor stays a while, so that all nodes see it.
    big_column("rev"),
    int_column("gone", 0, SmallInteger),
    # Which of the valid access tokens it came with, as a mark of a few bits.
    Column("token_mark", String(8), nullable=False, server_default=""),
    Index("ix_executor_rev", "rev"),
    **MYSQL,
)

# What people say about an executor, whether or not it is there at this moment. `draining_ms`: since when, 0 if not.
executor_setting = Table(
    "executor_setting",
    metadata,
    Column("app_id", Integer, primary_key=True, autoincrement=False),
    Column("address", String(255), primary_key=True),
    Column("labels", String(2048), nullable=False, server_default=""),
    int_column("weight", 100),
    big_column("draining_ms"),
    Column("note", String(255), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("updated_ms"),
    **MYSQL,
)
