"""`albatross keys`: API keys; `albatross signing-key`: the service's own, which sign and encrypt."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.accounts import DAY, HOUR, account_named, database, day
from core.runtime.command_line import CommandLine, Data, amount, read_settings

if TYPE_CHECKING:  # help comes faster without a database
    from sqlalchemy.orm import Session, sessionmaker

    from core.settings import Settings

COMMANDS = CommandLine()
KEYS = CommandLine("Make, list, rotate and revoke API keys.")
SIGNING_KEY = CommandLine("Change the key that signs download addresses and receipts, and that encrypts secrets.")
COMMANDS.add_typer(KEYS, name="keys")
COMMANDS.add_typer(SIGNING_KEY, name="signing-key")


def _scope(text: str) -> str:
    from core.accounts.api_keys import SCOPES

    if text not in SCOPES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(SCOPES)}")
    return text


@KEYS.explained(
    "create", "albatross keys create alice --data /srv/albatross", "KEY=$(albatross keys create alice | tail -n 1)"
)
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="who will use the key")],
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="put the key into this existing account instead")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE", parser=_scope, help="read, write or admin; may be repeated (default: read write)"
        ),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", callback=amount, help="how long the key opens the account (default: until it is revoked)"
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Make an API key, and an account of the same name if there is none; the last line printed is the key alone."""
    settings = read_settings(data=data)
    from core.accounts import api_keys, audit
    from core.database.engine import now

    with database(settings) as session:
        if account is not None:
            account_named(session, account)  # a slip of the pen shall make no account
        expires = None if days is None else now(session) + days * DAY
        key = api_keys.create(
            session, name, account=account, expires_at=expires, scopes=scope or api_keys.DEFAULT_SCOPES
        )
        audit.record(session, account_named(session, account or name).id, "key.create", key.split("_")[1])
    print("This key is shown only once:")
    print(key)


@KEYS.explained("list", "albatross keys list")
def list_keys(
    account: Annotated[str | None, typer.Option(metavar="NAME", help="only of this account")] = None, data: Data = None
) -> None:
    """List the keys, never their secrets."""
    settings = read_settings(data=data)
    from sqlalchemy import select

    from core.database.engine import now
    from core.database.tables import Account, ApiKey

    with database(settings) as session:
        rows = select(ApiKey, Account.name).join(Account, Account.id == ApiKey.account_id).order_by(ApiKey.created_at)
        if account:
            rows = rows.where(Account.name == account)
        at = now(session)
        for key, owner in session.execute(rows):
            dead = "revoked" if key.revoked_at else "expired" if key.expires_at and key.expires_at < at else "valid"
            used = f"used {day(key.last_used_at)}" if key.last_used_at else "never used"
            print(f"{key.id}  {owner:20} {key.name:20} {','.join(key.scopes):16} {dead:8} {used}")


@KEYS.explained("rotate", "albatross keys rotate 3k9x2m1q --hours 24")
def rotate_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="the public part of the old key: what follows alb_")],
    hours: Annotated[
        float, typer.Option(metavar="HOURS", callback=amount, help="how long the old key still works")
    ] = 24,
    data: Data = None,
) -> None:
    """Make a new key like an old one, which goes on to work for a while; the last line printed is the new key."""
    settings = read_settings(data=data)
    from core.accounts import api_keys, audit
    from core.database.tables import ApiKey

    with database(settings) as session:
        key = api_keys.rotate(session, id, hours * HOUR)
        audit.record(session, session.get_one(ApiKey, id).account_id, "key.rotate", id)
    print(f"The old key works for {hours:g} more hours. This key is shown only once:")
    print(key)


@KEYS.explained("revoke", "albatross keys revoke 3k9x2m1q")
def revoke_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="the public part of the key: what follows alb_")],
    data: Data = None,
) -> None:
    """Make a key open nothing from now on."""
    settings = read_settings(data=data)
    from core.accounts import api_keys, audit

    with database(settings) as session:
        key = api_keys.revoke(session, id)
        if session.is_modified(key):
            audit.record(session, key.account_id, "key.revoke", key.id)
    print(f"The key {id} opens nothing any more.")


@SIGNING_KEY.explained("list", "albatross signing-key list")
def list_signing_keys(data: Data = None) -> None:
    """List names of the keys, the newest first, which tell nothing of the keys themselves."""
    settings = read_settings(data=data)
    from core.keys.sealing import name_of

    for place, key in enumerate(settings.keyring.read()):
        print(f"{name_of(key)}  {'verifies and decrypts' if place else 'signs and encrypts'}")


@SIGNING_KEY.explained("rotate", "albatross signing-key rotate --data /srv/albatross")
def rotate_signing_key(data: Data = None) -> None:
    """Make a new key and encrypt all secrets with it; processes that run take it by themselves.

    Older keys still verify receipts and download addresses, until `forget-older`. Where this was interrupted,
    `reencrypt` goes on with it.
    """
    settings = read_settings(data=data)
    with _sessions(settings) as sessions:
        settings.keyring.add()
        print("A new key signs and encrypts from now on; nothing has to be started again.")
        _reencrypt(settings, sessions)


@SIGNING_KEY.explained("reencrypt", "albatross signing-key reencrypt")
def reencrypt(data: Data = None) -> None:
    """Encrypt all secrets with the newest key; the dispatcher does the same at its start and every hour."""
    settings = read_settings(data=data)
    with _sessions(settings) as sessions:
        _reencrypt(settings, sessions)


@SIGNING_KEY.explained("forget-older", "albatross signing-key forget-older")
def forget_older(data: Data = None) -> None:
    """Forget every key but the newest, after encrypting with that what still needs another.

    Receipts that older keys have signed can't be verified any more. Refuses within a minute after `rotate`.
    """
    settings = read_settings(data=data)
    with _sessions(settings) as sessions:
        _reencrypt(settings, sessions)
        count = settings.keyring.forget_older()
    print(f"Forgotten: {count} older keys. Receipts that they have signed can't be verified any more.")


@contextmanager
def _sessions(settings: "Settings") -> "Iterator[sessionmaker[Session]]":
    """Open the database, which is made or migrated first."""
    from core.database.engine import connect, sessions
    from core.database.migrations import migrate
    from core.runtime import data_folder

    data_folder.claim(settings)
    settings.keyring.read()  # one that can't be used is told before anything is done
    migrate(settings.database)
    engine = connect(settings.database)
    yield sessions(engine)
    engine.dispose()


def _reencrypt(settings: "Settings", sessions: "sessionmaker[Session]") -> None:
    from core.webhooks.endpoint_secrets import reencrypt

    found = reencrypt(sessions, settings.keyring)
    print(f"{found.endpoints} webhook endpoints: {found.changed} encrypted anew.")
    if found.unreadable:
        print(f"{found.unreadable} have secrets that none of the keys opens: put back the key that does.")
        raise typer.Exit(1)
