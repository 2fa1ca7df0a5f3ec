"""Jobs that publish another kept step of a job that has ended say which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("job") as batch:
        batch.add_column(sa.Column("published_from_job", sa.String(255), nullable=True))
        batch.add_column(sa.Column("published_from_step", sa.Integer, nullable=True))
    chosen = sa.text("published_from_job IS NOT NULL")
    op.create_index(
        "ix_job_published_from",
        "job",
        ["published_from_job", "published_from_step"],
        sqlite_where=chosen,
        postgresql_where=chosen,
    )


def downgrade() -> None:
    op.drop_index("ix_job_published_from", "job")
    with op.batch_alter_table("job") as batch:
        batch.drop_column("published_from_step")
        batch.drop_column("published_from_job")
