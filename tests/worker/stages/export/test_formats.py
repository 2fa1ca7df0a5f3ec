"""An adapter's archive is read back before anybody gets it, and what the check of its files found is told."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from core.errors import JobFailure
from worker.stages.export.formats import Made, read_back
from worker.stages.export.stage import verified


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


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (2e-5, ""),
        (0.009, ""),
        (0.124, " Rounding the merged weights moved their outputs by 12% of what the adapter does."),
        (1.6, " Rounding the merged weights moved their outputs by 160% of what the adapter does."),
    ],
)
def test_what_rounding_takes_from_merged_weights_is_told_where_it_is_much(error: float, more: str) -> None:
    told = verified(Made(errors={"peft": 1e-6, "merged": error}))
    assert told.text == f"Every file was loaded back and gave the same numbers but for rounding: peft, merged.{more}"
    assert told.data == {"relative_errors": {"peft": 1e-6, "merged": float(f"{error:.2g}")}}
    assert "Rounding" not in verified(Made(errors={"peft": 0.0009})).text
