"""Findings of jobs, and what is kept of uploads to make them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("file") as table:
        table.add_column(sa.Column("profile", sa.JSON(), nullable=True))
    with op.batch_alter_table("job") as table:
        table.add_column(sa.Column("findings", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("job") as table:
        table.drop_column("findings")
    with op.batch_alter_table("file") as table:
        table.drop_column("profile")
