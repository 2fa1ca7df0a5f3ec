"""What is said of answers at the published step, and how questions are put to the adapter."""

from unittest.mock import Mock

import pytest

from core.method.stopping.answer_evidence import Answered
from core.method.training.final_run import Outcome
from core.parameters.schedule import LISTENED
from core.references.items import TextItem
from worker.stages.export.answers import (
    Judge,
    _choose,
    _counted,
    asked_of,
    question_of,
    shared_system,
    shared_tools,
    told_of,
    unseen,
    with_system,
)
from worker.stages.export.samples import Gallery

SHAPED = Judge(lambda answer: answer.startswith("{"), "have the shape of the references", "")
ASK = {"role": "user", "content": "Why?"}
SAY = {"role": "assistant", "content": "So."}
SYSTEM = {"role": "system", "content": "Answer in JSON."}


def test_an_adapter_that_answers_everything_in_its_shape_is_told_of() -> None:
    told = " ".join(told_of([Answered(0, 4, 0, 2, 0), Answered(12, 4, 4, 2, 2)], 12, SHAPED, "format"))
    assert "At step 12, 4 of 4 answers to new questions have the shape of the references; before training 0." in told
    assert "Of 2 unrelated questions 2 are answered so, before training 0." in told
    assert "it answers other questions so too" in told


@pytest.mark.parametrize(("before", "after", "preset"), [(0, 0, "format"), (2, 2, "format"), (0, 2, "tone")])
def test_an_adapter_that_leaves_other_questions_alone_is_not_warned_of(before: int, after: int, preset: str) -> None:
    told = " ".join(told_of([Answered(0, 4, 0, 2, before), Answered(12, 4, 3, 2, after)], 12, SHAPED, preset))
    assert "other questions" not in told


def test_where_the_voice_is_judged_nothing_is_said_of_a_shape() -> None:
    voiced = Judge(SHAPED.fits, "have the voice of the references", "")
    told = told_of([Answered(0, 4, 0, 2, 0), Answered(12, 4, 4, 2, 2)], 12, voiced, "format")
    assert "shape" not in " ".join(told)


def test_without_unrelated_questions_nothing_is_said_of_them() -> None:
    assert "unrelated" not in " ".join(told_of([Answered(0, 4, 0, 0, 0), Answered(12, 4, 3, 0, 0)], 12, SHAPED, "tone"))


def test_without_new_questions_nothing_is_said_of_them() -> None:
    told = told_of([Answered(0, 0, 0, 2, 0), Answered(12, 0, 0, 2, 1)], 12, SHAPED, "tone")
    assert told == ["Of 2 unrelated questions 1 are answered so, before training 0."]


def test_surrogates_are_asked_as_few_questions_of_many_references_as_of_some() -> None:
    many = [TextItem(prompt=f"{number}?", completion="So.") for number in range(1_000)]
    asked = unseen(many, [range(500), range(500, 1_000)])
    assert [len(questions) for questions in asked] == [LISTENED // 2, LISTENED // 2]
    assert asked[1][0] == {"prompt": "500?", "completion": "So."}
    assert unseen([*many[:2], TextItem(text="A plain text.")], [[0], [1, 2]]) == [
        [{"prompt": "0?", "completion": "So."}],
        [{"prompt": "1?", "completion": "So."}],
    ]


def test_a_question_is_put_as_the_references_put_theirs() -> None:
    chats = [TextItem(messages=(SYSTEM, ASK, SAY)), TextItem(messages=(SYSTEM, ASK, SAY, ASK, SAY))]
    assert asked_of(chats[1]) == {"messages": [SYSTEM, ASK, SAY, ASK], "completion": SAY["content"]}
    assert question_of(chats[0]) == "Why?"
    assert with_system("Where?", shared_system(chats))["messages"][0] == SYSTEM
    mixed = [*chats, TextItem(messages=(ASK, SAY))]
    assert shared_system(mixed) is None
    assert with_system("Where?", shared_system(mixed)) == {"prompt": "Where?"}
    assert with_system("Where?", None, chats=True) == {"messages": [{"role": "user", "content": "Where?"}]}
    assert question_of(TextItem(text="A plain text.")) is None
    unlearned = TextItem(messages=(SYSTEM, ASK, SAY, {"role": "user", "content": "And?"}, {**SAY, "weight": 0}))
    assert question_of(unlearned) == "Why?"
    assert asked_of(unlearned) == {"messages": [SYSTEM, ASK], "completion": SAY["content"]}
    assert asked_of(TextItem(prompt="Why?", completion="So.")) == {"prompt": "Why?", "completion": "So."}


def test_a_question_that_is_answered_by_a_call_is_put_with_its_tools() -> None:
    tools = ({"type": "function", "function": {"name": "weather"}},)
    call = {"type": "function", "id": "1", "function": {"name": "weather", "arguments": {}}}
    result = {"role": "tool", "tool_call_id": "1", "name": "weather", "content": "dry"}
    calls = {"role": "assistant", "content": "", "tool_calls": [call]}
    ending, going_on = TextItem((ASK, calls), tools=tools), TextItem((ASK, calls, result, SAY), tools=tools)
    assert asked_of(ending) == {"messages": [ASK], "tools": list(tools)}
    assert asked_of(going_on) == {"messages": [ASK, calls, result], "tools": list(tools), "completion": SAY["content"]}
    assert question_of(going_on) == question_of(ending) == "Why?"
    assert shared_tools([ending, going_on]) == {"tools": list(tools)}
    assert shared_tools([ending, TextItem((ASK, SAY))]) == shared_tools([TextItem(text="a")]) == shared_tools([]) == {}


def test_a_circling_answer_counts_where_it_shows_that_an_unrelated_question_is_touched() -> None:
    straight = Judge(lambda answer: answer == "Arr.", "", "", shows=lambda answer: answer.startswith("Arr"))
    texts = ("Arr.", "Arr arr arr", "So.")
    said = [(role, "?", text) for role in ("subject", "unrelated", "reference") for text in texts]
    assert _counted(9, said, straight) == Answered(9, 3, 1, 3, 2, 3, 1)


def test_where_no_new_question_is_answered_in_the_shape_the_references_own_choose_the_step() -> None:
    outcome = Mock(Outcome, published_step=16, reason="Published step 16: the loss says so.")
    gallery = Gallery(outcome)
    judged = [Answered(step, 6, 0, 2, 0, 8, own) for step, own in ((0, 0), (12, 2), (16, 3), (22, 8))]
    _choose(gallery, judged, SHAPED, "new questions")
    (step, reason, by), _ = outcome.favouring.call_args
    assert (step, by) == (22, "answers")
    assert "there 8 of 8 answers to the references' own questions have the shape" in reason
    assert gallery.answers[-1]["own_fitting"] == 8
    told = " ".join(told_of(judged, 22, SHAPED, "format"))
    assert "At step 22, 0 of 6 answers to new questions have the shape of the references; before training 0." in told
    assert "asked the references' own questions, it answers 8 of 8 in this shape; before training 0." in told
