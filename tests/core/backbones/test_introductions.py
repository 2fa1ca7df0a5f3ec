"""What people are told of a backbone: its operator's words, ours, or what its files have told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones import introductions
from core.backbones.record import BackboneRecord
from core.backbones.registry import BUILT_IN, PREPARED
from core.errors import InvalidInput


def record(**fields: object) -> BackboneRecord:
    known = {"id": "mine", "family": "llama", "path": Path("/x"), "revision": "1", "sha256": {}, "licence": "MIT"}
    return BackboneRecord.model_validate({**known, "target_modules": ["q_proj"], **fields})


def test_every_built_in_backbone_is_introduced_in_words_of_ours() -> None:
    assert set(introductions.BUILT_IN) == set(BUILT_IN) | set(PREPARED)
    for told in introductions.BUILT_IN.values():
        introductions.check(title=told.title, description=told.description, good_for=told.good_for)


@pytest.mark.parametrize(
    ("fields", "title", "description"),
    [
        ({"family": "sdxl", "resolution": 1024}, "mine", "Stable Diffusion XL: draws pictures of 1024 by 1024 pixels."),
        ({"hub_name": "Qwen/Qwen3-0.6B", "family": "qwen3"}, "Qwen3-0.6B", "Qwen 3: writes text."),
        ({"parameters": 7_241_732_096}, "mine", "Llama: writes text; 7.2 billion parameters."),
        ({"parameters": 134_515_008}, "mine", "Llama: writes text; 135 million parameters."),
        ({"title": "Ours", "description": "It knows our letters."}, "Ours", "It knows our letters."),
    ],
)
def test_one_that_was_added_is_introduced_by_its_operator_or_its_files(
    fields: dict[str, object], title: str, description: str
) -> None:
    told = introductions.introduction(record(**fields))
    assert (told.title, told.description, told.good_for) == (title, description, None)


@pytest.mark.parametrize("words", ["", " ", "a\nb", "\x1b[2J", "x" * 61])
def test_words_that_are_no_title_are_refused(words: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--title is one line of 1 to 60 characters\.$"):
        introductions.check(title=words, description=None)
