"""The picture sets are whole, apart from each other and named with their licences, and drawings are measured truly."""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from transformers import CLIPTokenizer

from benchmarks import emoji
from benchmarks.pictures.__main__ import rows
from benchmarks.pictures.measures import Drawn, Measures
from benchmarks.pictures.sets import DATA, FEWEST_HELD_OUT, UNRELATED, recorded
from benchmarks.pictures.sheet import Strips, compose
from core.disk import ROOT

CATALOGUE = tomllib.loads((ROOT / "benchmarks" / "pictures" / "catalogue.toml").read_text())
FREE = {"MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0"}
DRAWN = [row for row in recorded() if "package" in row]


def pngs() -> dict[str, bytes]:
    with zipfile.ZipFile(DATA / "pictures.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_picture_that_is_recorded_is_there_and_small() -> None:
    found = pngs()
    assert sorted(found) == sorted(row["file"] for row in DRAWN)
    assert {Image.open(io.BytesIO(png)).size for png in found.values()} == {(32, 32)}


def test_every_picture_names_an_author_and_a_licence_that_allows_to_pass_it_on() -> None:
    notice = (DATA / "NOTICE").read_text()
    for row in DRAWN:
        said = CATALOGUE["packages"][row["package"]]
        assert (row["licence"], row["author"]) == (said["licence"], said["author"])
        assert row["licence"] in FREE
        assert said["source"] in notice
        assert f"{row['set'].split('-')[0]}-*.png" in notice


def test_pictures_under_a_share_alike_licence_are_told_from_the_others_by_their_names() -> None:
    shared = {row["file"] for row in DRAWN if row["licence"] == "CC-BY-SA-4.0"}
    assert shared == {row["file"] for row in DRAWN if row["file"].startswith("openmoji")} != set()


def test_no_picture_is_in_two_sets_or_twice_in_one() -> None:
    hashes = [hashlib.sha256(png).hexdigest() for png in pngs().values()]
    assert len(set(hashes)) == len(hashes)
    captions = [(row["set"], row["caption"]) for row in recorded()]
    assert len(set(captions)) == len(captions)


def test_there_are_sets_enough_of_both_kinds_and_each_holds_out_enough() -> None:
    kinds = {name: emoji.pictures_of(name).kind for name in (*emoji.SUBJECTS, *emoji.STYLES)}
    assert list(kinds.values()).count("subject") == len(emoji.SUBJECTS) >= 8
    assert list(kinds.values()).count("style") == len(emoji.STYLES) >= 7
    for name in kinds.keys() - {"cat"}:  # the demo's own, of which there are nine
        references, held_out = emoji.pictures_of(name).split(emoji.REFERENCES, emoji.HELD_OUT, 0)
        assert len(references) == emoji.REFERENCES
        assert len(held_out) >= FEWEST_HELD_OUT


@pytest.mark.parametrize("name", ["fluent-clock", "contrast", "vehicle", "dusk"])
def test_the_next_seed_learns_and_is_measured_on_pictures_of_its_own(name: str) -> None:
    parts = [emoji.pictures_of(name).split(emoji.REFERENCES, emoji.HELD_OUT, seed) for seed in (0, 1)]
    captions = [item["caption"] for both in parts for part in both for item in part]
    assert len(set(captions)) == len(captions) >= 4 * FEWEST_HELD_OUT


def test_captions_are_spelt_in_the_backbones_vocabulary_and_none_is_cut() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "demo" / "emoji_ldm" / "weights" / "tokenizer")
    for row in [*recorded(), *({"caption": caption} for caption in UNRELATED)]:
        ids = tokenizer(row["caption"])["input_ids"]
        assert len(ids) <= tokenizer.model_max_length
        assert tokenizer.unk_token_id not in ids[1:-1]


def test_a_style_shows_nothing_that_forgetting_is_measured_on() -> None:
    apart = {candidate.words for candidate in emoji.pool().probe} | set(UNRELATED)
    shown = {row["caption"].removesuffix(" in sks style") for row in DRAWN if row["kind"] == "style"}
    assert shown & apart == set()


def test_whatever_arms_there_are_the_plain_run_and_a_few_others_are_drawn() -> None:
    arms = ["quarter", "none", *(f"distil {weight} own .5" for weight in range(1, 12))]
    found = emoji.pictured(arms)
    assert found[0] == "none"
    assert len(found) == emoji.MOST_PICTURED


@pytest.mark.slow
def test_what_the_untouched_backbone_draws_has_gone_nowhere_and_the_pictures_themselves_have_arrived() -> None:
    shown, held_out = emoji.pictures_of("fluent-clock").split(2, 4, 0)
    references, truth = ([item["image"] for item in part] for part in (shown, held_out))
    prompts = [item["caption"] for item in held_out]
    measures = Measures(
        emoji.backbone(), prompts, UNRELATED[:2], references=references, held_out=truth, style=False, seed=0
    )
    still = measures.of(measures.draw(None))
    assert still["recognised"] == 1
    assert all(still[name] == pytest.approx(0, abs=1e-5) for name in still.keys() - {"recognised"})
    there = measures.of(Drawn(truth, references))
    ways = ("similarity", "swallowed", "backbone_similarity", "backbone_swallowed")
    assert [there[name] for name in ways] == [pytest.approx(1, abs=1e-4)] * 4
    assert 0 < there["distance"] < 1 < there["drift"]


def test_a_sheet_shows_each_arm_at_the_kept_step_nearest_to_its_own(tmp_path: Path) -> None:
    strips = Strips(tmp_path, "emoji cat seed=0")
    assert strips.folder is not None
    for name, step in (("references", 0), ("none", 60), ("none", 300), ("random .5", 120)):
        strips.keep(name, step, [Image.new("RGB", (32, 32), "red")] * 3)
    found = rows(strips.folder, {"none": 70}, None)
    assert [words for words, _ in found] == ["references", "none, step 60 (auto: 70)", "random .5, step 120"]
    sheet = compose(found)
    assert sheet.getpixel((sheet.width - 40, sheet.height - 40)) == (255, 0, 0)
