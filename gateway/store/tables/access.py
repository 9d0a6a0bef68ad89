"""Who may call, and how often."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from gateway.store.tables.base import MYSQL, big_column, int_column, metadata

namespace = Table(
    "namespace",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False, unique=True),
    # The limit of submissions: so many a second as text, empty for none, and how many at once.
    Column("submit_rate", String(32), nullable=False, server_default=""),
    int_column("submit_burst"),
    **MYSQL,
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    big_column("created_ms"),
    Column("submit_rate", String(32), nullable=False, server_default=""),
    int_column("submit_burst"),
    **MYSQL,
)

# What is left of the limits of submissions: the instant from which on the whole burst may be used again.
submission_quota = Table(
    "submission_quota",
    metadata,
    Column("name", String(64), primary_key=True),
    big_column("full_at_us"),
    **MYSQL,
)

# Tokens of executors, in clear since they are sent to them. App 0: of the whole namespace. An empty text stands for what
# would count without them, which goes on being valid beside the first.
access_token = Table(
    "access_token",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    int_column("namespace_id", 1),
    int_column("app_id"),
    Column("text", String(255), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("created_ms"),
    # Zero: until it is removed.
    big_column("ends_ms"),
    Index("ix_access_token_namespace_id_app_id", "namespace_id", "app_id"),
    **MYSQL,
)
