"""`albatross backbones trigger`: a table of what words do to prompts, and which of them is registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones.registry import Registry
from core.errors import Conflict
from core.method.backbones.images.trigger_words import Change
from core.settings import Settings
from tests.worker.floor import register, run_module
from tests.worker.stages.conftest import image_record
from worker.commands.trigger import best, prompts

GOOD, FAIR, BAD = Change(0.01, 0.05), Change(0.1, 0.3), Change(0.9, 1.4)


@pytest.mark.slow
def test_words_are_measured_in_three_places_and_the_better_one_is_registered(
    tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    record = image_record(tiny_diffusion_folder, tmp_path).model_copy(update={"trigger_hint": None})
    data = register(record, tmp_path / "data")
    done = run_module("worker.commands.trigger", data, "tiny", "--word", "zwx", "--write")
    assert done.returncode == 0, done.stderr
    head, row, why, written = done.stdout.splitlines()
    assert all(place in head for place in ("in front", "behind", "at the end"))
    assert row.startswith("zwx ")
    assert row.count("%") == 6
    assert why.startswith("'zwx' changes least at the end")
    assert written == "'zwx' is the trigger of tiny from now on."
    assert Registry.load(Settings(data=data)).get("tiny").trigger_hint == "zwx"


@pytest.mark.slow
def test_the_word_of_a_built_in_backbone_is_not_written(tmp_path: Path) -> None:
    done = run_module("worker.commands.trigger", tmp_path, "emoji-ldm", "--write")
    assert done.returncode == 2
    assert "albatross: emoji-ldm is built in: its record comes with this version." in done.stderr
    with pytest.raises(Conflict):
        Registry.load(Settings(data=tmp_path)).set_trigger("emoji-ldm", "zwx")


def test_a_registered_word_stays_unless_it_harms_and_another_is_clearly_better() -> None:
    assert best({"sks": GOOD, "zwx": Change(0.0, 0.0)}, "sks") == (
        "sks",
        "'sks' stays: at the end it changes no prompt by more than 5.0%.",
    )
    assert best({"sks": FAIR, "zwx": Change(0.06, 0.2)}, "sks") == (
        "sks",
        "'sks' stays: no word that was tried is clearly better.",
    )
    assert best({"sks": BAD, "zwx": GOOD}, "sks")[0] == "zwx"
    assert best({"sks": BAD, "zwx": GOOD}, None) == ("zwx", "'zwx' changes least at the end: 1.0% on average.")


def test_words_are_tried_on_unrelated_prompts_and_on_the_pool(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    found = prompts(image_record(tiny_diffusion_folder, tmp_path))
    assert found[:2] == ["a dog", "thing 0"]
    assert len(found) == 8
