"""What jobs have taken on which device, and which device a worker has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.String(length=255)


def upgrade() -> None:
    op.create_table(
        "measurement",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("backbone", TEXT, nullable=False),
        sa.Column("revision", TEXT, nullable=False),
        sa.Column("device", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurement")),
    )
    op.create_index("ix_measurement_backbone_created_at", "measurement", ["backbone", "created_at"])
    with op.batch_alter_table("worker") as table:
        table.add_column(sa.Column("device", TEXT, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("worker") as table:
        table.drop_column("device")
    op.drop_table("measurement")
