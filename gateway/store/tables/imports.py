"""What imports from xxl-job databases have made."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, SmallInteger, String, Table

from gateway.store.tables.base import MYSQL, big_column, int_column, metadata

UNDONE_IN_PART = -1
"""As `log_done`: the import is being undone, and part of its runs are gone."""

# A database that was imported. The log follows in batches: rows from `log_first` to `log_mark` are done, and will be up to
# `log_last` and back to those of `log_from_ms`.
import_source = Table(
    "import_source",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(191), nullable=False, unique=True),
    Column("release", String(32), nullable=False, server_default=""),
    Column("timezone", String(64), nullable=False, server_default=""),
    Column("author", String(64), nullable=False, server_default=""),
    big_column("created_ms"),
    big_column("imported_ms"),
    # Zero until `cutover` has given its jobs to this scheduler.
    big_column("cutover_ms"),
    big_column("log_first"),
    big_column("log_mark"),
    big_column("log_last"),
    big_column("log_from_ms"),
    int_column("log_done", 0, SmallInteger),
    int_column("days_done", 0, SmallInteger),
    **MYSQL,
)

# What became of each app (`app`), job (`job`) and user (`user`) of a source. `version`: the one that was written, so
# that later changes are seen; `digest`: of the source's row; `live`: whether `cutover` was there. One more (`log`) is the
# newest row of its log that has come: `old_key` its id, `digest` its time there, `version` how often ids have begun again.
import_item = Table(
    "import_item",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(8), primary_key=True),
    Column("old_key", String(255), primary_key=True),
    int_column("new_id"),
    int_column("version"),
    Column("digest", String(64), nullable=False, server_default=""),
    int_column("wants_enabled", 0, SmallInteger),
    int_column("live", 0, SmallInteger),
    Index("ix_import_item_kind_new_id", "kind", "new_id"),
    **MYSQL,
)

# Other ids under which scripts know an app: XXL-JOB let several groups have one appname.
app_alias = Table(
    "app_alias",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    int_column("app_id"),
    Index("ix_app_alias_app_id", "app_id"),
    **MYSQL,
)
