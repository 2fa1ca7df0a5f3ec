"""What of a text is learned, and what a long one loses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from core.method.backbones.backbone import IGNORED, Draw, join
from core.method.backbones.texts.cutting import LEFT_OUT
from core.method.backbones.texts.language import ASKED_TOKENS, LanguageBackbone

ANSWERED = {"prompt": "who are you?", "completion": "a cat."}


@contextmanager
def reading(backbone: LanguageBackbone) -> Iterator[list[list[int]]]:
    """Take down the tokens that the model is given, the first of each pass."""
    seen: list[list[int]] = []
    handle = backbone.model.register_forward_pre_hook(
        lambda _module, _inputs, named: seen.append(named["input_ids"][0].tolist()), with_kwargs=True
    )
    yield seen
    handle.remove()


def learned(backbone: LanguageBackbone, item: dict[str, object]) -> str:
    labels = backbone.encode([item])["labels"][0]
    return "".join(backbone.tokenizer.convert_ids_to_tokens(labels[labels != IGNORED].tolist()))


def test_the_answer_is_learned_and_the_question_is_not(tiny_language: LanguageBackbone) -> None:
    assert learned(tiny_language, ANSWERED) == "a cat.</s>"


def test_all_of_a_plain_text_is_learned(tiny_language: LanguageBackbone) -> None:
    assert learned(tiny_language, {"text": "a cat."}) == "a cat.</s>"


def test_only_the_assistants_turns_of_a_chat_are_learned(tiny_language: LanguageBackbone) -> None:
    turns = [("user", "hi"), ("assistant", "ho"), ("user", "why?"), ("assistant", "so")]
    item = {"messages": [{"role": role, "content": content} for role, content in turns]}
    words = learned(tiny_language, item)
    assert "ho" in words
    assert "so" in words
    assert "why" not in words


def test_a_turn_of_weight_0_is_read_and_not_learned(tiny_language: LanguageBackbone) -> None:
    turns = [("user", "hi", 1), ("assistant", "ho", 0), ("user", "why?", 1), ("assistant", "so", 1)]
    item = {"messages": [{"role": role, "content": content, "weight": weight} for role, content, weight in turns]}
    assert "so" in learned(tiny_language, item)
    assert "ho" not in learned(tiny_language, item)


def test_a_long_question_loses_its_middle_and_never_the_answer(tiny_language: LanguageBackbone) -> None:
    batch = tiny_language.encode([{"prompt": "why " * 40, "completion": "so."}])
    assert batch["input_ids"].shape[1] <= tiny_language.max_tokens
    assert learned(tiny_language, {"prompt": "why " * 40, "completion": "so."}) == "so.</s>"
    assert float(tiny_language.loss(batch, Draw())) > 0


def test_padding_changes_no_loss(tiny_language: LanguageBackbone) -> None:
    short, long = ({"text": "a cat."}, {"text": "two dogs and a fish went home"})
    apart = [tiny_language.encode([item]) for item in (short, long)]
    with torch.no_grad():
        alone = [float(tiny_language.loss(batch, Draw())) for batch in apart]
        together = tiny_language.loss(join(apart), Draw())
    assert torch.allclose(together, torch.tensor(alone), atol=1e-5)


def test_a_loss_is_the_mean_over_learned_tokens(tiny_language: LanguageBackbone) -> None:
    batch = tiny_language.encode([ANSWERED])
    with torch.no_grad():
        theirs = tiny_language.model(input_ids=batch["input_ids"], labels=batch["labels"]).loss
        assert torch.allclose(tiny_language.loss(batch, Draw())[0], theirs, atol=1e-6)


def test_a_new_question_of_a_whole_document_is_asked_by_its_head_and_its_end(tiny_language: LanguageBackbone) -> None:
    tiny_language.model.config.max_position_embeddings = 1 << 20
    half = ASKED_TOKENS // 2
    with reading(tiny_language) as seen:
        tiny_language.answer([{"prompt": "a" * half + "b" * 900 + "c" * half}], max_new_tokens=2)
    assert len(seen[0]) == ASKED_TOKENS
    head, tail = "".join(tiny_language.tokenizer.convert_ids_to_tokens(seen[0])).split(LEFT_OUT)
    assert set(head) == {"a"}
    assert set(tail) == {"c"}


def test_a_question_that_was_learned_is_asked_exactly_as_it_was(tiny_language: LanguageBackbone) -> None:
    for item in ({"prompt": "why " * 40, "completion": "so."}, {"prompt": "why?", "completion": "so " * 40}):
        batch = tiny_language.encode([item])
        read = batch["input_ids"][0][batch["labels"][0] == IGNORED].tolist()
        with reading(tiny_language) as seen:
            tiny_language.answer([item], max_new_tokens=2)
        assert seen[0] == read


def test_no_more_tokens_are_taken_than_the_model_has_places_for(tiny_language_folder: Path) -> None:
    whole = LanguageBackbone.load(tiny_language_folder, max_tokens=1 << 20, target_modules=["q_proj"])
    assert whole.most_tokens == whole.model.config.max_position_embeddings


def test_a_question_and_its_answer_never_take_more_places_than_the_model_has(tiny_language: LanguageBackbone) -> None:
    places = tiny_language.model.config.max_position_embeddings = 16
    seen: list[int] = []
    handle = tiny_language.model.register_forward_pre_hook(
        lambda _module, _inputs, named: seen.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    tiny_language.answer([{"prompt": "b" * 100}], max_new_tokens=100)
    handle.remove()
    assert 0 < seen[0] <= places // 2  # some places may be left where a word does not fit
    assert sum(seen) <= places


def test_drawn_answers_are_the_same_for_the_same_seed_and_disturb_no_other_draws(
    tiny_language: LanguageBackbone,
) -> None:
    def drawn(seed: int, temperature: float = 2.0) -> list[str]:
        return tiny_language.answer([{"prompt": "ab"}] * 3, max_new_tokens=16, temperature=temperature, seed=seed)

    torch.manual_seed(5)
    undisturbed = torch.rand(3)
    torch.manual_seed(5)
    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) > 1
    assert len(set(drawn(1, temperature=0.0))) == 1
    assert torch.equal(torch.rand(3), undisturbed)


def test_answers_of_weights_that_ran_away_are_drawn_without_an_error(tiny_language: LanguageBackbone) -> None:
    wild = tiny_language.lora.new(2, 2.0, seed=0)
    for matrix in wild.parameters():
        matrix.detach().fill_(float("nan"))
    with tiny_language.lora.use(wild):
        assert len(tiny_language.answer([{"prompt": "ab"}] * 2, max_new_tokens=4, temperature=0.7)) == 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_how_a_models_folder_asks_to_draw_changes_no_answer(
    tiny_language: LanguageBackbone, temperature: float
) -> None:
    def answered() -> list[str]:
        return tiny_language.answer([{"prompt": "ab"}] * 2, max_new_tokens=12, temperature=temperature, seed=3)

    plain, config = answered(), tiny_language.model.generation_config
    for name, value in {"repetition_penalty": 5.0, "num_beams": 2, "min_p": 0.9, "no_repeat_ngram_size": 1}.items():
        before = getattr(config, name)
        setattr(config, name, value)
        assert answered() == plain, name
        setattr(config, name, before)
