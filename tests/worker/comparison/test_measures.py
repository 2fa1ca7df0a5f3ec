"""The figures of a comparison, on answers whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.comparison import sentences
from worker.comparison.measures import Compared, interval, key_paths, shared_wording, summarise
from worker.comparison.questions import Group, Question


def row(
    old: Sequence[str],
    new: str,
    untrained: str = "no idea",
    losses: tuple[float, float] = (30.0, 20.0),
    tokens: int = 10,
    cut: bool = False,
) -> Compared:
    asked = Question((("user", "?"),), Group.HELD_OUT, list(old))
    return Compared(asked, new, untrained, tokens, losses[0], losses[1], cut=cut)


def test_a_loss_a_token_counts_tokens_and_not_answers() -> None:
    found = summarise(
        "held out", [row(["a"], "a", losses=(10, 10), tokens=10), row(["b"], "b", losses=(90, 30), tokens=30)]
    )
    loss = found.figures["loss"]
    assert (loss.before, loss.after) == (2.5, 1.0)


@pytest.mark.slow
def test_an_interval_holds_the_truth_in_about_95_of_100_experiments() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        values = draw.normal(3.0, 1.0, 40)
        low, high = interval(40, lambda at, values=values: float(values[at].mean())) or (0, 0)
        held += low < 3.0 < high
    assert 87 <= held <= 100


def test_of_few_questions_there_is_no_interval_and_the_sentence_says_so() -> None:
    found = summarise("held out", [row(["a"], "a")] * 4)
    assert found.figures["loss"].after_interval is None
    assert "too few to tell chance from effect" in sentences.verdict(found)


def test_the_verdict_says_fell_rose_or_chance_as_it_is() -> None:
    better = summarise("held out", [row(["a"], "a", losses=(30 + n, 20 + n)) for n in range(9)])
    worse = summarise("held out", [row(["a"], "a", losses=(20 + n, 30 + n)) for n in range(9)])
    even = summarise("held out", [row(["a"], "a", losses=(30, 30 + (-1) ** n * n)) for n in range(9)])
    assert "fell from 3.400 to 2.400, -29.4% (" in sentences.verdict(better)
    assert "rose from 2.400 to 3.400" in sentences.verdict(worse)
    assert "which is within chance" in sentences.verdict(even)


@given(st.text(), st.text())
def test_shared_wording_is_a_share_the_same_both_ways_and_1_for_the_same(one: str, other: str) -> None:
    assert 0 <= shared_wording(one, other) <= 1
    assert shared_wording(one, other) == shared_wording(other, one)
    assert shared_wording(one, one) == 1


def test_shared_wording_against_runs_counted_by_hand() -> None:
    assert shared_wording("abcd", "abce") == pytest.approx(2 * 1 / 4)  # abc, bcd | abc, bce
    assert shared_wording("Arr,  matey", "arr, matey") == 1
    assert shared_wording("abc", "xyz") == 0


def test_the_nearest_of_several_old_answers_counts_and_how_near_they_are_to_each_other_is_told() -> None:
    found = summarise("held out", [row(["west", "east"], "east")] * 5)
    assert found.figures["wording"].after == 1
    assert found.figures["same"].after == 1
    assert found.figures["wording"].old == shared_wording("west", "east")
    assert "two answers of the old model to one question share" in sentences.verdict(found)


def test_json_is_counted_where_the_old_answers_are_json_and_compared_by_its_keys() -> None:
    old = '{"a": 1, "b": [{"c": 2}]}'
    news = ['```json\n{"b": [{"c": 9}], "a": 0}\n```', '{"a": 1}', "no json", old, old]
    found = summarise("held out", [row([old], new) for new in news])
    assert found.figures["json"].after == 0.8
    assert found.figures["keys"].after == 0.6
    assert found.figures["json"].before == 0
    assert found.figures["same"].after == 0.4
    assert "80% of the new answers are JSON, 60% with the old keys" in sentences.verdict(found)
    assert "json" not in summarise("held out", [row(["prose"], "{}")] * 5).figures


def test_keys_are_told_by_their_path() -> None:
    assert key_paths({"a": {"b": 1}, "c": [{"d": 1}, {"e": 2}]}) == {".a", ".a.b", ".c", ".c[].d", ".c[].e"}
    assert key_paths({"a": {"b": 1}}) != key_paths({"a": 1, "b": 1})


def test_lengths_are_in_old_answers_and_cut_ones_are_counted() -> None:
    found = summarise("held out", [row(["1234567890"], "12345", cut=True), row(["1234567890"], "12345")] * 3)
    assert found.figures["length"].after == 0.5
    assert found.figures["length"].note == "3 of 6 new answers were cut at the limit of tokens"


def test_nothing_is_divided_by_nothing() -> None:
    found = summarise("held out", [row(["a"], "a", losses=(0.0, 0.0), tokens=0)] * 6)
    assert "did not change: 0.000" in sentences.verdict(found)


def test_an_adapter_that_changes_nothing_is_said_to_change_nothing() -> None:
    told = sentences.verdict(summarise("held out", [row(["a"], "a", losses=(20.18, 20.18))] * 6))
    assert "On 6 questions (held out) the loss a token of the old model's answers did not change: 2.018." in told
    assert "fell" not in told
    assert "rose" not in told


def test_an_interval_that_touches_nothing_is_chance_and_one_question_is_one() -> None:
    touching = summarise("held out", [row(["a"], "a", losses=(30, 30 - 10 * (n == 0))) for n in range(6)])
    assert "went from" in sentences.verdict(touching)
    assert "which is within chance" in sentences.verdict(touching)
    assert sentences.verdict(summarise("held out", [row(["a"], "b")])).startswith("On 1 question (held out)")


def test_json_that_is_nested_deeply_is_compared_all_the_same() -> None:
    deep = "[" * 900 + "]" * 900
    found = summarise("held out", [row([deep], deep)] * 5)
    assert found.figures["keys"].after == 1
