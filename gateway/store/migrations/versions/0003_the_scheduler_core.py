"""The scheduler core: what a run may carry, and what a job counts

Everything is added with a default, so that a node of the version before goes on working meanwhile.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, sqlite

revision = "0003"
down_revision = "0002"
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


def _small(name: str, default: int = 0) -> sa.Column[Any]:
    return sa.Column(name, sa.SmallInteger(), server_default=str(default), nullable=False)


def _big(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), server_default="", nullable=False)


def _of_run() -> tuple[sa.Column[Any], ...]:
    return (
        _big("data_ms"),
        _big("expires_ms"),
        _big("parent_id"),
        _int("queue_rank"),
        _small("bypass"),
        _big("waiting_ms"),
        _text("shard_name", 128),
        _big("stop_asked_ms"),
        _text("author", 64),
        _small("starts_children", 1),
        _big("rerun_id"),
    )


def _of_next_fire() -> tuple[sa.Column[Any], ...]:
    return (
        _int("fired"),
        _big("chain_run_id"),
        _big("chain_delay_ms"),
        _big("chain_end_ms"),
        _int("edition"),
    )


def _create_pauses_and_backfills() -> None:
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.create_index("ix_job_next_fire_part_chain_run_id", "job_next_fire", ["part", "chain_run_id"])
    op.create_table(
        "pause",
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("scope_id", sa.Integer(), autoincrement=False, nullable=False),
        _text("reason", 1000),
        _text("author", 64),
        _big("created_ms"),
        _big("until_ms"),
        sa.PrimaryKeyConstraint("scope", "scope_id", name=op.f("pk_pause")),
        **_OPTIONS,
    )
    op.create_table(
        "backfill",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _int("job_id"),
        _small("part"),
        _small("state", 1),
        _big("from_ms"),
        _big("to_ms"),
        _int("total"),
        _int("max_parallel", 1),
        _int("per_minute"),
        _small("newest_first"),
        sa.Column("params", long_text),
        _text("reason", 1000),
        _text("author", 64),
        _big("created_ms"),
        _big("last_start_ms"),
        _big("finished_ms"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill")),
        **_OPTIONS,
    )
    op.create_index("ix_backfill_state_part", "backfill", ["state", "part"])
    op.create_index("ix_backfill_job_id_id", "backfill", ["job_id", "id"])
    op.create_table(
        "backfill_slot",
        sa.Column("backfill_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("slot_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        _big("run_id"),
        sa.PrimaryKeyConstraint("backfill_id", "slot_ms", name=op.f("pk_backfill_slot")),
        **_OPTIONS,
    )


def _drop_pauses_and_backfills() -> None:
    op.drop_table("backfill_slot")
    op.drop_index("ix_backfill_job_id_id", table_name="backfill")
    op.drop_index("ix_backfill_state_part", table_name="backfill")
    op.drop_table("backfill")
    op.drop_table("pause")
    op.drop_index("ix_job_next_fire_part_chain_run_id", table_name="job_next_fire")


def _create_calendars() -> None:
    op.create_table(
        "calendar",
        sa.Column("namespace_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        _int("version", 1),
        _text("description", 255),
        sa.Column("days", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        _big("created_ms"),
        _big("updated_ms"),
        sa.PrimaryKeyConstraint("namespace_id", "name", name=op.f("pk_calendar")),
        **_OPTIONS,
    )
    op.add_column("job", _text("calendar", 64))
    op.create_index("ix_job_calendar", "job", ["calendar"])


def _drop_calendars() -> None:
    op.drop_index("ix_job_calendar", table_name="job")
    op.drop_column("job", "calendar")
    op.drop_table("calendar")


def _create_links() -> None:
    """What follows when a job has ended."""
    op.create_table(
        "job_link",
        sa.Column("parent_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("parent_id", "child_id", name=op.f("pk_job_link")),
        **_OPTIONS,
    )
    op.create_index("ix_job_link_child_id", "job_link", ["child_id"])
    op.create_table(
        "join_mark",
        sa.Column("child_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent_id", sa.Integer(), autoincrement=False, nullable=False),
        _big("root_id"),
        _big("marked_ms"),
        _small("used"),
        sa.PrimaryKeyConstraint("child_id", "parent_id", name=op.f("pk_join_mark")),
        **_OPTIONS,
    )
    op.create_index("ix_join_mark_parent_id", "join_mark", ["parent_id"])


def _drop_links() -> None:
    op.drop_index("ix_join_mark_parent_id", table_name="join_mark")
    op.drop_table("join_mark")
    op.drop_table("job_link")


def _of_submitters() -> tuple[sa.Column[Any], ...]:
    """Of `api_token` and `namespace` alike."""
    return (_text("submit_rate", 32), _int("submit_burst"))


def _create_submissions() -> None:
    op.create_index("ix_task_run_id", "task", ["run_id"], unique=False)
    for table in ("api_token", "namespace"):
        for column in _of_submitters():
            op.add_column(table, column)
    op.create_table(
        "idempotency_key",
        sa.Column("namespace_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_text", sa.String(length=128), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        _big("created_ms"),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("record", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "key_text", name=op.f("pk_idempotency_key")),
        **_OPTIONS,
    )
    op.create_index("ix_idempotency_key_created_ms", "idempotency_key", ["created_ms"], unique=False)
    op.create_table(
        "submission_quota",
        sa.Column("name", sa.String(length=64), nullable=False),
        _big("full_at_us"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_submission_quota")),
        **_OPTIONS,
    )
    op.create_table(
        "trigger_url",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _int("job_id"),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.String(length=4096), nullable=False),
        _text("author", 64),
        _big("created_ms"),
        _big("rotated_ms"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trigger_url")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_trigger_url_secret_hash")),
        **_OPTIONS,
    )
    op.create_index("ix_trigger_url_job_id", "trigger_url", ["job_id"], unique=False)


def _drop_submissions() -> None:
    op.drop_table("trigger_url")
    op.drop_table("submission_quota")
    op.drop_table("idempotency_key")
    for table in ("namespace", "api_token"):
        for column in reversed(_of_submitters()):
            op.drop_column(table, column.name)
    op.drop_index("ix_task_run_id", table_name="task")


def _id(name: str, type_: Any = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, type_(), autoincrement=False, nullable=False)


_DAILY_STATES = (
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


def _records_up() -> None:
    """Versions, deleted jobs, daily counts, events."""
    op.add_column("job_version", _big("anchor_ms"))
    op.create_table(
        "deleted_job",
        _id("job_id"),
        _int("namespace_id", 1),
        _int("app_id"),
        _small("part"),
        _text("name", 128),
        _small("keep_history"),
        _big("created_ms"),
        _big("deleted_ms"),
        _text("author", 64),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_deleted_job")),
        **_OPTIONS,
    )
    op.create_table(
        "run_daily",
        _id("day"),
        _id("job_id"),
        _id("kind", sa.SmallInteger),
        _int("app_id"),
        *map(_int, _DAILY_STATES),
        *map(_int, ("skipped_slots", "sent", "late")),
        *map(_big, ("lateness_ms", "lateness_max_ms")),
        _int("timed"),
        *map(_big, ("duration_ms", "duration_max_ms", "open_id", "counted_ms")),
        sa.PrimaryKeyConstraint("day", "job_id", "kind", name=op.f("pk_run_daily")),
        **_OPTIONS,
    )
    op.create_index("ix_run_daily_job_id_day", "run_daily", ["job_id", "day"])
    op.create_index("ix_run_daily_app_id_day", "run_daily", ["app_id", "day"])
    op.create_table(
        "event",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        _int("namespace_id", 1),
        _big("at_ms"),
        _small("level", 1),
        _text("source_type", 16),
        _text("source_id", 255),
        _text("source_name", 128),
        _text("reason", 64),
        _text("text", 1000),
        _text("author", 64),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        **_OPTIONS,
    )
    op.create_index("ix_event_at_ms", "event", ["at_ms"])
    op.create_index("ix_event_source_type_source_id_at_ms", "event", ["source_type", "source_id", "at_ms"])


def _records_down() -> None:
    for table in ("event", "run_daily", "deleted_job"):
        op.drop_table(table)
    op.drop_column("job_version", "anchor_ms")


def _create_executor_settings() -> None:
    op.create_table(
        "executor_setting",
        _id("app_id"),
        sa.Column("address", sa.String(length=255), nullable=False),
        _text("labels", 2048),
        _int("weight", 100),
        _big("draining_ms"),
        _text("note", 255),
        _text("author", 64),
        _big("updated_ms"),
        sa.PrimaryKeyConstraint("app_id", "address", name=op.f("pk_executor_setting")),
        **_OPTIONS,
    )


def upgrade() -> None:
    for column in _of_run():
        op.add_column("run", column)
    for column in _of_next_fire():
        op.add_column("job_next_fire", column)
    _create_pauses_and_backfills()
    _create_calendars()
    _create_links()
    _create_submissions()
    _records_up()
    _create_executor_settings()
    settings = sa.table("setting", sa.column("name"), sa.column("value"))
    op.execute(settings.update().where(settings.c.name == "oldest_schema").values(value=f"{revision}:0001"))


def downgrade() -> None:
    op.drop_table("executor_setting")
    _drop_submissions()
    _drop_calendars()
    _drop_pauses_and_backfills()
    _drop_links()
    _records_down()
    for column in reversed(_of_next_fire()):
        op.drop_column("job_next_fire", column.name)
    for column in reversed(_of_run()):
        op.drop_column("run", column.name)
