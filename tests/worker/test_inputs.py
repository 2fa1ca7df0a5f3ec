from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones import BackboneRecord
from core.references import ImageItem, References
from core.rows import TextItem
from core.settings import Settings
from worker.inputs import caption_of, captioned, device, summarise


@pytest.mark.parametrize(
    ("words", "caption"),
    [
        ("cat face", "emoji of sks cat face"),
        ("emoji of cat face", "emoji of sks cat face"),
        ("emoji of SKS cat face", "emoji of SKS cat face"),
        ("a sks cat", "emoji of a sks cat"),
        ("", "emoji of sks"),
    ],
)
def test_a_caption_gets_the_prefix_and_the_trigger_once(words: str, caption: str) -> None:
    assert caption_of(words, "emoji of ", "sks") == caption
    assert caption_of(caption, "emoji of ", "sks") == caption


def test_the_owners_trigger_wins_over_the_backbones(tmp_path: Path) -> None:
    record = BackboneRecord(
        id="b", family="diffusion", path=tmp_path, revision="1", sha256={}, target_modules=(), licence="CC0",
        trigger_hint="sks",
    )  # fmt: skip
    given = References("images", (ImageItem("1.png", None, b"", 8, 8, ""),))
    assert [item.caption for item in captioned(given, record, "zwx").items] == ["zwx"]
    assert [item.caption for item in captioned(given, record, None).items] == ["sks"]


def test_prompts_are_what_the_texts_answer_to() -> None:
    chat = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"})
    given = References(
        "texts", (TextItem(messages=chat), TextItem(prompt="Where?", completion="West."), TextItem(text="x"))
    )
    assert summarise(given).prompts == ("Who?", "Where?")


def test_a_named_device_is_taken_at_its_word(tmp_path: Path) -> None:
    assert device(Settings(data=tmp_path, device="cuda")) == "cuda"
    assert device(Settings(data=tmp_path, device="cpu")) == "cpu"
