"""Webhooks: endpoints, events, deliveries, attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT, TIME = sa.String(length=255), sa.Double()
WAITING = sa.text("spread_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        _needed("id"),
        _needed("account_id"),
        _needed("name"),
        _needed("url", sa.Text()),
        _needed("event_types", sa.JSON()),
        _needed("secret"),
        _needed("old_secrets", sa.JSON()),
        _needed("created_at", TIME),
        _needed("updated_at", TIME),
        sa.Column("failing_since", TIME),
        sa.Column("disabled_at", TIME),
        sa.Column("disabled_reason", TEXT),
        _points("webhook_endpoint", "account"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index("ix_webhook_endpoint_account_id_created_at", "webhook_endpoint", ["account_id", "created_at", "id"])
    op.create_table(
        "webhook_event",
        _needed("id"),
        _needed("account_id"),
        sa.Column("job_id", TEXT),
        _needed("type"),
        _needed("created_at", TIME),
        sa.Column("spread_at", TIME),
        _points("webhook_event", "job"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_event")),
        sa.UniqueConstraint("job_id", name=op.f("uq_webhook_event_job_id")),
    )
    op.create_index(op.f("ix_webhook_event_account_id"), "webhook_event", ["account_id"])
    op.create_index(
        "ix_webhook_event_waiting", "webhook_event", ["created_at"], sqlite_where=WAITING, postgresql_where=WAITING
    )
    op.create_table(
        "webhook_delivery",
        _needed("id"),
        _needed("account_id"),
        _needed("endpoint_id"),
        _needed("event_id"),
        _needed("state"),
        _needed("tries", sa.Integer()),
        _needed("attempts", sa.Integer()),
        sa.Column("next_at", TIME),
        sa.Column("lease_until", TIME),
        _needed("created_at", TIME),
        sa.Column("ended_at", TIME),
        sa.CheckConstraint(
            "(state = 'pending') = (next_at IS NOT NULL)", name=op.f("ck_webhook_delivery_planned_while_pending")
        ),
        _points("webhook_delivery", "webhook_endpoint", "endpoint_id"),
        _points("webhook_delivery", "webhook_event", "event_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint("event_id", "endpoint_id", name=op.f("uq_webhook_delivery_event_id_endpoint_id")),
    )
    op.create_index(op.f("ix_webhook_delivery_account_id"), "webhook_delivery", ["account_id"])
    op.create_index(
        "ix_webhook_delivery_endpoint_id_created_at", "webhook_delivery", ["endpoint_id", "created_at", "id"]
    )
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["state", "next_at"])
    op.create_table(
        "webhook_attempt",
        _needed("delivery_id"),
        _needed("number", sa.Integer()),
        _needed("at", TIME),
        sa.Column("seconds", TIME),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", TEXT),
        _points("webhook_attempt", "webhook_delivery", "delivery_id"),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_webhook_attempt")),
    )


def downgrade() -> None:
    for name in ("webhook_attempt", "webhook_delivery", "webhook_event", "webhook_endpoint"):
        op.drop_table(name)


def _points(table: str, other: str, column: str | None = None) -> sa.ForeignKeyConstraint:
    column = column or f"{other}_id"
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))


def _needed(name: str, kind: sa.types.TypeEngine[object] = TEXT) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=False)
