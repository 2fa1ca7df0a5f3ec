"""What an estimate reads of stored references, however long they are and wherever they lie."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest

from core.backbones.families import Kind
from core.database.tables import File
from core.estimates.summaries import MAX_BYTES, summarise
from core.findings.profiles import VERSION
from core.parameters import summary
from core.parameters.request import BatRequest
from core.parameters.service_defaults import ServiceDefaults
from core.references.packing import PNG_SIGNATURE, read_packed
from core.settings import Settings
from core.storage.local import LocalStorage
from tests.core.parameters.test_resolving import EMOJI, TEXT

CAPTIONS = ("a red cat", "", "a blue cat")


class Streaming(io.BufferedReader):
    """A file that is read from its begin to its end only, as one that comes over a network."""

    def seekable(self) -> bool:
        return False


class Remote(LocalStorage):
    """A store whose files can't be read in any order."""

    def open(self, key: str) -> BinaryIO:
        return Streaming(super().open(key).detach())  # type: ignore[attr-defined]


@pytest.fixture(params=[LocalStorage, Remote])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStorage:
    made: LocalStorage = request.param(tmp_path / "store", "secret")
    return made


def kept(store: LocalStorage, content: bytes, items: int) -> File:
    stored = store.put("accounts/a/files/f", content)
    pictures = [["cat.png", 32, 32, None, "digest", [1] if words else []] for words in CAPTIONS]
    profile = {"version": VERSION, "images": pictures, "texts": []}
    return File(id="f", storage_key=stored.key, bytes=stored.bytes, items=items, profile=profile)


def pictures(size: int, begin: bytes = b"") -> bytes:
    """An archive as it is stored, with pictures of which nobody looks at a pixel."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, words in enumerate(CAPTIONS, 1):
            archive.writestr(f"{number:03d}-cat.png", begin + bytes(size))
            if words:
                archive.writestr(f"{number:03d}-cat.txt", words)
    return buffer.getvalue()


def test_captions_of_a_small_set_are_read(store: LocalStorage) -> None:
    found = summarise([kept(store, pictures(100), 3)], store, "images")
    assert (found.count, found.uncaptioned) == (3, 1)
    assert found.prompts == CAPTIONS


def test_images_without_a_caption_are_counted_however_large_the_set_is(store: LocalStorage) -> None:
    file = kept(store, pictures(MAX_BYTES // 2), 3)
    assert file.bytes > MAX_BYTES
    found = summarise([file], store, "images")
    assert (found.count, found.uncaptioned) == (3, 1)
    assert len(found.prompts) == (0 if isinstance(store, Remote) else 3)  # from afar only the profile is there


def test_texts_are_read_up_to_a_length(store: LocalStorage) -> None:
    rows = "".join(
        json.dumps({"prompt": f"Wo ist {n}?", "completion": "Süden"}, ensure_ascii=False) + "\n" for n in "12"
    )
    found = summarise([kept(store, rows.encode(), 2)], store, "texts")
    assert found.prompts == ("Wo ist 1?", "Wo ist 2?")
    assert [text.characters for text in found.texts] == [15, 15]
    long = summarise([kept(store, rows.encode() + bytes(MAX_BYTES), 2)], store, "texts")
    assert (long.count, long.texts) == (2, ())


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_an_estimate_and_a_worker_resolve_the_same(store: LocalStorage, tmp_path: Path, kind: Kind) -> None:
    rows = "".join(json.dumps({"prompt": f"{n}?", "completion": f'{{"answer": {n}}}'}) + "\n" for n in range(5))
    file = kept(store, pictures(20, PNG_SIGNATURE) if kind == "images" else rows.encode(), 3 if kind == "images" else 5)
    store.fetch(file.storage_key, tmp_path / "packed")
    worked_on = summary.summarise(read_packed(tmp_path / "packed", "packed", Settings(data=tmp_path)))
    assert summarise([file], store, kind).for_resolving(kind) == worked_on
    defaults = ServiceDefaults.load(Settings(data=tmp_path), "cpu")
    backbone = EMOJI.model_copy(update={"caption_prefix": "emoji of "}) if kind == "images" else TEXT
    resolved = defaults.resolve(BatRequest(), None, backbone=backbone, summary=worked_on, seed=1)
    assert resolved.preset == ("subject" if kind == "images" else "format")
