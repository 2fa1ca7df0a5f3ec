"""Workers say what keeps them out of service, and what their job takes of the GPU."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = ("problem", "gpu")


def upgrade() -> None:
    with op.batch_alter_table("worker") as table:
        for column in COLUMNS:
            table.add_column(sa.Column(column, sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("worker") as table:
        for column in COLUMNS:
            table.drop_column(column)
