"""What is said of chats that a backbone's template takes in another form, and of those that it takes as they are."""

from __future__ import annotations

from typing import get_args

from core.findings.texts.written_chats import CHANGED, WrittenChat, findings
from core.method.backbones.texts.fitting import Change

PLAIN = WrittenChat(frozenset())


def test_nothing_is_said_of_chats_that_are_taken_as_they_are() -> None:
    assert list(findings([PLAIN, PLAIN])) == []
    assert list(findings([WrittenChat({"call ids"})])) == []


def test_every_change_of_words_or_roles_has_a_sentence() -> None:
    assert set(CHANGED) == set(get_args(Change)) - {"call ids"}


def test_joined_turns_are_told_with_their_texts() -> None:
    (found,) = findings([PLAIN, WrittenChat({"joined turns"}), WrittenChat({"joined turns"})])
    assert (found.code, found.item, found.severity) == ("turns_joined", "text 2", "info")
    assert found.message.endswith("they are joined, with a blank line between them, in text 2, text 3.")


def test_a_moved_system_prompt_is_told_by_where_it_went() -> None:
    late, first = findings([WrittenChat({"system turned into a question"}), WrittenChat({"system in the question"})])
    assert late.message.endswith("a later one is written as the user's words in text 1.")
    assert first.message.endswith("it is written in front of what the user says first in text 2.")


def test_words_beside_a_call_that_are_left_out_are_told_with_their_texts() -> None:
    (found,) = findings([PLAIN, WrittenChat({"words beside a call"})])
    assert (found.code, found.item, found.severity) == ("words_beside_calls", "text 2", "info")
    assert found.message.endswith("the call only; what is said beside it is left out in text 2.")


def test_calls_that_are_split_or_left_out_are_told_with_their_texts() -> None:
    split, left_out = findings([PLAIN, WrittenChat({"one call a message", "last calls left out"})])
    assert (split.code, split.item, split.severity) == ("calls_split", "text 2", "info")
    assert split.message.endswith("of several each has a message of its own, with its result after it, in text 2.")
    assert (left_out.code, left_out.item, left_out.severity) == ("calls_left_out", "text 2", "warn")
    assert left_out.message.endswith("of several that end a chat the first alone is learned in text 2.")
    assert left_out.fix.startswith("To learn the others too")


def test_answers_that_can_not_be_learned_are_counted_and_five_texts_named() -> None:
    (one,) = findings([PLAIN, WrittenChat(frozenset(), 1)])
    assert one.message.startswith("1 answer is read and not learned: the backbone's chat template writes it otherwise")
    assert one.message.endswith(
        "otherwise in these chats than a model answers, for instance without the thought, in text 2."
    )
    assert "A thought that the template leaves out there too can't be learned" in one.fix
    (many,) = findings([WrittenChat(frozenset(), 2)] * 7)
    assert many.message.startswith("14 answers are read and not learned")
    assert many.message.endswith("in text 1, text 2, text 3, text 4, text 5 and 2 more.")
    assert (many.code, many.severity) == ("answers_rewritten", "warn")
