"""An upload that was edited is the upload that its owner could have sent in the first place."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from core.errors import InvalidInput
from core.findings import profiles, uploads
from core.findings.pictures import CHANGES
from core.references import packing
from core.references.items import ImageItem
from core.settings import Settings
from core.uploads import reading
from core.uploads.changes import Change, SentFile
from core.uploads.reading import JudgedReferences
from core.uploads.revision import revised

ANEW = uploads.JUDGED | CHANGES


def drawn(number: int) -> bytes:
    """A picture of its own for every number: some lie on their side, some are flat, some are nearly the one before."""
    image = Image.new("RGB", (40 + number % 5, 70), (17 * number % 256, 71 * number % 256, 131))
    if number % 7:
        image.paste((200, 10 * (number // 2) % 256, 40), (5, 5, 15 + number // 2 % 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6 if number % 3 == 0 else 1
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


class Stored:
    """An upload as the service keeps it: its packed file, its findings, its profile."""

    def __init__(self, folder: Path, sent: Path, filename: str = "cat.zip", **limits: int) -> None:
        self.folder, self.limits = folder, Settings(data=folder, **limits)
        self.packed = folder / "packed"
        self.keep(reading.read(sent, filename, self.limits))

    def keep(self, read: JudgedReferences) -> None:
        packing.pack(read, self.packed)
        self.findings: list[dict[str, Any]] = json.loads(json.dumps([asdict(finding) for finding in read.findings]))
        profile = profiles.of(read.items, read.prints, read.text_prints, read.blank)
        self.profile: dict[str, Any] = json.loads(json.dumps(profile))

    def change(self, **asked: Any) -> None:
        change = Change(findings=self.findings, profile=self.profile, **asked)
        self.keep(revised(self.packed, Change.model_validate_json(change.model_dump_json()), self.limits))

    def send(self, name: str, content: bytes, words: str | None = None) -> list[SentFile]:
        files = {name: content} | ({str(Path(name).with_suffix(".txt")): words.encode()} if words else {})
        for each, written in files.items():
            (self.folder / f"sent-{each}").write_bytes(written)
        return [SentFile(path=self.folder / f"sent-{each}", filename=each) for each in files]

    @property
    def captions(self) -> list[tuple[str, str | None]]:
        items = packing.read_packed(self.packed, "x", self.limits).items
        return [(item.name, item.caption) for item in items if isinstance(item, ImageItem)]


def about_what_is_there(findings: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in findings if row["code"] in ANEW)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_any_edits_end_where_an_upload_of_what_is_left_would_begin(tmp_path: Path, seed: int) -> None:
    random, number = Random(seed), 5
    held = {f"{n}.jpg": (drawn(n), f"cat {n}" if n % 2 else None) for n in range(number)}
    files = {name: content for name, (content, _) in held.items()}
    files |= {f"{name[:-4]}.txt": words.encode() for name, (_, words) in held.items() if words}
    stored = Stored(tmp_path, zipped(tmp_path / "sent", files))
    for _ in range(12):
        number += 1
        name, words = f"{number}.jpg", random.choice([None, f"a cat {number}"])
        place = random.randrange(len(held))
        there = list(held)[place]
        kind = random.choice(["add", "replace", "remove"]) if len(held) > 1 else "add"
        if kind == "add":
            held[name] = drawn(number), words
            stored.change(sent=stored.send(name, drawn(number), words))
        elif kind == "remove":
            del held[there]
            stored.change(place=place)
        else:
            new = {name: (drawn(number), words or held[there][1])}
            held = {key: value for old in held for key, value in (new if old == there else {old: held[old]}).items()}
            stored.change(place=place, sent=stored.send(name, drawn(number)), caption=words)
    files = {name: content for name, (content, _) in held.items()}
    files |= {f"{name[:-4]}.txt": words.encode() for name, (_, words) in held.items() if words}
    (tmp_path / "anew").mkdir()
    anew = Stored(tmp_path / "anew", zipped(tmp_path / "sent", files))
    assert stored.captions == anew.captions == [(f"{name[:-4]}.png", words) for name, (_, words) in held.items()]
    assert stored.packed.read_bytes() == anew.packed.read_bytes()
    assert stored.profile == anew.profile
    assert about_what_is_there(stored.findings) == about_what_is_there(anew.findings)


def test_a_mask_goes_with_its_picture_and_so_does_what_was_told_of_it(tmp_path: Path) -> None:
    mask = io.BytesIO()
    Image.radial_gradient("L").resize((40, 70)).save(mask, "PNG")
    files = {f"{n}.jpg": drawn(n) for n in (1, 2, 4)} | {"1_mask.png": mask.getvalue()}
    stored = Stored(tmp_path, zipped(tmp_path / "sent", files))
    assert "masks_kept" in str(stored.findings)
    stored.change(place=1)
    assert "masks_kept" in str(stored.findings)
    assert stored.profile["layers"]["mask"] == [0]
    stored.change(place=0, sent=stored.send("x.jpg", drawn(9)))
    assert "masks_kept" not in str(stored.findings)
    assert stored.profile["layers"]["mask"] == []


def test_what_files_said_does_not_pile_up(tmp_path: Path) -> None:
    stored = Stored(tmp_path, zipped(tmp_path / "sent", {f"{n}.jpg": drawn(n) for n in range(4)}))
    for number in range(20):
        stored.change(sent=stored.send(f"again{number}.jpg", drawn(1)))
    told = [row for row in stored.findings if row["code"] == "duplicate_item"]
    assert len(told) == uploads.MAX_FINDINGS_OF_A_CODE
    assert told[-1]["item"] == "again19.jpg"
    assert len(stored.captions) == 4


PROFILES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "none": lambda profile: None,
    "from before changes were kept": lambda profile: {k: v for k, v in profile.items() if k != "changes"},
    "of other pictures": lambda profile: {**profile, "images": [[*row[:4], "0" * 64, []] for row in profile["images"]]},
    "of fewer": lambda profile: {**profile, "images": profile["images"][:1]},
    "with changes that are none": lambda profile: {**profile, "changes": [[7]]},
    "with fewer changes": lambda profile: {**profile, "changes": []},
}


@pytest.mark.parametrize("what", PROFILES)
def test_an_upload_of_which_less_is_known_is_judged_anew_and_keeps_what_was_told(tmp_path: Path, what: str) -> None:
    stored = Stored(tmp_path, zipped(tmp_path / "sent", {f"{n}.jpg": drawn(n) for n in range(5)}))
    whole = stored.profile
    stored.profile = PROFILES[what](stored.profile)
    stored.change(place=1)
    told = {row["code"]: row for row in stored.findings}
    assert told["turned_upright"]["items"] == ["0.jpg", "3.jpg"]
    assert told["empty_caption"]["message"].startswith("4 images have no caption")
    assert [row[3] for row in stored.profile["images"]] == [row[3] for row in whole["images"] if row[0] != "1.jpg"]


def test_texts_are_judged_as_if_they_had_come_together(tmp_path: Path) -> None:
    lines = [{"prompt": f"Where is {n}?", "completion": f"West of {n}."} for n in range(4)]
    (tmp_path / "sent").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stored = Stored(tmp_path, tmp_path / "sent", "a.jsonl")
    other = json.dumps({"prompt": "Where is 2?", "completion": "In the east."}).encode()
    stored.change(sent=stored.send("b.jsonl", other))
    assert {row["code"]: row["item"] for row in stored.findings} == {"conflicting_examples": "text 5"}
    stored.change(place=2)
    assert stored.findings == []
    stored.change(sent=stored.send("b.jsonl", other))
    (told,) = stored.findings
    assert told["message"] == "1 exact copy was left out; each reference counts once."


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    stored = Stored(tmp_path, zipped(tmp_path / "sent", {"0.jpg": drawn(0), "1.jpg": drawn(1)}), max_images=2)
    before = stored.packed.read_bytes()
    for asked, code in (
        ({"sent": stored.send("2.jpg", drawn(2))}, "too_many_images"),
        ({"sent": stored.send("3.jpg", drawn(3)[:50])}, "corrupt"),
        ({"place": 2}, "item_not_found"),
        ({"place": -1}, "item_not_found"),
    ):
        with pytest.raises(InvalidInput) as refused:
            stored.change(**asked)
        assert refused.value.code == code
    assert stored.packed.read_bytes() == before
