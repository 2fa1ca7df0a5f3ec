"""A caption keeps its lines from the upload to the folder of a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.references import packing
from core.references.files.caption_files import caption
from core.references.items import ImageItem, References
from core.settings import Settings
from core.uploads import reading
from tests.core.findings.test_uploads import packed, scene, zipped

Read = Callable[[dict[str, bytes]], References]


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, max_caption_characters=40)


@pytest.fixture
def kept(tmp_path: Path, limits: Settings) -> Read:
    """What is left of an upload after it was stored and put into a job's folder."""

    def keep(files: dict[str, bytes]) -> References:
        (tmp_path / "upload.zip").write_bytes(zipped(files))
        packing.pack(reading.read(tmp_path / "upload.zip", "upload.zip", limits), tmp_path / "packed")
        packing.write_folder(packing.read_packed(tmp_path / "packed", "upload.zip", limits), tmp_path / "job")
        return packing.read_folder(tmp_path / "job")

    return keep


def captions(read: References) -> list[str | None]:
    return [item.caption for item in read.items if isinstance(item, ImageItem)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a red cat\na cat", "a red cat\na cat"),
        ("\n\n  a  red\tcat \r\n\r\n a cat\n", "a red cat\na cat"),
        ("a red cat\ra cat", "a red cat\na cat"),
        ("a red cat\u2028a cat\u0085cat", "a red cat\na cat\ncat"),
        ("a red cat\x0ba cat\x0ccat", "a red cat\na cat\ncat"),
        ("one line", "one line"),
        (" \n\t\n", ""),
    ],
)
def test_each_line_is_cleaned_and_blank_ones_are_dropped(limits: Settings, text: str, lines: str) -> None:
    assert caption(text, "a.txt", limits) == lines
    assert caption(lines, "a.txt", limits) == lines


def test_the_limit_of_characters_is_that_of_all_lines_together(limits: Settings) -> None:
    assert caption("\n".join(["a cat"] * 6), "a.txt", limits).count("\n") == 5
    with pytest.raises(InvalidInput, match=r"A caption in a\.txt has 41 characters; at most 40 are taken"):
        caption("\n".join(["a cat"] * 7), "a.txt", limits)


def test_lines_are_kept_whole_beside_an_image_and_in_a_table(kept: Read) -> None:
    beside = {"1.png": packed(scene(1)), "1.txt": b"a red cat\r\n\r\na cat\r\n", "2.png": packed(scene(2))}
    assert captions(kept(beside)) == ["a red cat\na cat", None]
    row = json.dumps({"file_name": "1.png", "text": "a red cat\n a cat \n"})
    assert captions(kept({"1.png": packed(scene(1)), "metadata.jsonl": row.encode()})) == ["a red cat\na cat"]
