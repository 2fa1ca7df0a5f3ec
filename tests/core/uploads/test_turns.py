"""Conversations as a person reads them."""

from __future__ import annotations

from core.uploads import turns

CALL = {"type": "function", "id": "1", "function": {"name": "weather", "arguments": {"city": "Köln", "days": [1, 2]}}}
LIST = {"type": "function", "id": "2", "function": {"name": "list_places", "arguments": {}}}


def test_calls_of_functions_are_told_in_words() -> None:
    said = turns.plain({"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, LIST]})
    assert said == "Let me look.\ncalls weather with city: Köln, days: [1, 2]\ncalls list_places"
    assert turns.plain({"role": "assistant", "content": "", "tool_calls": [LIST]}) == "calls list_places"


def test_every_turn_is_shown_and_only_what_is_long_is_cut() -> None:
    messages = [
        {"role": "system", "content": "s" * 5000},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "a" * 900, "weight": 0},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "b" * 3000},
    ]
    shown = turns.shown(messages)
    assert [len(turn["content"]) for turn in shown] == [662, 4, 662, 9, 662]
    assert sum(len(turn["content"]) for turn in shown) <= turns.SHOWN_CHARACTERS
    assert [turn["cut"] for turn in shown] == [True, False, True, False, True]
    assert [turn["learned"] for turn in shown] == [False, False, False, False, True]


def test_a_hundred_long_turns_are_cut_alike() -> None:
    shown = turns.shown([{"role": "user", "content": "x" * 500}] * 100)
    assert {len(turn["content"]) for turn in shown} == {20}
    assert [turn["content"] for turn in turns.shown([{"role": "user", "content": "x" * 2000}])] == ["x" * 2000]
