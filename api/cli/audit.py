"""`albatross audit`: who did what and when."""

import json
from typing import Annotated

import typer

from api.cli.accounts import DAY, database
from core.runtime.command_line import CommandLine, Data, read_settings

COMMANDS = CommandLine()
COLUMNS = ("at", "account_id", "key_id", "action", "target", "address", "request_id")


@COMMANDS.explained("audit", "albatross audit --account alice --days 7")
def audit(
    account: Annotated[str | None, typer.Option(metavar="NAME", help="only of this account; name or id")] = None,
    days: Annotated[float, typer.Option(metavar="DAYS", help="how far back")] = 30,
    data: Data = None,
) -> None:
    """Show who did what and when, the newest last, one JSON object a line; never any content."""
    settings = read_settings(data=data)
    from sqlalchemy import select

    from core.database.engine import now
    from core.database.tables import Account, Audit

    with database(settings) as session:
        rows = select(Audit).where(Audit.at > now(session) - days * DAY).order_by(Audit.at, Audit.id)
        if account:
            named = select(Account.id).where(Account.name == account).scalar_subquery()
            rows = rows.where((Audit.account_id == account) | (Audit.account_id == named))
        for row in session.scalars(rows):
            print(json.dumps({name: getattr(row, name) for name in COLUMNS}))
