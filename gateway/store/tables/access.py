"""Who may call, and how often."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, SmallInteger, String, Table

from gateway.store.tables.base import MYSQL, LongText, big_column, int_column, metadata

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

# Who may use the admin web endpoints. `cookie_hash` is of the password's MD5, empty unless an old cookie will do.
# `password_scheme`: how a password was hashed before that hash was hashed again; empty once its user has logged in.
user_account = Table(
    "user_account",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("username", String(64), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("cookie_hash", String(255), nullable=False, server_default=""),
    int_column("role", 0, SmallInteger),
    # The ids of apps, for a normal user.
    Column("app_ids", LongText),
    big_column("created_ms"),
    big_column("updated_ms"),
    Column("password_scheme", String(8), nullable=False, server_default=""),
    **MYSQL,
)

user_session = Table(
    "user_session",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    int_column("user_id"),
    Column("style", String(8), nullable=False, server_default=""),
    big_column("created_ms"),
    big_column("used_ms"),
    big_column("expires_ms"),
    Index("ix_user_session_user_id_used_ms", "user_id", "used_ms"),
    Index("ix_user_session_expires_ms", "expires_ms"),
    **MYSQL,
)
