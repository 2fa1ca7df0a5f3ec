"""Bytes are counted and reserved, crashes are counted since the last progress, and an erasure says where it looked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.String(length=255)
INDEXES = (
    ("ix_file_job_id", "file", ["job_id"]),
    ("ix_idempotency_job_id", "idempotency", ["job_id"]),
    ("ix_erasure_target", "erasure", ["target"]),
    ("ix_webhook_delivery_ended_at", "webhook_delivery", ["ended_at"]),
    ("ix_webhook_event_created_at", "webhook_event", ["created_at"]),
)
# of what is looked for every few seconds, though there is little of it
PARTIAL_INDEXES = (
    ("ix_file_expiring", "file", ["expires_at", "account_id"], "expires_at IS NOT NULL AND deleted_at IS NULL"),
    ("ix_job_kept", "job", ["finished_at", "account_id"], "finished_at IS NOT NULL AND deleted_at IS NULL"),
    ("ix_job_untidied", "job", ["finished_at", "id"], "tidied_at IS NULL AND deleted_at IS NULL"),
)
# what is counted from now on is counted once over what there is
STORED_BYTES = """
UPDATE account SET stored_bytes =
  COALESCE((SELECT SUM(file.bytes) FROM file
            WHERE file.account_id = account.id AND file.job_id IS NULL AND file.deleted_at IS NULL), 0)
  + COALESCE((SELECT SUM(artifact.bytes) FROM artifact JOIN job ON job.id = artifact.job_id
              WHERE job.account_id = account.id AND job.deleted_at IS NULL), 0)
"""


def upgrade() -> None:
    op.create_table(
        "reservation",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("disk", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_reservation_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservation")),
    )
    op.create_index(op.f("ix_reservation_account_id"), "reservation", ["account_id"])
    op.create_index(op.f("ix_reservation_until"), "reservation", ["until"])
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
    for name, table, columns, where in PARTIAL_INDEXES:
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    with op.batch_alter_table("account") as table:
        table.add_column(sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("job_times", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("erasure") as table:
        table.add_column(sa.Column("looked_at", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("job") as table:
        table.add_column(sa.Column("furthest_stage", TEXT, nullable=True))
        table.add_column(sa.Column("furthest_step", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("worker") as table:
        table.add_column(sa.Column("data", TEXT, nullable=True))
        table.add_column(sa.Column("swept_at", sa.Double(), nullable=True))
        table.add_column(sa.Column("sandboxed", sa.Boolean(), nullable=True))
    op.execute(sa.text(STORED_BYTES))


def downgrade() -> None:
    for name, table, *_ in PARTIAL_INDEXES:  # before the tables are made anew, which would keep them
        op.drop_index(name, table)
    for table, columns in {
        "worker": ("sandboxed", "swept_at", "data"),
        "job": ("furthest_step", "furthest_stage"),
        "erasure": ("looked_at",),
        "account": ("job_times", "stored_bytes"),
    }.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
    for name, table, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_table("reservation")
