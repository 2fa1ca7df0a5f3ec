"""An adapter's archive is read back before anybody gets it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from core.errors import JobFailure
from worker.stages.export.formats import read_back


def test_an_archive_that_is_damaged_on_its_way_to_the_disk_is_never_published(tmp_path: Path) -> None:
    target = tmp_path / "adapter-peft.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("adapter_model.safetensors", b"weights" * 100)
    read_back(target)
    content = bytearray(target.read_bytes())
    content[content.index(b"weights") + 5] ^= 1
    target.write_bytes(content)
    with pytest.raises(JobFailure, match=r"adapter_model\.safetensors can't be read back") as failure:
        read_back(target)
    assert failure.value.code == "export_verification_failed"
