"""Keys, accounts and receipts from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.accounts import api_keys
from core.database.engine import connect, sessions
from core.database.tables import Erasure
from core.erasure import receipts
from core.erasure.eraser import Eraser
from core.erasure.receipts import receipt
from core.errors import Unauthenticated
from core.settings import Settings
from core.storage.factory import storage
from tests.api.cli.test_commands import run


def made(data: Path, *arguments: str) -> str:
    done = run(*arguments, "--data", str(data))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def opens(data: Path, key: str) -> frozenset[str]:
    engine = connect(f"sqlite:///{data}/albatross.db")
    try:
        with sessions(engine)() as session:
            return api_keys.authenticate(session, key).scopes
    except Unauthenticated:
        return frozenset()
    finally:
        engine.dispose()


@pytest.mark.slow
def test_keys_are_listed_rotated_and_revoked(tmp_path: Path) -> None:
    old = made(tmp_path, "keys", "create", "alice", "--scope", "read").splitlines()[-1]
    public = old.split("_")[1]
    listed = made(tmp_path, "keys", "list")
    assert public in listed
    assert old.split("_")[2] not in listed
    new = made(tmp_path, "keys", "rotate", public, "--hours", "1").splitlines()[-1]
    assert opens(tmp_path, old) == opens(tmp_path, new) == {"read"}
    made(tmp_path, "keys", "revoke", public)
    made(tmp_path, "keys", "revoke", public)  # which changes nothing, and is no news
    assert not opens(tmp_path, old)
    assert opens(tmp_path, new)
    assert run("keys", "revoke", "nobody00", "--data", str(tmp_path)).returncode == 2
    actions = [json.loads(line)["action"] for line in made(tmp_path, "audit", "--account", "alice").splitlines()]
    assert actions == ["key.create", "key.rotate", "key.revoke"]


@pytest.mark.slow
def test_an_account_is_limited_and_erased_and_its_receipt_is_checked(tmp_path: Path) -> None:
    key = made(tmp_path, "keys", "create", "alice").splitlines()[-1]
    made(tmp_path, "accounts", "limit", "alice", "--gigabytes", "2", "--gpu-hours", "3")
    assert "of 2 GB" in made(tmp_path, "accounts", "list")
    assert run("accounts", "erase", "alice", "--data", str(tmp_path)).returncode == 2
    made(tmp_path, "accounts", "erase", "alice", "--yes")
    assert not opens(tmp_path, key)
    settings = Settings(data=tmp_path)
    engine = connect(settings.database)
    Eraser(sessions(engine), storage(settings), settings.keyring, tmp_path).round()
    with sessions(engine)() as session:
        done = session.query(Erasure).one()
        told = receipt(done) | {"signature": done.signature}
    engine.dispose()
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(told))
    assert "Genuine" in made(tmp_path, "erasures", "verify", str(file))
    file.write_text(json.dumps(told | {"target": "acct-another"}))
    assert run("erasures", "verify", str(file), "--data", str(tmp_path)).returncode == 1
    assert receipts.genuine(receipt(done), done.signature or "", settings.keyring)
