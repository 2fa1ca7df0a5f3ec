"""The store that the settings name."""

from __future__ import annotations

from core.settings import Settings
from core.storage.interface import Storage


def storage(settings: Settings) -> Storage:
    """The store that the settings name."""
    if settings.storage == "s3":
        from core.storage.s3 import S3Storage

        return S3Storage(settings)
    from core.storage.local import LocalStorage

    return LocalStorage(settings.data / "storage", settings.keyring)
