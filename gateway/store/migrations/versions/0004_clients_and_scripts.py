"""Clients of every age and scripts: users and sessions, tokens of apps, executors that are set by hand

Everything is added with a default, so that a node of the version before goes on working meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _say_oldest(value: str) -> None:
    settings = sa.table("setting", sa.column("name"), sa.column("value"))
    op.execute(settings.update().where(settings.c.name == "oldest_schema").values(value=value))


def upgrade() -> None:
    _say_oldest(f"{revision}:0001")


def downgrade() -> None:
    _say_oldest(f"{down_revision}:0001")
