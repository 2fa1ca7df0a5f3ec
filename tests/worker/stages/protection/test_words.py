"""What a backbone is asked to draw of its own, and which captions have nothing to do with a job's references."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones.record import BackboneRecord, read_record
from core.disk import ROOT
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary
from core.references.content import content, same_content
from core.references.phrases import words
from worker.stages import pool as pools
from worker.stages.pool import Pool
from worker.stages.protection.words import CAPTIONS, prompts_of, unrelated

CATS = [f"emoji of grinning cat {how}, sks" for how in ("face", "with a hat", "in the snow", "on a sofa")]


@pytest.fixture(scope="module")
def record() -> BackboneRecord:
    return read_record(ROOT / "demo/emoji_ldm/weights")


@pytest.fixture(scope="module")
def pool(record: BackboneRecord) -> Pool:
    found = pools.load(record)
    assert found is not None
    return found


def parameters(record: BackboneRecord, captions: list[str]) -> Parameters:
    summary = ReferenceSummary(kind="images", count=len(captions), prompts=tuple(captions))
    request = BatRequest(protect="distil", protect_on="captions")
    return resolve(request, None, backbone=record, summary=summary, device_class="cpu", seed=0)


def test_what_jobs_are_judged_by_is_not_drawn(record: BackboneRecord, pool: Pool) -> None:
    for asked in (prompts_of(record, pool), prompts_of(record, None)):
        judged = [content(prompt) for prompt in record.unrelated_prompts]
        assert len(asked) > 64
        assert not [prompt for prompt in asked if any(same_content(content(prompt), one) for one in judged)]


def test_unrelated_captions_are_the_pools_and_name_nothing_that_the_references_show(
    record: BackboneRecord, pool: Pool
) -> None:
    chosen = unrelated(record, pool, parameters(record, CATS), CATS)
    assert len(set(chosen)) == CAPTIONS
    assert set(chosen) <= {one.item["caption"] for one in pool.candidates}
    assert not [caption for caption in chosen if {"cat", "sks", "grinning"} & set(words(caption))]


def test_without_a_pool_plain_captions_are_taken_and_those_that_name_the_subject_are_not(
    record: BackboneRecord,
) -> None:
    elephants = [f"emoji of elephant {how}" for how in ("drinking", "at night", "from behind")]
    chosen = unrelated(record, None, parameters(record, elephants), elephants)
    assert len(chosen) == CAPTIONS
    assert "emoji of an elephant standing in tall grass" in prompts_of(record, None)
    assert not [caption for caption in chosen if "elephant" in caption]


def test_captions_that_share_a_word_with_some_reference_come_last(record: BackboneRecord) -> None:
    various = ["emoji of a horse", "emoji of a red telephone", "emoji of a street with fields, a hill and a tower"]
    chosen = unrelated(record, None, parameters(record, various), various)
    assert not {"horse", "telephone", "street", "fields", "hill", "tower"} & set(words(" ".join(chosen)))


def test_a_pool_of_few_captions_is_filled_up_with_plain_ones(record: BackboneRecord, pool: Pool) -> None:
    few = Pool(pool.candidates[:5], (), "few")
    chosen = unrelated(record, few, parameters(record, CATS), CATS)
    assert len(chosen) == CAPTIONS
    assert sum(caption in {one.item["caption"] for one in few.candidates} for caption in chosen) <= 5


def test_references_without_captions_leave_the_list_as_it_is(record: BackboneRecord, tmp_path: Path) -> None:
    chosen = unrelated(record, None, parameters(record, ["", "", ""]), ["", "", ""])
    assert len(chosen) == CAPTIONS
