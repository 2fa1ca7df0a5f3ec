"""Secrets of endpoints at rest, through changes of the service's keys and kills, on the real tables."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import event, select, text

from core.database.engine import now
from core.database.tables import WebhookEndpoint
from core.errors import Unavailable
from core.keys.keyring import Keyring
from core.keys.sealing import name_of
from core.webhooks import deliveries, endpoint_secrets
from core.webhooks.sender import Answer
from tests.core.ledger import SETTINGS, Sessions
from tests.core.webhooks.postbox import ended, endpoint, fan_out, record_outcome

OLD, NEW = "a" * 31 + "1", "b" * 31 + "2"
BEFORE, BOTH, AFTER = Keyring((OLD,)), Keyring((NEW, OLD)), Keyring((NEW,))


def secrets_of(sessions: Sessions, keyring: Keyring) -> dict[str, list[str]]:
    with sessions() as session:
        rows = session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.id)).all()
        return {row.id: endpoint_secrets.signing_secrets(row, now(session), keyring) for row in rows}


def stored(sessions: Sessions) -> str:
    """All that the table says of secrets."""
    with sessions() as session:
        return json.dumps(
            [list(row) for row in session.execute(text("SELECT secret, old_secrets FROM webhook_endpoint"))]
        )


def plant(sessions: Sessions, count: int) -> None:
    """Endpoints of an older version."""
    first = endpoint(sessions)
    with sessions.begin() as session:
        known = session.get_one(WebhookEndpoint, first)
        same = {"account_id": known.account_id, "name": "n", "url": known.url, "event_types": [], "created_at": 1.0}
        session.add_all(
            WebhookEndpoint(**same, updated_at=1.0, secret=endpoint_secrets.random_secret()) for _ in range(count - 1)
        )


def with_old_secrets(sessions: Sessions, count: int = 3) -> None:
    """Endpoints with plain secrets, each with one that signs beside it and one whose time is over."""
    for number in range(count):
        endpoint(sessions, f"acct-{number}")
    with sessions.begin() as session:
        for row in session.scalars(select(WebhookEndpoint)):
            at = now(session)
            row.old_secrets = [
                {"secret": endpoint_secrets.random_secret(), "until": at + 3600},
                {"secret": endpoint_secrets.random_secret(), "until": at - 1},
            ]


def test_secrets_of_an_older_version_sign_until_they_are_encrypted_and_after_it(database: Sessions) -> None:
    with_old_secrets(database)
    before = secrets_of(database, BEFORE)
    assert stored(database).count("whsec_") == 9
    found = endpoint_secrets.reencrypt(database, BEFORE)
    assert (found.endpoints, found.changed, found.unreadable) == (3, 3, 0)
    assert "whsec_" not in stored(database)
    assert stored(database).count(f"sealed:1:{name_of(OLD)}:") == 6  # what signs no more is gone
    assert secrets_of(database, BEFORE) == before
    assert endpoint_secrets.reencrypt(database, BEFORE).changed == 0


def test_after_a_change_of_keys_nothing_needs_the_older_one(database: Sessions) -> None:
    with_old_secrets(database)
    endpoint_secrets.reencrypt(database, BEFORE)
    before = secrets_of(database, BOTH)
    with pytest.raises(Unavailable):
        secrets_of(database, AFTER)
    assert endpoint_secrets.reencrypt(database, BOTH).changed == 3
    assert secrets_of(database, AFTER) == before


def test_a_change_of_keys_holds_a_few_rows_at_once_and_goes_on_where_it_was_stopped(database: Sessions) -> None:
    count = 2 * endpoint_secrets.BATCH + 5
    plant(database, count)
    commits: list[object] = []

    def stop(connection: object) -> None:
        commits.append(connection)
        if len(commits) == 2:
            raise KeyboardInterrupt

    event.listen(database.kw["bind"], "commit", stop)
    with pytest.raises(KeyboardInterrupt):
        endpoint_secrets.reencrypt(database, BEFORE)
    event.remove(database.kw["bind"], "commit", stop)
    assert stored(database).count("whsec_") == count - endpoint_secrets.BATCH
    left = endpoint_secrets.reencrypt(database, BEFORE)
    assert (left.endpoints, left.changed, left.unreadable) == (count, count - endpoint_secrets.BATCH, 0)
    assert "whsec_" not in stored(database)


@pytest.mark.slow
def test_one_secret_that_no_key_opens_keeps_none_of_the_others(database: Sessions) -> None:
    with_old_secrets(database)
    endpoint_secrets.reencrypt(database, BEFORE)
    lost = endpoint(database, "acct-9")
    with database.begin() as session:
        session.get_one(WebhookEndpoint, lost).secret = endpoint_secrets.new_secret(lost, Keyring(("gone" * 9,)))
    found = endpoint_secrets.reencrypt(database, BOTH)
    assert (found.endpoints, found.changed, found.unreadable) == (4, 3, 1)


def test_an_endpoint_whose_secret_no_key_opens_is_tried_again_and_holds_up_no_other(database: Sessions) -> None:
    lost, well = endpoint(database), endpoint(database, "acct-2")
    keyring = Keyring(("gone" * 9,))
    with database.begin() as session:
        session.get_one(WebhookEndpoint, lost).secret = endpoint_secrets.new_secret(lost, keyring)
    for account in ("acct-1", "acct-2"):
        ended(database, account)
    fan_out(database)
    settings = SETTINGS.model_copy(update={"signing_secret": NEW})
    with database.begin() as session:
        claimed = {one.endpoint: one for one in deliveries.claim(session, settings, 10, ())}
    assert claimed[well].headers is not None
    assert claimed[lost].headers is None
    record_outcome(database, claimed[lost], Answer(None, "secret_unreadable", 0.0))
    with database.begin() as session:
        endpoint_secrets.rotate(session.get_one(WebhookEndpoint, lost), now(session), AFTER, keep=True)
    assert len(secrets_of(database, AFTER)[lost]) == 1  # the one that can't be read signs nothing
