"""Clients of every age and scripts: users and sessions, tokens of apps, executors that are set by hand

Everything is added with a default, so that a node of the version before goes on working meanwhile.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
}


def _int(name: str, default: int = 0) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), server_default=str(default), nullable=False)


def _big(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), server_default="", nullable=False)


def _create_access_tokens() -> None:
    op.create_table(
        "access_token",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _int("namespace_id", 1),
        _int("app_id"),
        _text("text", 255),
        _text("author", 64),
        _big("created_ms"),
        _big("ends_ms"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
        **_OPTIONS,
    )
    op.create_index("ix_access_token_namespace_id_app_id", "access_token", ["namespace_id", "app_id"])
    op.add_column("executor", _text("token_mark", 8))


def _drop_access_tokens() -> None:
    op.drop_column("executor", "token_mark")
    op.drop_index("ix_access_token_namespace_id_app_id", table_name="access_token")
    op.drop_table("access_token")


def _create_users() -> None:
    op.create_table(
        "user_account",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("cookie_hash", sa.String(length=255), server_default="", nullable=False),
        sa.Column("role", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("app_ids", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")),
        _big("created_ms"),
        _big("updated_ms"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("username", name=op.f("uq_user_account_username")),
        **_OPTIONS,
    )
    op.create_table(
        "user_session",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), server_default="0", nullable=False),
        sa.Column("style", sa.String(length=8), server_default="", nullable=False),
        _big("created_ms"),
        _big("used_ms"),
        _big("expires_ms"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_user_session")),
        **_OPTIONS,
    )
    op.create_index("ix_user_session_user_id_used_ms", "user_session", ["user_id", "used_ms"])
    op.create_index("ix_user_session_expires_ms", "user_session", ["expires_ms"])


def _drop_users() -> None:
    op.drop_table("user_session")
    op.drop_table("user_account")


def _add_old_executors() -> None:
    op.add_column("app", _text("dialect", 16))
    op.add_column("app", _text("tokenless_from", 3000))


def _drop_old_executors() -> None:
    op.drop_column("app", "tokenless_from")
    op.drop_column("app", "dialect")


def _set_job_names(length: int, before: int) -> None:
    """As long as XXL-JOB's descriptions, which scripts and an importer bring along."""
    for table, default in (("job", None), ("deleted_job", "")):
        if length < before:
            rows = sa.table(table, sa.column("name"))
            short = sa.func.substr(rows.c.name, 1, length)
            op.execute(rows.update().where(rows.c.name != short).values(name=short))
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                "name",
                type_=sa.String(length=length),
                existing_type=sa.String(length=before),
                existing_nullable=False,
                existing_server_default=default,
            )


def _say_oldest(value: str) -> None:
    settings = sa.table("setting", sa.column("name"), sa.column("value"))
    op.execute(settings.update().where(settings.c.name == "oldest_schema").values(value=value))


def _add_calendars() -> None:
    """Several calendars for a job, and the days that a calendar had before."""
    op.create_table(
        "job_calendar",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_job_calendar"),
        **_OPTIONS,
    )
    op.create_index("ix_job_calendar_name", "job_calendar", ["name"])
    op.create_table(
        "calendar_edition",
        sa.Column("namespace_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("from_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("days", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "name", "until_ms", name="pk_calendar_edition"),
        **_OPTIONS,
    )


def _add_attempts_beside_the_policy() -> None:
    op.add_column("run", sa.Column("uncounted", sa.Integer(), server_default="0", nullable=False))
    op.add_column("run", sa.Column("sequel", sa.SmallInteger(), server_default="0", nullable=False))


def _drop_attempts_beside_the_policy() -> None:
    op.drop_column("run", "sequel")
    op.drop_column("run", "uncounted")


def upgrade() -> None:
    _set_job_names(255, 128)
    _add_calendars()
    _create_access_tokens()
    _create_users()
    _add_attempts_beside_the_policy()
    _add_old_executors()
    _say_oldest(f"{revision}:0001")


def downgrade() -> None:
    _drop_old_executors()
    _drop_users()
    _drop_access_tokens()
    _drop_attempts_beside_the_policy()
    op.drop_table("calendar_edition")
    op.drop_table("job_calendar")
    _set_job_names(128, 255)
    _say_oldest(f"{down_revision}:0001")
