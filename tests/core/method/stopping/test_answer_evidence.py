"""The step that answers favour beside the loss, on made-up counts."""

import pytest

from core.method.stopping.answer_evidence import Answered, choose

WHAT = "have the voice of the references"
LOSS = "Published step 16: the loss says so."


def judged(*rows: tuple[int, int]) -> list[Answered]:
    return [Answered(step, 6, fitting, 2, 0) for step, fitting in rows]


def test_clearly_more_answers_at_another_step_overrule_the_loss() -> None:
    evidence = choose(judged((0, 0), (12, 0), (16, 1), (22, 6), (29, 6)), 16, LOSS, WHAT)
    assert evidence.published_step == 22
    assert evidence.reason == (
        "Published step 22, not step 16, which the stopping rules name: there 6 of 6 answers to new questions have the "
        "voice of the references; at step 16, 1."
    )


def test_one_answer_more_leaves_the_step_of_the_loss() -> None:
    evidence = choose(judged((0, 0), (16, 5), (22, 6)), 16, LOSS, WHAT)
    assert evidence.published_step == 16
    assert evidence.reason.startswith(LOSS)
    assert "There 5 of 6 answers to new questions have the voice of the references, at most 6 at any" in evidence.reason


def test_as_many_answers_as_anywhere_are_said_to_be_so() -> None:
    evidence = choose(judged((0, 0), (12, 6), (16, 6), (22, 4)), 16, LOSS, WHAT)
    assert evidence.published_step == 16
    assert "as many as at any kept step" in evidence.reason


def test_answers_that_never_fit_have_no_say_and_that_is_told() -> None:
    evidence = choose(judged((0, 3), (16, 0), (22, 0)), 16, LOSS, WHAT)
    assert evidence.published_step is None
    assert "At no kept step do any of the 6 answers to new questions have the voice" in evidence.reason


def test_without_a_question_nothing_is_said() -> None:
    silent = choose([Answered(16, 0, 0, 0, 0)], 16, LOSS, WHAT)
    assert (silent.published_step, silent.reason) == (None, "")


def test_questions_that_are_not_new_are_not_called_new() -> None:
    told = [
        choose(judged((0, 0), *rows), 16, LOSS, WHAT, "the sampled questions").reason
        for rows in (((16, 0),), ((16, 5),), ((16, 1), (22, 6)))
    ]
    assert all("the sampled questions have the voice" in reason for reason in told)
    assert not any("new questions" in reason for reason in told)


def voiced(*rows: tuple[int, int, float]) -> list[Answered]:
    return [Answered(step, 10, fitting, 2, 0, voice=(voice,) * 10) for step, fitting, voice in rows]


def test_a_voice_is_there_at_the_first_step_that_has_about_as_much_of_it_as_any() -> None:
    evidence = choose(voiced((0, 0, 0.0), (12, 6, 0.2), (16, 8, 0.3), (22, 9, 0.56), (32, 8, 0.6)), 16, LOSS, WHAT)
    assert evidence.published_step == 22
    begin = "Published step 22, not step 16, which the stopping rules name: the first kept step whose answers have at "
    assert evidence.reason.startswith(begin)
    assert "There 9 of 10 answers to new questions have the voice of the references, as many as" in evidence.reason
    assert "On average all of them have 0.56 of that voice (1: as much as the references' own" in evidence.reason
    assert evidence.reason.endswith("at best 0.60; at step 16, 0.30.")


def test_a_step_of_the_loss_that_has_the_voice_is_left() -> None:
    evidence = choose(voiced((0, 0, 0.0), (12, 6, 0.57), (16, 8, 0.55), (22, 9, 0.6)), 16, LOSS, WHAT)
    assert evidence.published_step == 16
    assert evidence.reason.startswith(LOSS)
    assert "at most 9 at any kept step. On average all of them have 0.55 of that voice" in evidence.reason


@pytest.mark.parametrize(
    ("here", "other"),
    [
        ((0.0, 1.0) * 5, (1.0, 0.2) * 5),  # more on average, by less than it differs from question to question
        ((0.1, 0.1, 0.1), (0.9, 0.9, 0.9)),  # too few answers to say
    ],
)
def test_a_voice_that_may_be_stronger_by_chance_leaves_the_step_of_the_loss(
    here: tuple[float, ...], other: tuple[float, ...]
) -> None:
    rows = [Answered(step, len(voice), 3, 2, 0, voice=voice) for step, voice in ((16, here), (22, other))]
    assert choose(rows, 16, LOSS, WHAT).published_step == 16


def test_a_step_with_clearly_fewer_answers_in_the_voice_is_not_taken() -> None:
    assert choose(voiced((12, 2, 0.56), (16, 5, 0.3)), 16, LOSS, WHAT).published_step == 16
    assert choose(voiced((12, 0, 0.35), (16, 1, 0.1)), 16, LOSS, WHAT).published_step == 16
