"""What a backbone makes itself: untouched, the same for the same seed, and none of what jobs are judged by."""

from __future__ import annotations

from pathlib import Path

import torch

from core.backbones.record import OTHERS, UNRELATED
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection import own
from core.parameters.sample_prompts import EVERYDAY_QUESTIONS
from core.references.content import content, resembles, same_content
from tests.word_backbones import write_words

CHAT = "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }} . {% endfor %}"


def test_plain_prompts_and_questions_are_many_different_and_no_job_is_judged_by_one() -> None:
    prompts, questions = own.plain_prompts(), own.plain_questions()
    assert len(set(prompts)) == len(prompts) >= 90
    assert len(set(questions)) == len(questions) >= 40
    judged = [content(words) for words in (*UNRELATED["images"], *OTHERS["images"])]
    assert not [words for words in prompts if any(same_content(content(words), one) for one in judged)]
    asked = [content(words) for words in (*EVERYDAY_QUESTIONS, *UNRELATED["texts"], *OTHERS["texts"])]
    assert not [words for words in questions if any(resembles(content(words), one) for one in asked)]


def test_whatever_is_taken_from_the_beginning_of_a_list_is_of_all_its_kinds() -> None:
    assert own.mixed("aaaabbbbccccdddd")[:4] == ["a", "b", "c", "d"]
    assert sorted(own.mixed(own.plain_prompts())) == sorted(own.plain_prompts())


def test_pictures_are_the_untouched_backbones_whatever_adapter_is_in_use(tiny_diffusion: DiffusionBackbone) -> None:
    backbone, prompts = tiny_diffusion, ["a dog", "a boat"]
    backbone.prompts.hold(["of a job"])
    backbone.drawn_size = (32, 16)
    first = own.draw_pictures(backbone, prompts, 5)
    adapter = backbone.lora.new(4, 4.0, seed=1)
    for tensor in adapter.tensors().values():
        torch.nn.init.normal_(tensor)
    with backbone.lora.use(adapter):
        again = own.draw_pictures(backbone, prompts, 5)
    assert [picture.tobytes() for picture in first] == [picture.tobytes() for picture in again]
    assert [picture.size for picture in first] == [(16, 16)] * 2
    assert backbone.prompts.held == {"of a job"}
    assert own.draw_pictures(backbone, prompts, 6)[0].tobytes() != first[0].tobytes()


def test_texts_end_with_a_sentence_and_are_the_same_for_the_same_round(tmp_path: Path) -> None:
    backbone = write_words(tmp_path / "words")
    before = torch.random.get_rng_state()
    first = own.write_round(backbone, 1, 7)
    assert first
    assert all(len(item["text"].split()) >= own.FEWEST_WORDS and item["text"][-1] in ".!?" for item in first)
    assert own.write_round(backbone, 1, 7) == first != own.write_round(backbone, 2, 7)
    assert torch.equal(torch.random.get_rng_state(), before)  # of which a job's own chance is made


def test_a_chat_model_also_answers_plain_questions_in_its_own_format(tmp_path: Path) -> None:
    backbone = write_words(tmp_path / "words", template=CHAT)
    texts, answers = own.write_round(backbone, 0, 7), own.write_round(backbone, 1, 7)
    assert all("text" in item for item in texts)
    assert answers
    for item in answers:
        question, answer = item["messages"]
        assert question["content"] in own.plain_questions()
        assert answer["role"] == "assistant"
        assert answer["content"]
        assert backbone.refuses(item) is None


def test_what_has_no_sentence_is_no_text(tmp_path: Path) -> None:
    backbone = write_words(tmp_path / "endless", ends="")
    assert own.write_round(backbone, 0, 7) == []


def test_a_model_of_few_places_writes_no_more_than_these(tiny_language: LanguageBackbone) -> None:
    row = tiny_language.rendering.ids("one of the") * 11
    assert tiny_language.places - len(row) < own.NEW_TOKENS
    own.write_texts(tiny_language, ["one of the" * 11], 3)
