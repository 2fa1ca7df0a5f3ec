"""The service's keys: which are refused, what each of them still opens, and how they change while the service runs."""

from __future__ import annotations

import hmac
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.disk import ROOT
from core.errors import Conflict, InvalidInput
from core.keys.keyring import SETTLED_SECONDS, Keyring
from core.settings import Settings
from core.storage.local import LocalStorage

OLD, NEW = "a" * 31 + "1", "b" * 31 + "2"


def aged(file: Path) -> None:
    """Let the file be as old as a key has to be before those before it may go."""
    before = time.time() - SETTLED_SECONDS
    os.utime(file, (before, before))


@pytest.mark.parametrize("content", [b"", b"\n", b" \t\n\n", b"short", b"k" * 31, b"\0" * 64, b"\xff" * 64])
def test_a_file_without_a_key_that_can_be_used_signs_and_opens_nothing(tmp_path: Path, content: bytes) -> None:
    settings = Settings(data=tmp_path)
    (tmp_path / "signing.key").write_bytes(content)
    store = LocalStorage(tmp_path / "storage", settings.keyring)
    store.put("mine", b"1")
    for act in (lambda: store.url("mine"), lambda: store.verify("GET", "mine", 2**40, "0" * 64), settings.keyring.read):
        with pytest.raises(InvalidInput, match=r"signing\.key: .* restore it from a backup"):
            act()
    assert (tmp_path / "signing.key").read_bytes() == content


def test_a_file_that_can_not_be_read_is_told_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "signing.key").mkdir()
    with pytest.raises(InvalidInput, match=r"signing\.key: it can't be read"):
        Settings(data=tmp_path).keyring.read()


@pytest.mark.parametrize("value", ["k" * 31, " " * 40, ",", f"{NEW},short", "a" * 20 + "\0" + "a" * 20])
def test_a_variable_without_a_key_that_can_be_used_is_refused_at_every_start(tmp_path: Path, value: str) -> None:
    command = [sys.executable, "-m", "api.cli", "keys", "list", "--data", str(tmp_path)]
    if "\0" in value:
        with pytest.raises(ValueError, match="signing_secret"):
            Settings(signing_secret=value)
        return
    variables = os.environ | {"ALBATROSS_SIGNING_SECRET": value}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 2
    assert "ALBATROSS_SIGNING_SECRET: " in done.stderr
    assert value.strip(" ,") not in done.stderr or not value.strip(" ,")


def test_serve_names_the_file_whose_key_it_does_not_take(tmp_path: Path) -> None:
    (tmp_path / "signing.key").touch()
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "signing.key: it holds no key" in done.stderr) == (2, True), done.stderr


def test_the_newest_key_signs_and_every_other_still_verifies() -> None:
    before, after = Keyring((OLD,)), Keyring((NEW, OLD))
    assert after.verifies(b"words", before.sign(b"words"))
    assert after.verifies(b"words", after.sign(b"words"))
    assert after.sign(b"words") == Keyring((NEW,)).sign(b"words") != before.sign(b"words")
    assert not Keyring((NEW,)).verifies(b"words", before.sign(b"words"))
    assert not after.verifies(b"other words", after.sign(b"words"))


def test_the_variable_names_the_newest_first() -> None:
    assert Settings(signing_secret=f"{NEW}, {OLD}").keyring.read() == (NEW, OLD)


def test_a_file_of_an_older_version_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text(OLD)  # without the end of a line
    keyring = Settings(data=tmp_path).keyring
    assert keyring.read() == (OLD,)
    keyring.add()
    assert keyring.read()[1:] == (OLD,)
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600


def test_what_an_older_version_signed_with_the_end_of_a_line_in_its_key_is_genuine(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text(f"{OLD}\n")  # made by hand: openssl rand -hex 32 > signing.key
    signature = hmac.new(f"{OLD}\n".encode(), b"words", "sha256").hexdigest()
    keyring = Settings(data=tmp_path).keyring
    assert keyring.verifies(b"words", signature)
    keyring.add()
    assert keyring.verifies(b"words", signature)
    assert not keyring.verifies(b"other words", signature)


def test_a_store_that_is_open_signs_with_a_key_that_another_process_adds(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    store = LocalStorage(tmp_path / "storage", settings.keyring)
    store.put("mine", b"1")
    first = store.url("mine")
    program = "import sys; from pathlib import Path; from core.settings import Settings; "
    program += "Settings(data=Path(sys.argv[1])).keyring.add()"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True)
    assert store.url("mine") != first
    assert len(settings.keyring.read()) == 2


def test_older_keys_go_only_when_nothing_can_still_be_stored_with_them(tmp_path: Path) -> None:
    keyring = Settings(data=tmp_path).keyring
    before = keyring.sign(b"words")
    keyring.add()
    with pytest.raises(Conflict, match="try again in"):
        keyring.forget_older()
    aged(tmp_path / "signing.key")
    newest = keyring.read()[0]
    assert (keyring.forget_older(), keyring.read(), keyring.forget_older()) == (1, (newest,), 0)
    assert not keyring.verifies(b"words", before)


def test_keys_of_a_variable_are_changed_by_hand() -> None:
    for act in (Keyring((OLD,)).add, Keyring((OLD,)).forget_older):
        with pytest.raises(InvalidInput, match="ALBATROSS_SIGNING_SECRET"):
            act()
