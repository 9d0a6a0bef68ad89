"""The first schema"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("name", name=op.f("uq_api_token_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "app",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("namespace_id", sa.Integer(), server_default="1", nullable=False),
        sa.Column("appname", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=128), server_default="", nullable=False),
        sa.Column("address_mode", sa.String(length=8), server_default="auto", nullable=False),
        sa.Column(
            "addresses",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("starts_per_second", sa.String(length=32), nullable=True),
        sa.Column("id_sequence", sa.String(length=32), server_default="run", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app")),
        sa.UniqueConstraint("namespace_id", "appname", name=op.f("uq_app_namespace_id_appname")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "executor",
        sa.Column("app_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("dialect", sa.String(length=16), nullable=False),
        sa.Column("client", sa.String(length=128), server_default="", nullable=False),
        sa.Column("registered_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_beat_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("app_id", "address", name=op.f("pk_executor")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "foreign_result",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("log_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("log_time_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("code", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "message",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column("client", sa.String(length=128), server_default="", nullable=False),
        sa.Column("why", sa.String(length=128), server_default="", nullable=False),
        sa.Column("received_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_foreign_result")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_index("ix_foreign_result_log_id", "foreign_result", ["log_id"], unique=False)
    op.create_table(
        "id_sequence",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_id_sequence")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("namespace_id", sa.Integer(), server_default="1", nullable=False),
        sa.Column("app_id", sa.Integer(), server_default="0", nullable=False),
        sa.Column("part", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column(
            "definition",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("anchor_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_index("ix_job_app_id_id", "job", ["app_id", "id"], unique=False)
    op.create_table(
        "job_next_fire",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("enabled", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("next_fire_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_next_fire")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_index(
        "ix_job_next_fire_part_next_fire_at", "job_next_fire", ["part", "next_fire_at"], unique=False
    )
    op.create_table(
        "job_version",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "definition",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("author", sa.String(length=64), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("job_id", "version", name=op.f("pk_job_version")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "namespace",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_namespace")),
        sa.UniqueConstraint("name", name=op.f("uq_namespace_name")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "node",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("beat", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("control_address", sa.String(length=255), server_default="", nullable=False),
        sa.Column("started_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "part",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=64), server_default="", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_part")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_table(
        "run",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("namespace_id", sa.Integer(), server_default="1", nullable=False),
        sa.Column("job_id", sa.Integer(), server_default="0", nullable=False),
        sa.Column("app_id", sa.Integer(), server_default="0", nullable=False),
        sa.Column("part", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("slot_key", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("shard", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shard_total", sa.Integer(), server_default="1", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("root_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("trigger_kind", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("outcome", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("open_part", sa.SmallInteger(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="5", nullable=False),
        sa.Column("due_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("job_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("address", sa.String(length=255), server_default="", nullable=False),
        sa.Column("dialect", sa.String(length=16), server_default="", nullable=False),
        sa.Column("claim_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("claimed_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("send_deadline_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("trigger_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("result_code", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "message",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "reason",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "params",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "addresses",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column("last_slot_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("slot_count", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("job_id", "slot_key", "shard", "attempt", name="uq_run_key"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_index("ix_run_job_id_id", "run", ["job_id", "id"], unique=False)
    op.create_index("ix_run_open_part_due_ms", "run", ["open_part", "due_ms"], unique=False)
    op.create_table(
        "task",
        sa.Column("namespace_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("namespace_id", "task_id", name=op.f("pk_task")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mysql_row_format="DYNAMIC",
    )
    op.create_index("ix_task_created_ms", "task", ["created_ms"], unique=False)
    op.bulk_insert(sa.table("namespace", sa.column("id"), sa.column("name")), [{"id": 1, "name": "default"}])
    op.bulk_insert(sa.table("part", sa.column("id")), [{"id": number} for number in range(128)])


def downgrade() -> None:
    op.drop_index("ix_task_created_ms", table_name="task")
    op.drop_table("task")
    op.drop_index("ix_run_open_part_due_ms", table_name="run")
    op.drop_index("ix_run_job_id_id", table_name="run")
    op.drop_table("run")
    op.drop_table("part")
    op.drop_table("node")
    op.drop_table("namespace")
    op.drop_table("job_version")
    op.drop_index("ix_job_next_fire_part_next_fire_at", table_name="job_next_fire")
    op.drop_table("job_next_fire")
    op.drop_index("ix_job_app_id_id", table_name="job")
    op.drop_table("job")
    op.drop_table("id_sequence")
    op.drop_index("ix_foreign_result_log_id", table_name="foreign_result")
    op.drop_table("foreign_result")
    op.drop_table("executor")
    op.drop_table("app")
    op.drop_table("api_token")
