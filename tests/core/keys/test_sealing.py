"""Secrets at rest: only a key of the service opens them, and only in the row that they belong to."""

from __future__ import annotations

import base64

import pytest

from core.errors import Unavailable
from core.keys import sealing
from core.keys.keyring import Keyring

OLD, NEW = "a" * 31 + "1", "b" * 31 + "2"
SECRET = "whsec_canary-3c5d"


def test_a_sealed_secret_shows_its_hint_alone_and_is_another_each_time() -> None:
    first, second = (sealing.seal(SECRET, "whe_1", "3c5d", Keyring((NEW,))) for _ in range(2))
    assert first != second
    assert (sealing.shown(first), sealing.shown(second)) == ("3c5d", "3c5d")
    assert "canary" not in first + base64.urlsafe_b64decode(first.split(":")[-1]).decode("latin-1")
    assert sealing.unseal(first, "whe_1", Keyring((NEW,))) == SECRET


def test_older_keys_open_what_they_have_sealed_and_others_do_not() -> None:
    sealed = sealing.seal(SECRET, "whe_1", "3c5d", Keyring((OLD,)))
    assert sealing.unseal(sealed, "whe_1", Keyring((NEW, OLD))) == SECRET
    assert not sealing.is_current(sealed, Keyring((NEW, OLD)))
    with pytest.raises(Unavailable) as refused:
        sealing.unseal(sealed, "whe_1", Keyring((NEW,)))
    assert refused.value.code == "unknown_key"


def test_a_sealed_secret_opens_nothing_in_another_row_or_with_another_letter() -> None:
    keyring = Keyring((NEW,))
    sealed = sealing.seal(SECRET, "whe_1", "3c5d", keyring)
    head, _, cipher = sealed.rpartition(":")
    turned = cipher[:20] + ("A" if cipher[20] != "A" else "B") + cipher[21:]
    changed = (f"{head}:{turned}", f"{head}:AAAA", f"{head}:", sealed.replace(":3c5d:", ":3c5e:"))
    for text, owner in ((sealed, "whe_2"), *((text, "whe_1") for text in changed)):
        with pytest.raises(Unavailable) as refused:
            sealing.unseal(text, owner, keyring)
        assert refused.value.code == "damaged_secret"


def test_a_secret_that_an_older_version_kept_as_it_is_stays_readable() -> None:
    assert sealing.unseal(SECRET, "whe_1", Keyring((NEW,))) == SECRET


def test_what_encrypts_and_what_names_is_not_what_signs() -> None:
    assert sealing.name_of(NEW) not in Keyring((NEW,)).sign(b"") + NEW
    assert sealing.name_of(NEW) != sealing.name_of(OLD)
