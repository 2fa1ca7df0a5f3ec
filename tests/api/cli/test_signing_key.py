"""Changing the service's own key from the command line, while everything goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from core.database.engine import connect, now, sessions
from core.database.migrations import migrate
from core.database.tables import Account, WebhookEndpoint
from core.disk import ROOT
from core.errors import Unavailable
from core.keys.keyring import SETTLED_SECONDS
from core.settings import Settings
from core.webhooks import endpoint_secrets
from tests.api.cli.test_accounts import made
from tests.api.cli.test_commands import run

ENDPOINTS = 250


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service of an older version with many endpoints, whose secrets lie there as they are."""
    found = Settings(data=tmp_path / "data")
    migrate(found.database)
    engine = connect(found.database)
    with sessions(engine).begin() as session:
        session.add(Account(id="acct-1", name="alice", created_at=1.0))
        session.flush()
        same = {"account_id": "acct-1", "name": "n", "url": "https://hooks.test/", "event_types": [], "created_at": 1.0}
        session.add_all(
            WebhookEndpoint(**same, updated_at=1.0, secret=endpoint_secrets.random_secret()) for _ in range(ENDPOINTS)
        )
    engine.dispose()
    return found


def secrets_of(settings: Settings) -> dict[str, str]:
    engine = connect(settings.database)
    with sessions(engine)() as session:
        rows = session.scalars(select(WebhookEndpoint)).all()
        found = {row.id: endpoint_secrets.signing_secrets(row, now(session), settings.keyring)[0] for row in rows}
    engine.dispose()
    return found


def aged(settings: Settings) -> None:
    """Let the newest key be old enough for those before it to go."""
    before = time.time() - SETTLED_SECONDS
    os.utime(settings.data / "signing.key", (before, before))


@pytest.mark.slow
def test_a_key_is_changed_and_the_older_one_forgotten_without_loss(settings: Settings) -> None:
    before, receipt = secrets_of(settings), settings.keyring.sign(b"receipt")
    assert "250 webhook endpoints: 250 encrypted anew." in made(settings.data, "signing-key", "reencrypt")
    assert "250 encrypted anew." in made(settings.data, "signing-key", "rotate")
    listed = made(settings.data, "signing-key", "list").splitlines()
    assert [line.split("  ")[1] for line in listed] == ["signs and encrypts", "verifies and decrypts"]
    assert not any(key in line for key in settings.keyring.read() for line in listed)
    assert settings.keyring.verifies(b"receipt", receipt)
    early = run("signing-key", "forget-older", "--data", str(settings.data))
    assert (early.returncode, "try again in" in early.stderr) == (2, True)
    aged(settings)
    assert "Forgotten: 1 older keys." in made(settings.data, "signing-key", "forget-older")
    assert (len(settings.keyring.read()), secrets_of(settings)) == (1, before)
    assert not settings.keyring.verifies(b"receipt", receipt)


@pytest.mark.slow
def test_a_change_of_keys_that_is_killed_anywhere_loses_nothing_and_is_gone_on_with(settings: Settings) -> None:
    made(settings.data, "signing-key", "reencrypt")
    before = secrets_of(settings)
    command = [sys.executable, "-m", "api.cli", "signing-key", "rotate", "--data", str(settings.data)]
    began = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - began
    for part in range(1, 11):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            time.sleep(whole * part / 10)
            process.send_signal(signal.SIGKILL)
        assert secrets_of(settings) == before
    aged(settings)
    made(settings.data, "signing-key", "forget-older")
    assert (len(settings.keyring.read()), secrets_of(settings)) == (1, before)


@pytest.mark.slow
def test_older_keys_stay_while_a_secret_can_not_be_read(settings: Settings) -> None:
    made(settings.data, "signing-key", "rotate")
    engine = connect(settings.database)
    lost = Settings(signing_secret="a key that is gone and was never written down")
    with sessions(engine).begin() as session:
        row = session.scalars(select(WebhookEndpoint)).first()
        assert row is not None
        row.secret = endpoint_secrets.new_secret(row.id, lost.keyring)
    engine.dispose()
    aged(settings)
    refused = run("signing-key", "forget-older", "--data", str(settings.data))
    assert (refused.returncode, "1 have secrets that none of the keys opens" in refused.stdout) == (1, True)
    assert len(settings.keyring.read()) == 2
    with pytest.raises(Unavailable):
        secrets_of(settings)


@pytest.mark.slow
def test_keys_of_a_variable_are_changed_by_hand(settings: Settings) -> None:
    old, new = "o" * 32, "n" * 32
    data = ("--data", str(settings.data))
    assert "250 encrypted anew." in run("signing-key", "reencrypt", *data, ALBATROSS_SIGNING_SECRET=old).stdout
    refused = run("signing-key", "rotate", *data, ALBATROSS_SIGNING_SECRET=old)
    assert (refused.returncode, "put a new one behind" in refused.stderr) == (2, True)
    done = run("signing-key", "reencrypt", *data, ALBATROSS_SIGNING_SECRET=f"{new},{old}")
    assert "250 encrypted anew." in done.stdout
    assert len(secrets_of(settings.model_copy(update={"signing_secret": new}))) == ENDPOINTS
    assert not (settings.data / "signing.key").exists()


def test_no_byte_of_the_data_folder_holds_a_secret_as_it_was_once_all_are_encrypted(settings: Settings) -> None:
    plain, engine = secrets_of(settings), connect(settings.database)
    assert any(secret.encode() in content_of(settings) for secret in plain.values())
    endpoint_secrets.reencrypt(sessions(engine), settings.keyring)
    assert [secret for secret in plain.values() if secret.encode() in content_of(settings)] == []
    engine.dispose()
    assert secrets_of(settings) == plain


def content_of(settings: Settings) -> bytes:
    return b"".join(path.read_bytes() for path in settings.data.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_backup_holds_no_secret_of_an_endpoint_as_it_is(settings: Settings, tmp_path: Path) -> None:
    made(settings.data, "signing-key", "reencrypt")
    plain = [secret.encode() for secret in secrets_of(settings).values()]
    made(settings.data, "backup", str(tmp_path / "backup"))
    content = b"".join(path.read_bytes() for path in (tmp_path / "backup").rglob("*") if path.is_file())
    assert b"sealed:1:" in content
    assert not any(secret in content for secret in plain)
