"""Webhooks: who is told of what, and how that went."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.database.tables.base import Json, Table, new_id, partial_index


class WebhookEndpoint(Table):
    """Where an account wants to be told of the ends of its jobs. Secrets are encrypted with the service's key."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index("ix_webhook_endpoint_account_id_created_at", "account_id", "created_at", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whe_"))
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str]
    url: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]]
    secret: Mapped[str]  # as core.keys.sealing writes it
    old_secrets: Mapped[list[Json]] = mapped_column(default=list)  # {secret, until}: they sign too, for a while
    created_at: Mapped[float]
    updated_at: Mapped[float]
    failing_since: Mapped[float | None]  # the first failure after the last success
    disabled_at: Mapped[float | None]
    disabled_reason: Mapped[str | None]  # owner, gone or failing


class WebhookEvent(Table):
    """The end of a job, written with it in one transaction; the unique job_id makes it one. A test has no job."""

    __tablename__ = "webhook_event"
    __table_args__ = (
        partial_index("ix_webhook_event_waiting", "created_at", where="spread_at IS NULL"),
        Index("ix_webhook_event_created_at", "created_at"),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("evt_"))
    account_id: Mapped[str] = mapped_column(index=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), unique=True)
    type: Mapped[str]
    created_at: Mapped[float]
    spread_at: Mapped[float | None]  # when each endpoint that wants it got its delivery


class WebhookDelivery(Table):
    """One event on its way to one endpoint. A row that somebody sends is leased, and `attempts` fences who writes."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_webhook_delivery_endpoint_id_created_at", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_delivery_due", "state", "next_at"),
        Index("ix_webhook_delivery_ended_at", "ended_at"),
        CheckConstraint("(state = 'pending') = (next_at IS NOT NULL)", name="planned_while_pending"),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whd_"))
    account_id: Mapped[str] = mapped_column(index=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoint.id"))
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_event.id"))
    state: Mapped[str]  # pending, delivered or failed
    tries: Mapped[int] = mapped_column(default=0)  # since it was created or ordered again
    attempts: Mapped[int] = mapped_column(default=0)  # in all
    next_at: Mapped[float | None]
    lease_until: Mapped[float | None]
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class WebhookAttempt(Table):
    """One request of a delivery: the status that came back, or a word for why none did; never what was said."""

    __tablename__ = "webhook_attempt"
    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_delivery.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[float]
    seconds: Mapped[float | None]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
