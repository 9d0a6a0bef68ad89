"""Several nodes: who is live, what has changed, what waits for an owner

Everything is added with a default, so that a node of the version before goes on working meanwhile.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
}


def _of_node() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("instance", sa.String(length=32), server_default="", nullable=False),
        sa.Column("version", sa.String(length=32), server_default="", nullable=False),
        sa.Column("live", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("draining", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("fit", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("clock_offset_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("agreed", sa.String(length=1024), server_default="", nullable=False),
    )


def _of_executor() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("rev", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gone", sa.SmallInteger(), server_default="0", nullable=False),
    )


def upgrade() -> None:
    for column in _of_node():
        op.add_column("node", column)
    for column in _of_executor():
        op.add_column("executor", column)
    op.create_index("ix_executor_rev", "executor", ["rev"], unique=False)
    op.create_table(
        "revision",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("n", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revision")),
        **_OPTIONS,
    )
    op.create_table(
        "request",
        sa.Column(
            "run_id",
            sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("part", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_request")),
        **_OPTIONS,
    )
    op.create_index("ix_request_part_run_id", "request", ["part", "run_id"], unique=False)
    op.create_table(
        "setting",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=1024), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
        **_OPTIONS,
    )
    revisions = sa.table("revision", sa.column("name"), sa.column("n"))
    op.bulk_insert(revisions, [{"name": name, "n": 0} for name in ("app", "executor", "job")])
    # What a rolling upgrade asks before it starts a node: this schema, and the oldest that its code may be made for.
    settings = sa.table("setting", sa.column("name"), sa.column("value"))
    op.bulk_insert(settings, [{"name": "oldest_schema", "value": f"{revision}:0001"}])


def downgrade() -> None:
    op.drop_table("setting")
    op.drop_index("ix_request_part_run_id", table_name="request")
    op.drop_table("request")
    op.drop_table("revision")
    op.drop_index("ix_executor_rev", table_name="executor")
    for column in reversed(_of_executor()):
        op.drop_column("executor", column.name)
    for column in reversed(_of_node()):
        op.drop_column("node", column.name)
