"""A chat is read as a server sends it, and of it exactly the answers are learned, whatever the template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import date
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from core.errors import InvalidInput
from core.method.backbones.backbone import IGNORED, Item
from core.method.backbones.texts.cutting import asked, cut
from core.method.backbones.texts.rendering import Framing, Rendered, Rendering
from core.method.backbones.texts.template import DAY, Refused
from tests.core.method.backbones.texts.templates import MODELS, tokenizer

NAMES = tuple(MODELS)
TODAY = {  # as the templates ask for it, on the day of jobs that carry none
    "strftime_now('%d %b %Y')": "'01 Jan 2026'",
    "strftime_now('%d %B %Y')": "'01 January 2026'",
    "strftime_now('%Y-%m-%d')": "'2026-01-01'",
    "strftime_now('%B %d, %Y')": "'January 01, 2026'",
}
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"


def reader(name: str, day: date = DAY) -> Rendering:
    tokens, model = tokenizer(name), MODELS[name]
    return Rendering(tokens, [int(tokens.convert_tokens_to_ids(stop)) for stop in model.stops], day)


READERS = {name: reader(name) for name in NAMES}


def chat(*said: str, system: str | None = None, unlearned: Sequence[int] = ()) -> dict[str, object]:
    turns: list[dict[str, object]] = [
        {"role": ("user", "assistant")[at % 2], "content": words} | ({"weight": 0} if at in unlearned else {})
        for at, words in enumerate(said)
    ]
    return {"messages": [{"role": "system", "content": system}, *turns] if system else turns}


def read(reader: Rendering, item: Mapping[str, object]) -> Rendered:
    return reader.tokens(reader.messages(item), reader.framing(item, answered=True))


def learned(reader: Rendering, rendered: Rendered) -> list[str]:
    """Return each stretch that is learned, as text."""
    runs = groupby(rendered.labels, key=lambda label: label != IGNORED)
    return [str(reader.tokenizer.decode(list(labels))) for inside, labels in runs if inside]


def whole(reader: Rendering, item: Item) -> list[int]:
    """Return what a server makes of a chat, on the day of jobs that carry none."""
    framing = reader.framing(item, answered=True)
    fitted = reader.fit(reader.messages(item), framing).messages
    switch = {"enable_thinking": framing.thoughts} if reader.template.thinks else {}
    plain = [{name: value for name, value in message.items() if name != "weight"} for message in fitted]
    template = str(reader.tokenizer.chat_template)
    for call, told in TODAY.items():
        template = template.replace(call, told)
    server = reader.tokenizer.apply_chat_template
    return list(server(plain, tokenize=True, return_dict=False, chat_template=template, **switch))


words = st.text("the thin red cat:-<>/é漢👩 \n", min_size=1, max_size=40).filter(lambda said: bool(said.strip()))


@pytest.mark.parametrize("name", NAMES)
@given(
    said=st.lists(words, min_size=2, max_size=6), system=st.none() | words, unlearned=st.sets(st.sampled_from([1, 3]))
)
@settings(max_examples=40)
def test_of_any_chat_exactly_the_answers_and_their_ends_are_learned(
    name: str, said: list[str], system: str | None, unlearned: set[int]
) -> None:
    found, model = READERS[name], MODELS[name]
    said = said[: len(said) // 2 * 2]
    item = chat(*said, system=system, unlearned=sorted(unlearned))
    rendered = read(found, item)
    assert rendered.ids == whole(found, item)
    assert all(label in (IGNORED, token) for token, label in zip(rendered.ids, rendered.labels, strict=True))
    opening = "<|channel|>final<|message|>" if name == "gpt-oss" else ""
    wanted = []
    for at in range(1, len(said), 2):
        mark = model.mark if at == len(said) - 1 or model.later is None else model.later
        wanted += [] if at in unlearned else [(opening, said[at].strip(), mark)]
    heard = [run.strip() for run in learned(found, rendered)]
    assert len(heard) == len(wanted)
    for run, (start, words, end) in zip(heard, wanted, strict=True):
        assert run.startswith(start)
        assert run.endswith(end)
        assert run.removeprefix(start).removesuffix(end).strip() == words
    assert rendered.left == 0


@pytest.mark.parametrize("name", NAMES)
@given(said=st.lists(words, min_size=2, max_size=6), system=st.none() | words, room=st.integers(60, 260))
@settings(max_examples=25)
def test_what_is_cut_fits_and_is_learned_under_every_template(
    name: str, said: list[str], system: str | None, room: int
) -> None:
    found, said = READERS[name], said[: len(said) // 2 * 2]
    item = chat(*said, system=system)
    kept = cut(found, item, room)
    assert len(kept.kept) <= room
    assert kept.kept.asked < len(kept.kept)
    assert bool(kept.lost) == (kept.whole > room)
    question = asked(found, {"messages": item["messages"][:-1]}, 10_000)  # type: ignore[index]
    if not kept.lost:  # a server sends what stood before the answer, unless the first word swallows a blank of it
        before = kept.kept.first(kept.kept.asked)
        sent = str(found.tokenizer.decode(question.kept.ids))
        assert sent.startswith(str(found.tokenizer.decode(before.ids)).rstrip()) or name in ("r1", "mistral")


def test_the_tokens_of_a_chat_are_those_of_the_whole_and_not_of_its_parts() -> None:
    plain = deepcopy(tokenizer("olmo2"))
    plain.chat_template = None
    found = Rendering(plain)
    rendered = read(found, chat("Who?", "the cat"))
    assert rendered.ids == found.ids("user: Who?\nassistant: the cat\n")
    assert rendered.ids != found.ids("user: Who?\nassistant: ") + found.ids("the cat\n")
    assert learned(found, rendered) == [" the cat\n"]  # the blank is a part of the word that has to be written


@pytest.mark.parametrize("name", ["qwen3", "smollm3"])
def test_an_answer_without_a_thought_is_learned_behind_the_empty_one_that_a_server_writes(name: str) -> None:
    found = READERS[name]
    item = chat("Who?", "The cat.")
    rendered = read(found, item)
    before = str(found.tokenizer.decode(rendered.ids[: rendered.asked]))
    assert before.rstrip().endswith("<think>\n\n</think>")
    assert learned(found, rendered) == ["The cat.<|im_end|>\n"]
    asking = Framing(answered=False)
    assert found.chat([{"role": "user", "content": "Who?"}], asking) == before


@pytest.mark.parametrize("name", ["qwen3", "smollm3"])
def test_an_answer_with_a_thought_is_learned_with_it(name: str) -> None:
    found = READERS[name]
    item = chat("Who?", "<think>\nA cat, red?\n</think>\n\nThe cat.")
    rendered = read(found, item)
    assert learned(found, rendered) == ["<think>\nA cat, red?\n</think>\n\nThe cat.<|im_end|>\n"]
    opened = str(found.tokenizer.decode(rendered.ids[: rendered.asked]))
    assert opened == found.chat([{"role": "user", "content": "Who?"}], Framing(answered=False, thoughts=True))


def test_of_a_turn_whose_thought_the_template_drops_nothing_is_learned_and_it_is_counted() -> None:
    found = READERS["qwen3"]
    item = chat("Who?", "<think>\nA cat?\n</think>\n\nThe cat.", "And then?", "<think>\nWhy?\n</think>\n\nNobody.")
    rendered = read(found, item)
    assert learned(found, rendered) == ["<think>\nWhy?\n</think>\n\nNobody.<|im_end|>\n"]
    assert rendered.left == 1
    assert "A cat?" not in str(found.tokenizer.decode(rendered.ids))


def test_of_a_chat_in_which_one_answer_has_a_thought_the_empty_one_of_another_is_not_learned() -> None:
    found = READERS["qwen3"]
    item = chat("Who?", "<think>\nA cat?\n</think>\n\nThe cat.", "And then?", "Nobody.")
    rendered = read(found, item)
    assert learned(found, rendered) == ["Nobody.<|im_end|>\n"]
    assert str(found.tokenizer.decode(rendered.ids[: rendered.asked])).endswith(EMPTY_THOUGHT)


def test_where_a_template_shows_no_thought_an_answer_with_one_is_not_learned() -> None:
    found = READERS["r1"]
    rendered = read(found, chat("Who?", "<think>\nA cat?\n</think>\n\nThe cat."))
    assert (learned(found, rendered), rendered.left) == ([], 1)
    assert learned(found, read(found, chat("Who?", "The cat."))) == ["The cat.</s>"]


def test_an_end_at_which_the_model_does_not_stop_is_not_learned() -> None:
    found = READERS["gpt-oss"]
    rendered = read(found, chat("Who?", "The cat.", "And then?", "Nobody."))
    opening = "<|channel|>final<|message|>"
    assert learned(found, rendered) == [f"{opening}The cat.", f"{opening}Nobody.<|return|>"]


def test_what_follows_the_whole_is_read_and_not_learned() -> None:
    found = READERS["phi3"]
    rendered = read(found, chat("Who?", "The cat."))
    assert str(found.tokenizer.decode(rendered.ids)).endswith("The cat.<|end|>\n<|endoftext|>")
    assert learned(found, rendered) == ["The cat.<|end|>\n"]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("llama3", {"<|eot_id|>", "<|end_of_text|>"}),
        ("gemma3", {"<end_of_turn>", "<eos>"}),
        ("phi3", {"<|end|>", "<|endoftext|>"}),
        ("qwen3", {"<|im_end|>", "<|endoftext|>"}),
    ],
)
def test_a_model_stops_at_its_end_at_its_folders_and_at_the_templates(name: str, ends: set[str]) -> None:
    found = READERS[name]
    assert set(found.tokenizer.convert_ids_to_tokens(list(found.stops))) == ends


@pytest.mark.parametrize("name", ["llama3", "smollm3", "gpt-oss", "granite"])
def test_a_template_that_asks_for_today_is_told_the_jobs_day_on_any_day(name: str) -> None:
    item = chat("Who?", "The cat.")
    texts = [
        str(found.tokenizer.decode(read(found, item).ids))
        for found in (reader(name, date(2025, 3, 9)), reader(name, date(2025, 3, 9)), reader(name, date(2031, 5, 7)))
    ]
    assert texts[0] == texts[1] != texts[2]
    assert "2025" in texts[0]
    assert "2031" in texts[2]
    assert READERS[name].template.dated


def test_a_template_without_a_day_reads_the_same_on_all_days() -> None:
    found = reader("qwen3", date(2025, 3, 9))
    assert not found.template.dated
    before = read(found, chat("Who?", "The cat."))
    found.day = date(2031, 5, 7)
    assert read(found, chat("Who?", "The cat.")) == before


@pytest.mark.parametrize("name", ["gemma2", "mistral"])
def test_a_system_prompt_that_a_template_refuses_or_drops_stands_in_front_of_the_question(name: str) -> None:
    found = READERS[name]
    item = chat("Who?", "The cat.", system="Be thin.")
    assert found.fit(reader_messages(item)).changes == {"system in the question"}
    assert "Be thin.\n\nWho?" in str(found.tokenizer.decode(read(found, item).ids))


@pytest.mark.parametrize("name", ["gemma3", "qwen3", "llama3"])
def test_a_system_prompt_that_a_template_takes_is_left_as_it_is(name: str) -> None:
    assert not READERS[name].fit(reader_messages(chat("Who?", "The cat.", system="Be thin."))).changes


def reader_messages(item: Mapping[str, object]) -> list[Item]:
    return READERS["smollm2"].messages(item)


def test_turns_of_the_same_role_are_joined_where_the_template_wants_them_in_turn() -> None:
    said = [("user", "Who?"), ("user", "And why?"), ("assistant", "The cat."), ("assistant", "It is thin.")]
    item = {"messages": [{"role": role, "content": content} for role, content in said]}
    found = READERS["gemma2"]
    assert found.fit(item["messages"]).changes == {"joined turns"}
    rendered = read(found, item)
    assert "Who?\n\nAnd why?" in str(found.tokenizer.decode(rendered.ids))
    assert learned(found, rendered) == ["The cat.\n\nIt is thin.<end_of_turn>\n"]
    assert not READERS["qwen3"].fit(item["messages"]).changes


def test_of_joined_answers_nothing_is_learned_where_one_has_the_weight_0() -> None:
    said: list[Item] = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "A dog.", "weight": 0},
        {"role": "assistant", "content": "The cat."},
    ]
    assert learned(READERS["gemma2"], read(READERS["gemma2"], {"messages": said})) == []
    assert learned(READERS["qwen2"], read(READERS["qwen2"], {"messages": said})) == ["The cat.<|im_end|>\n"]


def test_what_a_template_refuses_whatever_is_done_ends_with_its_words() -> None:
    said = [{"role": "assistant", "content": "The cat."}, {"role": "user", "content": "Who?"}]
    item = {"messages": [*said, {"role": "assistant", "content": "Nobody."}]}
    with pytest.raises(Refused, match=r"does not take it: Conversation roles must alternate"):
        read(READERS["gemma2"], item)


def test_a_template_that_stumbles_is_told_as_a_sentence() -> None:
    broken = Rendering(tokenizer("smollm2"))
    broken.tokenizer.chat_template = "{{ messages[0].nobody + 1 }}"
    try:
        with pytest.raises(Refused, match=r"does not take it: .*nobody.*\.$"):
            read(broken, chat("Who?", "The cat."))
    finally:
        broken.tokenizer.chat_template = MODELS["smollm2"].template


def test_without_a_template_a_text_begins_as_a_server_lets_it_begin() -> None:
    gemma, qwen = READERS["gemma3"], READERS["qwen3"]
    assert gemma.text("cat").ids[0] == gemma.tokenizer.bos_token_id
    assert gemma.text("cat").labels[0] == IGNORED
    assert qwen.text("cat").ids == [*qwen.ids("cat"), qwen.tokenizer.eos_token_id]


def test_a_tokenizer_that_says_nothing_of_places_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not tell where its tokens stand"):
        Rendering(ByT5Tokenizer())


def _calls(*numbers: int) -> list[Item]:
    return [
        {"type": "function", "id": f"call_{number}", "function": {"name": "tide", "arguments": {"harbour": "Whitby"}}}
        for number in numbers
    ]


TOOL: Item = {
    "type": "function",
    "function": {"name": "tide", "description": "When it is high.", "parameters": {"type": "object", "properties": {}}},
}


def with_tools(calls: int = 1) -> dict[str, object]:
    messages: list[Item] = [
        {"role": "user", "content": "When is the tide?"},
        {"role": "assistant", "content": None, "tool_calls": _calls(*range(calls))},
        *({"role": "tool", "name": "tide", "tool_call_id": f"call_{at}", "content": f"at {at}"} for at in range(calls)),
        {"role": "assistant", "content": "At nine."},
    ]
    return {"messages": messages, "tools": [TOOL]}


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama3", "mistral"])
def test_a_call_of_a_tool_is_learned_as_an_answer_is_and_its_result_is_not(name: str) -> None:
    found = READERS[name]
    call, answer = learned(found, read(found, with_tools()))
    assert "tide" in call
    assert "Whitby" in call
    assert call.rstrip().endswith(MODELS[name].mark)
    assert answer.strip() == f"At nine.{MODELS[name].mark}"
    text = str(found.tokenizer.decode(read(found, with_tools()).ids))
    assert "at 0" in text
    assert "When it is high." in text


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama3", "mistral", "gpt-oss"])
@pytest.mark.parametrize("result", ['{"sky": "clear", "at": [9, "so \\"high\\""]}', "one\nother", "tide", "é👩"])
def test_whatever_a_tool_gives_is_read_as_the_template_writes_it(name: str, result: str) -> None:
    found, item = READERS[name], with_tools()
    item["messages"] = [m | {"content": result} if m["role"] == "tool" else m for m in item["messages"]]  # type: ignore[attr-defined]
    call, answer = learned(found, read(found, item))
    assert "Whitby" in call
    assert "At nine." in answer
    text = str(found.tokenizer.decode(read(found, item).ids))
    assert result in text or json.dumps(result, ensure_ascii=False) in text


def test_a_call_of_gpt_oss_is_learned_with_the_mark_at_which_it_stops() -> None:
    call, answer = learned(READERS["gpt-oss"], read(READERS["gpt-oss"], with_tools()))
    assert call == ' to=functions.tide<|channel|>commentary json<|message|>{"harbour": "Whitby"}<|call|>'
    assert answer == "<|channel|>final<|message|>At nine.<|return|>"


@pytest.mark.parametrize("name", ["llama3", "gpt-oss"])
def test_calls_in_one_message_have_one_each_where_a_template_takes_one_alone(name: str) -> None:
    found = READERS[name]
    rendered = read(found, with_tools(3))
    *calls, answer = learned(found, rendered)
    assert len(calls) == 3
    assert all("tide" in call for call in calls)
    assert answer.startswith(("At nine.", "<|channel|>final<|message|>At nine."))
    text = str(found.tokenizer.decode(rendered.ids))
    assert [text.index(f"at {number}") for number in range(3)] == sorted(text.index(f"at {n}") for n in range(3))
    assert "one call a message" in rendered.changes


@pytest.mark.parametrize("name", ["llama3", "gpt-oss"])
def test_of_calls_that_end_a_chat_the_first_is_learned_where_a_template_takes_one_alone(name: str) -> None:
    found, item = READERS[name], with_tools(2)
    rendered = read(found, {**item, "messages": item["messages"][:2]})  # type: ignore[index]
    (call,) = learned(found, rendered)
    assert "tide" in call
    assert "last calls left out" in rendered.changes


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "mistral"])
def test_calls_in_one_message_stay_together_where_a_template_takes_several(name: str) -> None:
    for last in (2, 5):
        item = with_tools(2)
        rendered = read(READERS[name], {**item, "messages": item["messages"][:last]})  # type: ignore[index]
        assert not {"one call a message", "last calls left out"} & set(rendered.changes)
        assert len(learned(READERS[name], rendered)) == (1 if last == 2 else 2)


def test_of_a_template_for_tools_and_one_without_the_latter_takes_no_calls() -> None:
    both = deepcopy(tokenizer("qwen2"))
    both.chat_template = {"default": MODELS["smollm2"].template, "tool_use": MODELS["qwen2"].template}
    found = Rendering(both)
    call, answer = learned(found, read(found, with_tools()))
    assert "Whitby" in call
    assert answer == "At nine.<|im_end|>\n"
    assert learned(found, read(found, chat("Who?", "The cat."))) == ["The cat.<|im_end|>\n"]
    undeclared = {"messages": with_tools()["messages"]}
    with pytest.raises(Refused, match=r"none where a chat declares no tools\. Declare them, leave the chat out, or"):
        read(found, undeclared)
    assert len(learned(READERS["qwen2"], read(READERS["qwen2"], undeclared))) == 2


@pytest.mark.parametrize("name", ["llama3", "mistral", "gpt-oss"])
@pytest.mark.parametrize("beside", ["Let me see.", "<think>\nWhen?\n</think>\n\n"])
def test_where_a_template_writes_the_call_only_it_is_learned_without_the_words_beside_it(
    name: str, beside: str
) -> None:
    found, item = READERS[name], with_tools()
    item["messages"] = [m | {"content": beside} if m.get("tool_calls") else m for m in item["messages"]]  # type: ignore[attr-defined]
    rendered = read(found, item)
    assert learned(found, rendered) == learned(found, read(found, with_tools()))
    assert "words beside a call" in rendered.changes
    assert rendered.left == 0


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_words_beside_a_call_are_learned_where_the_template_writes_both(name: str) -> None:
    found, item = READERS[name], with_tools()
    item["messages"] = [m | {"content": "Let me see."} if m.get("tool_calls") else m for m in item["messages"]]  # type: ignore[attr-defined]
    rendered = read(found, item)
    assert learned(found, rendered)[0].startswith("Let me see.<tool_call>")
    assert not rendered.changes


def test_a_call_of_weight_0_is_read_and_not_learned() -> None:
    item = with_tools()
    messages: Iterator[Item] = iter(item["messages"])  # type: ignore[call-overload]
    item["messages"] = [m | {"weight": 0} if m.get("tool_calls") else m for m in map(dict, messages)]
    assert learned(READERS["qwen2"], read(READERS["qwen2"], item)) == ["At nine.<|im_end|>\n"]


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "phi3", "olmo2"])
def test_a_chat_with_tools_is_refused_where_the_template_has_no_place_for_them(name: str) -> None:
    with pytest.raises(Refused, match=r"no place for tools\. Leave them out"):
        read(READERS[name], with_tools())


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_a_call_and_its_result_are_never_cut_apart(name: str) -> None:
    found = READERS[name]
    item = with_tools()
    early = chat("Who? " * 9, "The cat. " * 9, "Well? " * 3, "Yes.")["messages"]
    long = {**item, "messages": [*early, *item["messages"]]}  # type: ignore[misc]
    least = len(read(found, item))
    for room in range(least, len(read(found, long)) + 10, 13):
        kept = cut(found, long, room).kept
        call, answer = learned(found, kept)[-2:]
        assert "Whitby" in call
        assert "At nine." in answer
        assert "at 0" in str(found.tokenizer.decode(kept.ids))


def test_a_call_is_learned_when_a_long_system_prompt_is_cut_away() -> None:
    found, item = READERS["mistral"], with_tools()
    question, call, result, answer = item["messages"]  # type: ignore[misc]
    system = {"role": "system", "content": "Be thin. " * 40}
    kept = cut(found, {**item, "messages": [system, question, call, result, {**answer, "weight": 0}]}, 150).kept
    assert "Whitby" in "".join(learned(found, kept))


@pytest.mark.parametrize("name", ["qwen2", "llama3", "mistral"])
def test_what_a_tool_gave_and_the_tools_are_told_apart_from_the_question_where_they_are_cut(name: str) -> None:
    found, item = READERS[name], with_tools()
    whole = len(read(found, item))
    item["messages"] = [m | {"content": "high water " * 90} if m["role"] == "tool" else m for m in item["messages"]]  # type: ignore[attr-defined]
    assert cut(found, item, whole + 20).lost == {"result"}
    long = with_tools()
    long["messages"] = [m | {"content": "When? " * 90} if m["role"] == "user" else m for m in long["messages"]]  # type: ignore[attr-defined]
    assert "question" in cut(found, long, whole + 20).lost
    assert "tools" in cut(found, item, 40).lost
    assert "tools" not in cut(found, chat("Who? " * 90, "The cat." * 90), 40).lost
