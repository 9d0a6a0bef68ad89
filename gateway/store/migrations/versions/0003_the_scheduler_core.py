"""The scheduler core: what a run may carry, and what a job counts

Everything is added with a default, so that a node of the version before goes on working meanwhile.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


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
        _text("shard_name", 128),
        _big("stop_asked_ms"),
        _text("author", 64),
    )


def _of_next_fire() -> tuple[sa.Column[Any], ...]:
    return (_int("fired"), _big("chain_run_id"))


def upgrade() -> None:
    for column in _of_run():
        op.add_column("run", column)
    for column in _of_next_fire():
        op.add_column("job_next_fire", column)
    settings = sa.table("setting", sa.column("name"), sa.column("value"))
    op.execute(settings.update().where(settings.c.name == "oldest_schema").values(value=f"{revision}:0001"))


def downgrade() -> None:
    for column in reversed(_of_next_fire()):
        op.drop_column("job_next_fire", column.name)
    for column in reversed(_of_run()):
        op.drop_column("run", column.name)
