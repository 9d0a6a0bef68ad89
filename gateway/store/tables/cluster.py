"""Nodes and what they share: parts, revisions, settings, sequences of ids."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, SmallInteger, String, Table

from gateway.store.tables.base import MYSQL, big_column, int_column, metadata

id_sequence = Table(
    "id_sequence",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("next_id", BigInteger, nullable=False),
    **MYSQL,
)

node = Table(
    "node",
    metadata,
    Column("name", String(64), primary_key=True),
    big_column("epoch"),
    big_column("beat"),
    Column("control_address", String(255), nullable=False, server_default=""),
    big_column("started_ms"),
    big_column("seen_ms"),
    # The data directory behind the name: a second node that was given the same name has another.
    Column("instance", String(32), nullable=False, server_default=""),
    Column("version", String(32), nullable=False, server_default=""),
    int_column("live", 1, SmallInteger),
    int_column("draining", 0, SmallInteger),
    int_column("fit", 1, SmallInteger),
    big_column("clock_offset_ms"),
    # The settings that all nodes must agree on, as JSON.
    Column("agreed", String(1024), nullable=False, server_default=""),
    **MYSQL,
)

part = Table(
    "part",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("node", String(64), nullable=False, server_default=""),
    big_column("epoch"),
    **MYSQL,
)

# How often apps, executors and jobs have changed: what every node compares with what it knows.
revision = Table(
    "revision",
    metadata,
    Column("name", String(32), primary_key=True),
    big_column("n"),
    **MYSQL,
)

# What all nodes of this database share.
setting = Table(
    "setting",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(1024), nullable=False),
    **MYSQL,
)
