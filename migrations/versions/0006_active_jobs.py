"""An account's active jobs are counted by an index, however many it has had."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_job_account_id_state", "job", ["account_id", "state"])


def downgrade() -> None:
    op.drop_index("ix_job_account_id_state", "job")
