"""The audit log: who did what to which thing and when; never with what content. Rows are only added."""

from __future__ import annotations

import ipaddress

from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Audit, new_id


def record(
    session: Session,
    account_id: str,
    action: str,
    target: str,
    *,
    key_id: str | None = None,
    address: str | None = None,
    request_id: str | None = None,
    at: float | None = None,
) -> None:
    """Add a row in the transaction of the thing itself, so that neither is there without the other."""
    session.add(
        Audit(
            id=new_id("audit-"),
            at=now(session) if at is None else at,
            account_id=account_id,
            action=action,
            target=target,
            key_id=key_id,
            address=address,
            request_id=request_id,
        )
    )


def network(address: str | None) -> str | None:
    """Return the network that an address is in: enough to see a pattern, too little to name a person."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))
