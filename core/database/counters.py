"""Counts of what has happened, over all processes and restarts."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.database.tables import Tally

LEASES_LOST = "leases_lost"  # jobs taken back from workers that had gone silent
LATE_WRITERS = "late_writers"  # workers that found out that their job was somebody else's
WAKE_UPS, WAKE_UPS_REFUSED = "wake_ups", "wake_ups_refused"
ERASURES = "erasures"
WEBHOOKS_DELIVERED, WEBHOOK_TRIES_FAILED = "webhooks_delivered", "webhook_tries_failed"
WEBHOOKS_GIVEN_UP, WEBHOOK_ENDPOINTS_DISABLED = "webhooks_given_up", "webhook_endpoints_disabled"
WEBHOOKS = (WEBHOOKS_DELIVERED, WEBHOOK_TRIES_FAILED, WEBHOOKS_GIVEN_UP, WEBHOOK_ENDPOINTS_DISABLED)
NAMES = (LEASES_LOST, LATE_WRITERS, WAKE_UPS, WAKE_UPS_REFUSED, ERASURES, *WEBHOOKS)


def add(session: Session, name: str, amount: int = 1) -> None:
    """Raise a count; whoever counts at the same time waits."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(Tally).values(name=name, count=amount)
    session.execute(statement.on_conflict_do_update(index_elements=[Tally.name], set_={"count": Tally.count + amount}))
