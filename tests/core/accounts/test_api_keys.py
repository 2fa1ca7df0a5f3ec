"""Keys open their own account, and nothing that only looks like a key opens any."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from core.accounts import api_keys
from core.database.engine import now
from core.database.tables import Account, ApiKey
from core.errors import InvalidInput, NotFound, Unauthenticated
from tests.core.ledger import Sessions


def make(sessions: Sessions, name: str = "laptop", **fields: object) -> str:
    with sessions.begin() as session:
        return api_keys.create(session, name, **fields)


def authenticate(sessions: Sessions, presented: str) -> str:
    with sessions.begin() as session:
        return api_keys.authenticate(session, presented).account


def test_a_key_opens_its_account(database: Sessions) -> None:
    first, second = make(database, "one", account="ada"), make(database, "two", account="ada")
    other = make(database, "one", account="bob")
    assert authenticate(database, first) == authenticate(database, second)
    assert authenticate(database, first) != authenticate(database, other)
    with database() as session:
        assert {row.name for row in session.scalars(select(Account))} == {"ada", "bob"}


def test_the_secret_is_nowhere_in_the_database(database: Sessions) -> None:
    key = make(database)
    secret = key.split("_", 2)[2]
    with database() as session:
        row = session.scalars(select(ApiKey)).one()
        stored = [str(value) for value in vars(row).values()]
    assert len(secret) == 49
    assert not any(secret[:16] in value for value in stored)


def test_what_is_not_quite_a_key_opens_nothing(database: Sessions) -> None:
    key = make(database)
    other = make(database, "other")
    public, secret = key.split("_", 2)[1:]
    wrong = secret[:-7] + ("a" if secret[-7] != "a" else "b") + secret[-6:]
    forged = wrong[:-6] + api_keys.checksum(wrong[:-6])  # the checksum is no secret
    swapped = f"alb_{other.split('_')[1]}_{secret}"
    for presented in (
        "",
        "alb_",
        key[:-1],
        key + "0",
        key.upper(),
        f"alb_{public}_{wrong}",
        f"alb_{public}_{forged}",
        swapped,
        f"alb_{public[:-1]}é_{secret}",
        "alb_" + "x" * 1_000_000,
        "\0",
        key + "\n",
        " " + key,
    ):
        with pytest.raises(Unauthenticated):
            authenticate(database, presented)


def test_a_revoked_and_an_expired_key_open_nothing(database: Sessions) -> None:
    revoked = make(database, "revoked")
    with database.begin() as session:
        session.execute(update(ApiKey).values(revoked_at=now(session)))
        at = now(session)
    expired, living = make(database, "old", expires_at=at - 1), make(database, "new", expires_at=at + 100)
    for presented in (revoked, expired):
        with pytest.raises(Unauthenticated):
            authenticate(database, presented)
    assert authenticate(database, living)


def test_a_key_in_use_shows_when_but_is_not_written_at_every_call(database: Sessions) -> None:
    key = make(database)

    def used() -> float | None:
        with database.begin() as session:
            access = api_keys.authenticate(session, key)
            if access.note_use:
                api_keys.used(session, access.key)
        with database() as session:
            return session.scalars(select(ApiKey.last_used_at)).one()

    first = used()
    assert first is not None
    assert used() == first
    with database.begin() as session:
        session.execute(update(ApiKey).values(last_used_at=first - 1000))
    assert (used() or 0) > first - 1000


@pytest.mark.parametrize("name", ["", "a" * 65, "two\nlines", "<b>"])
def test_a_name_that_would_spoil_a_listing_is_refused(database: Sessions, name: str) -> None:
    with pytest.raises(InvalidInput):
        make(database, name)


def test_a_key_may_do_what_its_scopes_say_and_no_scope_is_made_up(database: Sessions) -> None:
    key = make(database, scopes=["read"])
    with database() as session:
        assert api_keys.authenticate(session, key).scopes == {"read"}
    for scopes in ([], ["root"], ["read", "all"]):
        with pytest.raises(InvalidInput):
            make(database, "other", scopes=scopes)


def test_a_rotated_key_works_for_a_while_beside_the_new_one(database: Sessions) -> None:
    old = make(database, scopes=["read"])
    with database.begin() as session:
        new = api_keys.rotate(session, old.split("_")[1], overlap_seconds=100)
    assert authenticate(database, old) == authenticate(database, new)
    with database.begin() as session:
        assert api_keys.authenticate(session, new).scopes == {"read"}
        session.execute(update(ApiKey).where(ApiKey.id == old.split("_")[1]).values(expires_at=now(session) - 1))
    with pytest.raises(Unauthenticated):
        authenticate(database, old)
    assert authenticate(database, new)


def test_a_key_is_revoked_by_its_public_part_and_an_unknown_one_is_named(database: Sessions) -> None:
    key = make(database)
    with database.begin() as session:
        api_keys.revoke(session, key.split("_")[1])
    with pytest.raises(Unauthenticated):
        authenticate(database, key)
    with pytest.raises(NotFound, match="nobody12"), database.begin() as session:
        api_keys.revoke(session, "nobody12")


def test_the_keys_of_an_erased_account_open_nothing_and_its_name_stays_taken(database: Sessions) -> None:
    key = make(database, account="ada")
    with database.begin() as session:
        session.execute(update(Account).values(erased_at=now(session)))
    with pytest.raises(Unauthenticated):
        authenticate(database, key)
    with pytest.raises(InvalidInput, match="erased"):
        make(database, "another", account="ada")
