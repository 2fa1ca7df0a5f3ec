"""The bench's measures say yes to what is right and no to what is not."""

from __future__ import annotations

import json

import pytest
from PIL import Image, ImageDraw

from benchmarks.presets import answers
from benchmarks.presets.conversions import CONVERSIONS, convert, pool_pictures
from benchmarks.presets.pictures import KeptJudge, StyleJudge, SubjectJudge, TraitJudge
from benchmarks.presets.sets import EVERYDAY, NEW, SETS, SUBJECTS
from benchmarks.presets.verdicts import Verdict, accepted, mean_score, worth

POOL = pool_pictures()
TEXTS = [name for name, chosen in SETS.items() if chosen.kind == "texts"]
PLAIN_ANSWER = "Put them in clean water and cut the stems, then keep them away from the sun."


def small(picture: Image.Image) -> Image.Image:
    return picture.resize((32, 32), Image.Resampling.LANCZOS)


def subject_judge(name: str) -> SubjectJudge:
    known = [POOL["ghost"], POOL["owl"], POOL["robot face"]]
    return SubjectJudge(name, SETS[name].pictures(), known, list(POOL.values())[:40])


def said(name: str) -> list[str]:
    return [str(chat["messages"][1]["content"]) for chat in SETS[name].chats()]


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subjects_own_pictures_are_accepted(name: str) -> None:
    verdicts = subject_judge(name).asked([small(picture) for picture in SETS[name].pictures()])
    assert accepted(verdicts) == 6
    assert mean_score(verdicts) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_what_the_backbone_knows_of_the_class_is_not_the_subject(name: str) -> None:
    [verdict] = subject_judge(name).asked([POOL[SUBJECTS[name]]])
    assert not verdict.accepted
    assert verdict.checks["nearest"] == 0
    assert verdict.score < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_another_subject_is_not_this_one(name: str) -> None:
    others = [small(SETS[other].pictures()[0]) for other in SUBJECTS if other != name]
    assert accepted(subject_judge(name).asked(others)) == 0


def test_a_ghost_without_a_face_or_without_a_hat_is_not_accepted() -> None:
    faceless, hatless = (SETS["ghost"].pictures()[0] for _ in range(2))
    ImageDraw.Draw(faceless).rectangle((38, 50, 90, 95), fill=(134, 62, 196))
    ImageDraw.Draw(hatless).rectangle((0, 0, 127, 43), fill=(255, 255, 255))
    judge = TraitJudge("ghost", SETS["ghost"].pictures())
    without_face, without_hat = (judge.shares(small(picture)) for picture in (faceless, hatless))
    assert (without_face["hat"], without_face["left eye"], without_face["right eye"]) == (1, 0, 0)
    assert without_hat["hat"] < 1
    assert without_hat["left eye"] == 1
    assert not judge.accepts(without_face)
    assert not judge.accepts(without_hat)


def test_a_violet_block_is_not_a_ghost() -> None:
    block = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(block).rectangle((7, 8, 25, 30), fill=(134, 62, 196))
    [verdict] = subject_judge("ghost").asked([block])
    assert not verdict.accepted


@pytest.mark.parametrize("name", CONVERSIONS)
def test_new_contents_in_the_style_are_accepted_and_untouched_ones_are_not(name: str) -> None:
    before = [POOL[content] for content in NEW]
    judge = StyleJudge(name, SETS[name].pictures(), before)
    assert accepted(judge.asked([small(convert(name, picture)) for picture in before])) == len(NEW)
    assert accepted(judge.asked(before)) == 0


@pytest.mark.parametrize("name", CONVERSIONS)
def test_another_style_and_another_content_are_not_accepted(name: str) -> None:
    before = [POOL[content] for content in NEW]
    judge = StyleJudge(name, SETS[name].pictures(), before)
    other = next(style for style in CONVERSIONS if style != name)
    assert accepted(judge.asked([small(convert(other, picture)) for picture in before])) == 0
    swapped = [small(convert(name, picture)) for picture in (*before[1:], before[0])]
    assert accepted(judge.asked(swapped)) == 0


