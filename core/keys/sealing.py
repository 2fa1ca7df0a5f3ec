"""Secrets at rest: encrypted with the newest of the service's keys, and bound to the row that they belong to.

AES-256-GCM, not Fernet, because it binds: a sealed secret that is moved to another row opens nothing there. A sealed
secret is `sealed:1:KEY:SHOWN:CIPHER`: which key it takes, what may be shown of it, and the nonce with the ciphertext.
"""

from __future__ import annotations

import base64
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import Unavailable
from core.keys.keyring import Keyring

PREFIX = "sealed:1:"
NONCE_BYTES, KEY_BYTES, NAME_BYTES = 12, 32, 6
# labels: what is derived for one purpose tells nothing of what is derived for another, nor of what signs
ENCRYPTING, NAMING = b"albatross: secrets at rest, 1", b"albatross: name of a key, 1"


def seal(secret: str, owner: str, shown: str, keyring: Keyring) -> str:
    """Encrypt a secret of the row `owner` with the newest key; `shown`, without a colon, is readable without any."""
    key = keyring.read()[0]
    head, nonce = f"{PREFIX}{name_of(key)}:{shown}:", os.urandom(NONCE_BYTES)
    sealed = AESGCM(_derived(key, ENCRYPTING, KEY_BYTES)).encrypt(nonce, secret.encode(), _bound(head, owner))
    return head + base64.urlsafe_b64encode(nonce + sealed).decode()


def unseal(text: str, owner: str, keyring: Keyring) -> str:
    """Decrypt a secret of the row `owner`; raises Unavailable where no key opens it, or it belongs to another row.

    A secret of a version that kept them as they are is returned as it is.
    """
    if not is_sealed(text):
        return text
    head, _, cipher = text.rpartition(":")
    key = next((key for key in keyring.read() if name_of(key) == text.split(":")[2]), None)
    if key is None:
        raise Unavailable("A secret is encrypted with a key that this service has not.", code="unknown_key")
    content = base64.urlsafe_b64decode(cipher)
    nonce, sealed = content[:NONCE_BYTES], content[NONCE_BYTES:]
    try:
        return AESGCM(_derived(key, ENCRYPTING, KEY_BYTES)).decrypt(nonce, sealed, _bound(f"{head}:", owner)).decode()
    except (InvalidTag, ValueError):
        raise Unavailable("A secret in the database was changed, or is another row's.", code="damaged_secret") from None


def is_sealed(text: str) -> bool:
    """Tell whether a secret is encrypted."""
    return text.startswith(PREFIX)


def is_current(text: str, keyring: Keyring) -> bool:
    """Tell whether a secret is encrypted with the newest key."""
    return text.startswith(f"{PREFIX}{name_of(keyring.read()[0])}:")


def shown(text: str) -> str:
    """Return what may be shown of a sealed secret."""
    return text.split(":")[3]


@lru_cache(maxsize=64)
def name_of(key: str) -> str:
    """Name a key without telling anything of it."""
    return _derived(key, NAMING, NAME_BYTES).hex()


@lru_cache(maxsize=64)
def _derived(key: str, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(key.encode())


def _bound(head: str, owner: str) -> bytes:
    return f"{head}{owner}".encode()
