"""Pausing, scopes and limits of accounts, usage, erasure, audit, tallies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ENDED = "'SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED'"
BEFORE = {
    "known_state": f"state IN ('QUEUED', 'RUNNING', {ENDED})",
    "finished_when_ended": "(state IN ('QUEUED', 'RUNNING')) = (finished_at IS NULL)",
}
AFTER = {
    "known_state": f"state IN ('QUEUED', 'RUNNING', 'PAUSED', {ENDED})",
    "finished_when_ended": "(state IN ('QUEUED', 'RUNNING', 'PAUSED')) = (finished_at IS NULL)",
    "asked_to_pause_while_running": "state = 'RUNNING' OR pause_requested_at IS NULL",
}
TEXT, TIME = sa.String(length=255), sa.Double()


def upgrade() -> None:
    with op.batch_alter_table("account") as table:
        for name, kind in (("served_at", TIME), ("erased_at", TIME), ("bytes_limit", sa.BigInteger())):
            table.add_column(sa.Column(name, kind, nullable=True))
        table.add_column(sa.Column("gpu_seconds_limit", sa.Double(), nullable=True))
    with op.batch_alter_table("api_key") as table:
        # keys that are there could do everything, and still can
        table.add_column(sa.Column("scopes", sa.JSON(), nullable=False, server_default='["read", "write"]'))
    with op.batch_alter_table("job") as table:
        for name in ("pause_requested_at", "tidied_at"):
            table.add_column(sa.Column(name, TIME, nullable=True))
        table.add_column(sa.Column("reserved_seconds", sa.Double(), nullable=False, server_default="0"))
    _check(BEFORE, AFTER)
    op.create_table(
        "usage",
        _key("job_id"),
        sa.Column("epoch", sa.Integer(), nullable=False),
        _needed("stage"),
        _needed("account_id"),
        _needed("seconds", sa.Double()),
        _needed("created_at", TIME),
        sa.PrimaryKeyConstraint("job_id", "epoch", "stage", name=op.f("pk_usage")),
    )
    op.create_index("ix_usage_account_id_created_at", "usage", ["account_id", "created_at"])
    op.create_table(
        "erasure",
        _key("id"),
        _needed("account_id"),
        _needed("kind"),
        _needed("target"),
        _needed("created_at", TIME),
        _needed("requested_at", TIME),
        sa.Column("tried_at", TIME),
        sa.Column("done_at", TIME),
        _needed("objects", sa.Integer()),
        _needed("rows", sa.Integer()),
        sa.Column("signature", TEXT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    op.create_index(op.f("ix_erasure_account_id"), "erasure", ["account_id"])
    op.create_index(op.f("ix_erasure_done_at"), "erasure", ["done_at"])
    op.create_table(
        "audit",
        _key("id"),
        _needed("at", TIME),
        _needed("account_id"),
        sa.Column("key_id", TEXT),
        _needed("action"),
        _needed("target"),
        sa.Column("address", TEXT),
        sa.Column("request_id", TEXT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_account_id_at", "audit", ["account_id", "at"])
    op.create_table(
        "tally", _key("name"), _needed("count", sa.BigInteger()), sa.PrimaryKeyConstraint("name", name=op.f("pk_tally"))
    )


def downgrade() -> None:
    for name in ("tally", "audit", "erasure", "usage"):
        op.drop_table(name)
    # the code before knows no pause: such jobs wait for a worker again
    op.execute("UPDATE job SET state = 'QUEUED' WHERE state = 'PAUSED'")
    _check(AFTER, BEFORE)
    with op.batch_alter_table("job") as table:
        for name in ("pause_requested_at", "tidied_at", "reserved_seconds"):
            table.drop_column(name)
    with op.batch_alter_table("api_key") as table:
        table.drop_column("scopes")
    with op.batch_alter_table("account") as table:
        for name in ("served_at", "erased_at", "bytes_limit", "gpu_seconds_limit"):
            table.drop_column(name)


def _check(before: dict[str, str], after: dict[str, str]) -> None:
    """Put other checks on the job table."""
    with op.batch_alter_table("job") as table:
        for name in before:
            table.drop_constraint(op.f(f"ck_job_{name}"), type_="check")
        for name, condition in after.items():
            table.create_check_constraint(op.f(f"ck_job_{name}"), condition)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=False)


def _needed(name: str, kind: sa.types.TypeEngine[object] = TEXT) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=False)
