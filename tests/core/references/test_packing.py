"""A packed file is read as bytes, by a process that decodes nothing, and believed no further than its form goes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from core.disk import ROOT
from core.errors import InvalidInput
from core.references import packing
from core.references.items import ImageItem, References, merge
from core.settings import Settings
from core.uploads import editing


def png(level: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, (level, 0, 0)).save(content, "PNG")
    return content.getvalue()


def packed(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "packed", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "packed"


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, max_images=3, max_image_bytes=1_000, max_image_pixels=1_000, max_file_bytes=10_000)


def test_pictures_are_taken_as_they_are_with_the_size_that_they_claim(tmp_path: Path, limits: Settings) -> None:
    cut = png(1)[:60]  # its pixels are gone, and nobody here looks for them
    files = {"001-cat.png": cut, "001-cat.txt": b"a cat", "002-my.dog.png": png(2, (8, 9))}
    first, second = packing.read_packed(packed(tmp_path, files), "cats.zip", limits).items
    assert isinstance(first, ImageItem)
    assert isinstance(second, ImageItem)
    assert (first.name, first.caption, first.png, first.width, first.height) == ("cat.png", "a cat", cut, 40, 30)
    assert (second.name, second.caption, second.width, second.height) == ("my.dog.png", None, 8, 9)


def test_a_picture_that_two_files_hold_is_learned_once(tmp_path: Path, limits: Settings) -> None:
    parts = [
        packing.read_packed(packed(tmp_path, {"001-a.png": png(1), "002-b.png": png(number)}), "a.zip", limits)
        for number in (2, 3)
    ]
    learned = [item.png for item in merge(parts).items if isinstance(item, ImageItem)]
    assert sorted(learned) == sorted([png(1), png(2), png(3)])


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"001-a.png": b"\x89PNG\r\n\x1a\n"}, "corrupt"),
        ({"001-a.png": b"GIF89a" + bytes(100)}, "corrupt"),
        ({"001-a.jpg": png()}, "corrupt_archive"),
        ({"../001-a.png": png()}, "unsafe_path"),
        ({"/etc/001-a.png": png()}, "unsafe_path"),
        ({f"{number:03d}-a.png": png() for number in range(4)}, "too_many_images"),
        ({"001-a.png": png() + bytes(6_000)}, "entry_too_large"),
        ({f"{number:03d}-a.txt": bytes(4_900) for number in range(7)}, "encoding"),
        ({"001-a.png": png(), "001-a.txt": b"\xff"}, "encoding"),
        ({"001-a.txt": b"a cat"}, "no_items"),
    ],
)
def test_what_no_decoder_of_ours_has_packed_is_refused(
    tmp_path: Path, limits: Settings, files: dict[str, bytes], code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        packing.read_packed(packed(tmp_path, files), "cats.zip", limits)
    assert refused.value.code == code


def test_a_strange_name_in_a_packed_file_is_only_a_label(tmp_path: Path, limits: Settings) -> None:
    files = {"001-\u202egnp.\x1b[2J.png": png()}
    [item] = packing.read_packed(packed(tmp_path, files), "cats.zip", limits).items
    assert isinstance(item, ImageItem)
    assert item.name == "gnp.[2J.png"


def test_images_of_one_name_keep_their_folders_and_their_captions(tmp_path: Path, limits: Settings) -> None:
    names = ["cat/1.png", "dog/1.png", "2.png"]
    images = tuple(ImageItem(name, f"of {name}", png(), 8, 8, name) for name in names)
    packing.pack(References("images", images), tmp_path / "packed")
    again = packing.read_packed(tmp_path / "packed", "pets.zip", limits).items
    assert [(item.name, item.caption) for item in again if isinstance(item, ImageItem)] == [
        (name, f"of {name}") for name in names
    ]


@pytest.mark.parametrize("content", [b"", b"no JSON\n", b'{"text": 1}\n', b"PK\x03\x04 cut short"])
def test_rows_that_are_none_are_refused(tmp_path: Path, limits: Settings, content: bytes) -> None:
    (tmp_path / "packed").write_bytes(content)
    with pytest.raises(InvalidInput):
        packing.read_packed(tmp_path / "packed", "chats.jsonl", limits)


def test_a_packed_file_is_carried_into_a_folder_where_there_is_no_pillow(tmp_path: Path) -> None:
    files = {"001-cat.png": png(), "001-cat.txt": b"a cat"}
    program = (
        "import sys; sys.modules['PIL'] = None; from pathlib import Path; from core.references import packing;"
        "from core.settings import Settings; folder = Path(sys.argv[1]);"
        "packing.write_folder(packing.read_packed(folder / 'packed', 'a', Settings(data=folder)), folder / 'job')"
    )
    packed(tmp_path, files)
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, timeout=60)
    [row] = (tmp_path / "job/items.jsonl").read_text().splitlines()
    assert json.loads(row) == {"name": "cat.png", "caption": "a cat", "file": "images/001.png"}
    assert (tmp_path / "job/images/001.png").read_bytes() == png()


def test_masks_and_alpha_travel_with_their_picture_and_old_sets_have_none(tmp_path: Path, limits: Settings) -> None:
    layers = {"mask": png(3), "alpha": png(4)}
    images = (
        ImageItem("a.b.png", "a cat", png(1), 40, 30, "1", **layers),
        ImageItem("c.png", None, png(2), 40, 30, "2"),
    )
    packing.pack(References("images", images), tmp_path / "packed")
    again = packing.read_packed(tmp_path / "packed", "pets.zip", limits)
    packing.write_folder(again, tmp_path / "job")
    for read in (again, packing.read_folder(tmp_path / "job")):
        held = [(item.mask, item.alpha) for item in read.items if isinstance(item, ImageItem)]
        assert held == [(layers["mask"], layers["alpha"]), (None, None)]
    lines = [{"name": "old.png", "caption": None, "file": "images/001.png"}]  # as older versions wrote them
    (tmp_path / "job/items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    [old] = packing.read_folder(tmp_path / "job").items
    assert isinstance(old, ImageItem)
    assert old.mask is None


def test_a_mask_that_is_no_picture_is_refused_by_the_name_of_its_picture(tmp_path: Path, limits: Settings) -> None:
    with pytest.raises(InvalidInput, match=r"cat\.png is damaged"):
        packing.read_packed(packed(tmp_path, {"001-cat.png": png(), "001-cat.mask": b"no picture"}), "a.zip", limits)


def test_of_two_copies_either_may_have_the_mask(tmp_path: Path, limits: Settings) -> None:
    parts = [
        packing.read_packed(packed(tmp_path, files), "a.zip", limits)
        for files in ({"001-a.png": png(1)}, {"001-b.png": png(1), "001-b.mask": png(9)})
    ]
    [item] = merge(parts).items
    assert isinstance(item, ImageItem)
    assert (item.name, item.mask) == ("a.png", png(9))


def test_the_same_references_and_captions_are_the_same_file_whenever_they_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = References("images", (packing.image_item("cat.png", "a cat", png(1)),))
    written = []
    for at in (1e9, 1.5e9):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        packing.pack(given, tmp_path / "packed")
        editing.caption(tmp_path / "packed", tmp_path / "again", {0: "a red cat"})
        written.append(((tmp_path / "packed").read_bytes(), (tmp_path / "again").read_bytes()))
    assert written[0] == written[1]
