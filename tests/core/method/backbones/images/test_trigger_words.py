"""What words do to prompts, measured on the backbone whose pictures the limits come from."""

from __future__ import annotations

import pytest
import torch

from core.backbones.record import read_record
from core.backbones.registry import BUILT_IN
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.trigger_words import ERASES, HARMLESS, Change, changes, harmless, placed
from core.references.captions import marked

PROMPTS = ["emoji of bear face", "emoji of red apple"]


@pytest.fixture(scope="module")
def emoji() -> DiffusionBackbone:
    record = read_record(BUILT_IN["emoji-ldm"])
    return DiffusionBackbone.load(record.path, resolution=32, target_modules=record.target_modules)


def test_a_rare_word_in_front_erases_and_at_the_end_marks(emoji: DiffusionBackbone) -> None:
    front = Change.of(changes(emoji, [(words, words.replace("emoji of ", "emoji of sks ")) for words in PROMPTS]))
    end = placed(emoji, PROMPTS, "sks", marked).change
    assert front.mean > 2 * ERASES
    assert end.worst < HARMLESS / 2


def test_a_prompt_against_itself_changes_nothing_and_against_another_about_all(emoji: DiffusionBackbone) -> None:
    same, other = changes(emoji, [(PROMPTS[0], PROMPTS[0]), (PROMPTS[0], PROMPTS[1])])
    assert same == 0
    assert other > ERASES


def test_a_change_is_what_the_definition_says(emoji: DiffusionBackbone) -> None:
    plain, with_word = PROMPTS[0], marked(PROMPTS[0], "sks")
    moved = said = 0.0
    for draw in emoji.fixed_draws(4, 1, 0):
        without, marks, empty = (emoji.predicted_from_noise([words], draw) for words in (plain, with_word, ""))
        moved += (marks - without).square().sum().item()
        said += (without - empty).square().sum().item()
    assert changes(emoji, [(plain, with_word)])[0] == pytest.approx(moved / said, rel=1e-3)


def test_the_adapter_in_use_does_not_count(tiny_diffusion: DiffusionBackbone) -> None:
    pairs = [("a cat", "a cat, sks"), ("", ", sks")]  # the second prompt says nothing by itself
    untouched = changes(tiny_diffusion, pairs)
    adapter = tiny_diffusion.lora.new(2, 2.0)
    for part in adapter.parameters():
        part.data.fill_(0.1)
    with tiny_diffusion.lora.use(adapter.select(0)):
        assert changes(tiny_diffusion, pairs) == untouched
    assert all(torch.isfinite(torch.tensor(untouched)))


def test_of_prompts_that_say_nothing_nothing_is_erased(tiny_diffusion: DiffusionBackbone) -> None:
    unread = [(words, marked(words, "sks")) for words in ("\u732b", "\u72ac")]  # its tokenizer knows no such sign
    assert changes(tiny_diffusion, unread) == [0.0, 0.0]
    assert min(changes(tiny_diffusion, [("cat", "cat, sks"), ("dog", "dog, sks")])) > 0


def test_the_first_harmless_word_is_taken_and_none_where_none_is(emoji: DiffusionBackbone) -> None:
    found = harmless(emoji, PROMPTS, marked, ["sks", "mjq"])
    assert found is not None
    assert (found.word, found.change) == ("sks", placed(emoji, PROMPTS, "sks", marked).change)
    assert harmless(emoji, PROMPTS, marked, []) is None
