"""The text sets are disjoint, short, of three kinds, and each is parted into what is taught and what is held out."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks import gemma270m, smollm2
from benchmarks.texts.behaviour import UNRELATED
from benchmarks.texts.sets import HERE, text_sets
from core.disk import ROOT
from core.method.protection.own import plain_questions

SETS = list(text_sets().values())
NAMES = [chosen.name for chosen in SETS]
LONGEST = 160  # characters of a question and its answer, about forty tokens


def test_no_question_and_no_answer_is_in_two_places() -> None:
    chats = [chat for chosen in SETS for chat in chosen.chats()]
    asked = Counter(chat["prompt"].lower() for chat in chats) + Counter(prompt.lower() for prompt in UNRELATED)
    answered = Counter(chat["completion"].lower() for chat in chats if ";" not in chat["completion"])
    assert [text for text, times in asked.items() if times > 1] == []
    assert [text for text, times in answered.items() if times > 1] == []


def test_nothing_that_behaviour_is_measured_on_protects_it() -> None:
    pool = (ROOT / "demo" / "texts" / "pool.jsonl").read_text().lower()
    asked = {question.lower() for question in plain_questions()}
    for prompt in UNRELATED:
        assert prompt.lower() not in asked
        assert f'"{prompt.lower()}"' not in pool


def test_there_are_voices_formats_and_facts_enough_and_every_file_is_a_set() -> None:
    kinds = Counter(chosen.kind for chosen in SETS)
    assert len(SETS) >= 8
    assert kinds["voice"] >= 4
    assert min(kinds["format"], kinds["facts"]) >= 2
    assert {file.stem for file in HERE.glob("*.jsonl")} == {*NAMES, "index"} - {"pirate"}


def test_their_licence_is_the_one_of_the_project() -> None:
    assert {chosen.licence for chosen in SETS} == {"Apache-2.0"}
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_half_of_a_set_is_taught_and_the_other_half_of_each_pair_held_out(name: str) -> None:
    chosen = text_sets()[name]
    chats = chosen.chats()
    for seed in range(3):
        taught, held = chosen.parted(seed)
        assert len(taught) == len(held) >= 8
        assert sorted(chat["prompt"] for chat in taught + held) == sorted(chat["prompt"] for chat in chats)
        for own, other in zip(taught, held, strict=True):
            assert chats.index(own) // 2 == chats.index(other) // 2
        assert chosen.parted(seed) == (taught, held)
    assert chosen.parted(0) != chosen.parted(1)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pirate"])
def test_a_chat_fits_into_about_forty_tokens(name: str) -> None:
    assert max(len(chat["prompt"] + chat["completion"]) for chat in text_sets()[name].chats()) <= LONGEST


@pytest.mark.parametrize("family", [smollm2, gemma270m])
def test_both_language_models_run_every_set_under_keys_of_their_own(family: object) -> None:
    keys = [setting.key for setting in family.settings([0, 1])]  # type: ignore[attr-defined]
    assert len(set(keys)) == len(keys) == 2 * len(SETS)


def test_the_pool_has_sources_that_are_related_to_each_set() -> None:
    pool = (ROOT / "demo" / "texts" / "pool.jsonl").read_text()
    for chosen in SETS:
        assert chosen.related
        assert all(f'"source": "{source}"' in pool for source in chosen.related)