def test_unrelated_pictures_are_kept_until_they_change() -> None:
    before, references = [POOL[content] for content in NEW], SETS["ghost"].pictures()
    judge = KeptJudge(before, references)
    assert accepted(judge.unrelated(before)) == len(NEW)
    assert accepted(judge.unrelated([small(references[0])] * len(NEW))) == 0
    assert accepted(judge.unrelated([*before[1:], before[0]])) == 0
    styled = [small(convert("duotone", picture)) for picture in before]
    assert accepted(KeptJudge(before, SETS["duotone"].pictures(), styled).unrelated(styled)) == 0


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_sets_own_answers_are_accepted_and_plain_ones_are_not(name: str) -> None:
    assert accepted(answers.judge(name, said(name))) == 12
    assert accepted(answers.judge(name, [PLAIN_ANSWER, ""])) == 0


@pytest.mark.parametrize("name", TEXTS)
def test_answers_of_another_set_are_not_accepted(name: str) -> None:
    others = [text for other in TEXTS if other != name for text in said(other)]
    assert accepted(answers.judge(name, others)) == 0


def test_a_voice_that_only_repeats_itself_is_not_accepted() -> None:
    assert not answers.judge("pirate", ["Arr matey arr matey arr matey arr matey arr matey"])[0].accepted


@pytest.mark.parametrize(
    "text",
    [
        '{"product": "pen", "mood": "fine", "stars": 4}',
        '{"product": "pen", "mood": "good", "stars": 6}',
        '{"product": "pen", "mood": "good", "stars": "4"}',
        '{"product": "", "mood": "good", "stars": 4}',
        '{"product": "pen", "mood": "good"}',
        '{"product": "pen", "mood": "good", "stars": 4, "why": "ink"}',
        '{"product": "pen", "mood": "good", "stars": 4',
        'Here it is: {"product": "pen", "mood": "good", "stars": 4}',
        '["product", "mood", "stars"]',
    ],
)
def test_json_that_is_not_quite_the_format_is_not_valid(text: str) -> None:
    assert not answers.judge("review", [text])[0].accepted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels", "Summary: a\nSteps: b"),
        ("labels", "Steps: b\nSummary: a\nNote: c"),
        ("labels", "Summary: a\nSteps: b\nNote:"),
        ("labels", "Summary: a\nSteps: b\nNote: c\nNote: d"),
        ("three", "1. a\n2. b\n3. c"),
        ("three", "1. a\n2. b\nPick one and start today."),
        ("three", "1. a\n2. b\n3. c\n4. d\nPick one and start today."),
        ("three", "1. a\n2. a\n3. c\nPick one and start today."),
    ],
)
def test_a_format_with_a_part_missing_or_too_many_is_not_valid(name: str, text: str) -> None:
    assert not answers.judge(name, [text])[0].accepted


def test_the_worth_of_a_subject_falls_with_what_it_swallows_and_that_of_a_style_does_not() -> None:
    good, bad = Verdict(1.0, True, {}), Verdict(0.0, False, {})
    assert worth([good, good], [good, bad], everywhere=False) == 0.5
    assert worth([good, good], [good, bad], everywhere=True) == 1


def test_nothing_that_is_asked_for_afterwards_was_trained_on() -> None:
    for chosen in SETS.values():
        if chosen.preset != "subject":
            assert not {*chosen.asked} & {*chosen.words}
        assert not {*chosen.unrelated} & {*chosen.words}
        assert len(chosen.asked) == (8 if chosen.kind == "images" else 6)
    assert json.dumps(EVERYDAY) not in json.dumps([chat for name in TEXTS for chat in SETS[name].chats()])


def test_every_preset_with_a_task_of_its_own_has_three_sets() -> None:
    presets = [chosen.preset for chosen in SETS.values()]
    assert {preset: presets.count(preset) for preset in presets} == {"subject": 3, "style": 3, "tone": 3, "format": 3}
