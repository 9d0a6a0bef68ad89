"""Imports: where jobs came from, other ids of apps, passwords that were hashed by somebody else; runs open at a change

Everything is added with a default, so that a node of the version before goes on working meanwhile.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
}


def _int(name: str, default: int = 0, type_: type[sa.Integer] = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, type_(), server_default=str(default), nullable=False)


def _big(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), server_default="", nullable=False)


def _say_oldest(value: str) -> None:
    settings = sa.table("setting", sa.column("name"), sa.column("value"))
    op.execute(settings.update().where(settings.c.name == "oldest_schema").values(value=value))


def upgrade() -> None:
    op.create_table(
        "import_source",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        _text("release", 32),
        _text("timezone", 64),
        _text("author", 64),
        _big("created_ms"),
        _big("imported_ms"),
        _big("cutover_ms"),
        _big("log_first"),
        _big("log_mark"),
        _big("log_last"),
        _big("log_from_ms"),
        _int("log_done", 0, sa.SmallInteger),
        _int("days_done", 0, sa.SmallInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_source")),
        sa.UniqueConstraint("name", name=op.f("uq_import_source_name")),
        **_OPTIONS,
    )
    op.create_table(
        "import_item",
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("old_key", sa.String(length=255), nullable=False),
        _int("new_id"),
        _int("version"),
        _text("digest", 64),
        _int("wants_enabled", 0, sa.SmallInteger),
        _int("live", 0, sa.SmallInteger),
        sa.PrimaryKeyConstraint("source_id", "kind", "old_key", name=op.f("pk_import_item")),
        **_OPTIONS,
    )
    op.create_index("ix_import_item_kind_new_id", "import_item", ["kind", "new_id"])
    op.create_table(
        "app_alias",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        _int("app_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_alias")),
        **_OPTIONS,
    )
    op.create_index("ix_app_alias_app_id", "app_alias", ["app_id"])
    op.add_column("user_account", _text("password_scheme", 8))
    for table in ("job_version", "deleted_job"):
        op.add_column(table, _big("chain_run_id"))
    _say_oldest(f"{revision}:0001")


def downgrade() -> None:
    for table in ("job_version", "deleted_job"):
        op.drop_column(table, "chain_run_id")
    op.drop_column("user_account", "password_scheme")
    op.drop_index("ix_app_alias_app_id", table_name="app_alias")
    op.drop_table("app_alias")
    op.drop_index("ix_import_item_kind_new_id", table_name="import_item")
    op.drop_table("import_item")
    op.drop_table("import_source")
    _say_oldest(f"{down_revision}:0001")
