"""What of a text that is too long is left: read back from its tokens and compared with what went in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from core.method.backbones.backbone import IGNORED
from core.method.backbones.texts.cutting import LEAST_ASKED, LEFT_OUT, Cut, asked, cut
from core.method.backbones.texts.rendering import Framing, Rendering

BEGIN, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind."
    "<|im_end|>\n{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = (  # as some templates are: the system prompt is a part of the first question, and roles take turns
    "{% if messages[0]['role'] == 'system' %}{% set said = '<<' + messages[0]['content'] + '>>' %}"
    "{% set messages = messages[1:] %}{% else %}{% set said = '' %}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles take turns') }}{% endif %}"
    "{% if message['role'] == 'user' %}[INST]{{ said if loop.first }}{{ message['content'] }}[/INST]{% else %}"
    "{{ message['content'] }}<|im_end|>{% endif %}{% endfor %}"
)
MESSAGE = re.compile(r"<\|im_start\|>(system|user|assistant)\n((?:(?!<\|im_).)*)(?:<\|im_end\|>\n|$)", re.DOTALL)

Said = dict[str, object]


def rendering(template: str | None = CHATML) -> Rendering:
    """Read bytes, and a few pairs of them, as a real tokenizer does."""
    letters = list(bytes_to_unicode().values())
    merges = [("t", "h"), ("Ġ", "th"), ("Ġth", "e")]
    vocabulary = {token: at for at, token in enumerate([END, BEGIN, *letters, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True), AddedToken(BEGIN, special=True)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    fast.chat_template = template
    return Rendering(fast)


READER = rendering()
ASKING = Framing(answered=False)


def chat(*said: str, system: str | None = None, unlearned: Sequence[int] = ()) -> Said:
    roles = [{"role": ("user", "assistant")[at % 2], "content": words} for at, words in enumerate(said)]
    turns = [message | {"weight": 0} if at in unlearned else message for at, message in enumerate(roles)]
    return {"messages": [{"role": "system", "content": system}, *turns] if system else turns}


def text_of(found: Cut, reader: Rendering = READER) -> str:
    return str(reader.tokenizer.decode(found.kept.ids))


def learned_of(found: Cut, reader: Rendering = READER) -> str:
    return str(reader.tokenizer.decode([label for label in found.kept.labels if label != IGNORED]))


def read_back(found: Cut) -> list[tuple[str, str]]:
    """Return roles and words; every mark of the template must be whole."""
    messages = [(role, words) for role, words in MESSAGE.findall(text_of(found))]
    written = "".join(f"{BEGIN}{role}\n{words}{END}\n" for role, words in messages)
    assert written.startswith(text_of(found)), text_of(found)  # an answer that is cut has no end
    return messages


def test_what_fits_is_left_as_it_is() -> None:
    item = chat("Where?", "Here.", system="Be short.")
    whole = cut(READER, item, 1000)
    for room in (len(whole.kept), len(whole.kept) + 1):
        assert cut(READER, item, room) == whole
    assert (whole.lost, whole.fewer) == (frozenset(), 0)
    assert cut(READER, item, len(whole.kept) - 1).lost


def test_of_a_long_system_prompt_the_head_stays_and_the_question_is_whole() -> None:
    found = cut(READER, chat("Where is the mill?", "Past the quay.", system="Answer shortly. " * 30), 200)
    (_, system), *rest = read_back(found)
    assert system
    assert ("Answer shortly. " * 30).startswith(system)
    assert rest == [("user", "Where is the mill?"), ("assistant", "Past the quay.")]
    assert (len(found.kept), found.lost) == (200, {"system prompt"})


def test_a_system_prompt_without_any_room_makes_no_place_for_the_templates_own() -> None:
    item = chat("Where is the mill?", "Past the quay.", system="Answer shortly. " * 30)
    least = len(cut(READER, chat("Where is the mill?", "Past the quay.", system="A"), 1000).kept) - 1
    found = cut(READER, item, least)
    assert read_back(found) == [("system", ""), ("user", "Where is the mill?"), ("assistant", "Past the quay.")]


def test_older_turns_go_first_whole_and_in_order() -> None:
    said = ["First?", "One.", "Second?", "Two.", "Third?", "Three."]
    for room in range(100, 300):
        found = cut(READER, chat(*said, system="Be short."), room)
        system, *turns = read_back(found)
        assert system == ("system", "Be short.")
        words = [words for _, words in turns]
        assert words == said[len(said) - len(words) :]
        assert len(words) % 2 == 0
        if len(words) < len(said):
            more = [{"role": "system", "content": "Be short."}, *chat(*said[-len(words) - 2 :])["messages"]]
            assert len(READER.tokens(more)) > room, "another turn would have had room"


def test_all_answers_that_stay_are_learned_unless_their_weight_is_0() -> None:
    item = chat("a?" * 60, "x.", "b?", "y.", "c?", "z.", unlearned=[3])
    assert learned_of(cut(READER, item, 150)) == f"z.{END}\n"
    item = chat("a?" * 60, "x.", "b?", "y.", "c?", "z.")
    assert learned_of(cut(READER, item, 150)) == f"y.{END}\nz.{END}\n"


def test_what_follows_the_last_learned_answer_goes_before_anything_else() -> None:
    item = chat("Where?", "Here.", "And then? " * 9, "No idea.", unlearned=[3])
    found = cut(READER, item, 120)
    assert read_back(found)[1:] == [("user", "Where?"), ("assistant", "Here.")]
    assert found.lost == {"later turns"}


def test_a_long_question_loses_its_middle_after_all_of_the_system_prompt() -> None:
    question = "Summarise this. " + "Rain, rain. " * 40 + "In a word!"
    found = cut(READER, chat("Hello?", "Hello.", question, "Wet.", system="Be short. " * 9), 150)
    system, (role, words), answer = read_back(found)
    head, tail = words.split(LEFT_OUT)
    assert (system, role, answer) == (("system", ""), "user", ("assistant", "Wet."))
    assert question.startswith(head)
    assert question.endswith(tail)
    assert min(len(head), len(tail)) > 20
    assert found.lost == {"older turns", "system prompt", "question"}


def test_an_answer_that_does_not_fit_is_learned_from_its_beginning_without_an_end() -> None:
    answer = "It is old. " * 60
    found = cut(READER, chat("What is " + "very " * 60 + "old?", answer), 160)
    (_, _), (_, words), (_, said) = read_back(found)
    assert answer.startswith(said)
    assert learned_of(found) == said
    assert words.startswith("What is")
    assert words.endswith("old?")
    assert len(words) >= 160 // 4
    assert found.lost == {"question", "answer"}
    assert found.unlearned == len(answer) - len(said) + 2  # its end is a mark and a line break


def test_a_short_question_stays_whole_before_an_answer_that_does_not_fit() -> None:
    found = cut(READER, chat("How old?", "It is old. " * 60), 100)
    assert read_back(found)[1] == ("user", "How old?")
    assert found.lost == {"answer"}


def test_an_answer_that_just_fits_stays_whole_beside_a_few_words_of_its_question() -> None:
    answer, question = "It is old. " * 6, "How old is it, and why? " * 6
    frame = len(cut(READER, chat("", answer), 1000).kept)
    fits, does_not = (cut(READER, chat(question, answer), frame + more) for more in (LEAST_ASKED, LEAST_ASKED - 1))
    assert read_back(fits)[2] == ("assistant", answer)
    assert read_back(fits)[1][1].endswith("? ")
    assert (fits.lost, does_not.lost) == ({"question"}, {"question", "answer"})


def test_of_a_plain_text_the_head_is_learned_without_an_end() -> None:
    found = cut(READER, {"text": "It is old. " * 20}, 50)
    assert text_of(found) == learned_of(found) == ("It is old. " * 20)[:50]
    assert (found.lost, found.unlearned, found.fewer) == ({"text"}, 171, 171)


def test_without_a_template_a_prompt_loses_its_middle() -> None:
    bare = rendering(None)
    found = cut(bare, {"prompt": "Where is " + "the old " * 30 + "mill?", "completion": "Here."}, 40)
    head, tail = text_of(found, bare).removesuffix(f"Here.{END}").split(LEFT_OUT)
    assert head.startswith("Where is")
    assert tail.endswith("mill?")
    assert learned_of(found, bare) == f"Here.{END}"


def test_templates_whose_roles_must_take_turns_are_never_broken() -> None:
    strict = rendering(STRICT)
    item = chat("a?" * 20, "x.", "b?" * 20, "y.", "c?" * 20, "z.", system="Be short. " * 5)
    for room in range(24, 250):
        found = text_of(cut(strict, item, room), strict)
        assert found.startswith("[INST]")
        assert found.endswith(f"[/INST]z.{END}")


@pytest.mark.parametrize(
    "first", ["two questions in a row", "two answers in a row", "an answer first", "a system prompt between"]
)
def test_chats_of_any_order_are_cut_too(first: str) -> None:
    user, more = ({"role": "user", "content": words} for words in ("Where? " * 9, "Why? " * 9))
    said, system = {"role": "assistant", "content": "Here. " * 9}, {"role": "system", "content": "Be kind. " * 9}
    order = {
        "two questions in a row": [user, more],
        "two answers in a row": [user, said],
        "an answer first": [said, user],
        "a system prompt between": [user, said, system, more],
    }[first]
    item = {"messages": [*order, {"role": "assistant", "content": "So."}]}
    for room in range(90, 260, 7):
        found = read_back(cut(READER, item, room))
        assert found[-1] == ("assistant", "So.")
        assert [words for role, words in found if role == "assistant" and words not in ("So.", said["content"])] == []


def test_a_question_is_asked_exactly_as_it_is_learned() -> None:
    question = "Summarise this. " + "Rain, rain. " * 40 + "In a word!"
    item = chat("Hello?", "Hello.", question, "Wet.", system="Be short. " * 9)
    for room in range(110, 700, 37):
        learned = cut(READER, item, room).kept
        before = cut(READER, {"messages": item["messages"][:-1], "completion": "Wet."}, room).kept
        assert before.first(before.asked) == learned.first(learned.asked)


def test_a_question_without_an_answer_ends_where_one_begins() -> None:
    item = chat("Hello?", "Hello.", "Why? " * 40, system="Be short.")
    for room in range(60, 400, 9):
        found = asked(READER, item, room)
        assert text_of(found).endswith(f"Why? {END}\n{BEGIN}assistant\n")
        assert len(found.kept) <= room
    assert asked(READER, item, 1000).kept.ids == READER.ids(READER.chat(item["messages"], ASKING))


def test_a_room_that_the_templates_marks_fill_still_learns_something() -> None:
    found = cut(READER, chat("Why? " * 20, "So it is. " * 20), 32)
    assert len(found.kept) == 32
    assert learned_of(found) == "So it is"
    assert "frame" in found.lost


words = st.text("the thin red cat é漢👩 \n", min_size=1, max_size=60).filter(str.strip)


@given(st.lists(words, min_size=2, max_size=8), st.none() | words, st.integers(90, 400), st.sets(st.integers(0, 8)))
@settings(max_examples=150)
def test_whatever_is_cut_the_last_answer_and_its_question_stay_longest(
    said: list[str], system: str | None, room: int, unlearned: set[int]
) -> None:
    said = said[: len(said) // 2 * 2]
    last = max((at for at in range(1, len(said), 2) if at not in unlearned), default=len(said) - 1)
    item = chat(*said, system=system, unlearned=sorted(unlearned - {last}))
    found = cut(READER, item, room)
    assert len(found.kept) <= room
    assert any(label != IGNORED for label in found.kept.labels)
    assert all(label in (IGNORED, token) for token, label in zip(found.kept.ids, found.kept.labels, strict=True))
    assert bool(found.lost) == (found.whole > room)
    assert _order(found.lost, len(said), last)
    if "answer" not in found.lost:
        *_, (_, question), (_, answer) = read_back(found)
        kept = said if not found.lost else said[: last + 1]
        assert answer == kept[-1]
        assert "question" in found.lost or question == kept[-2]


def _order(lost: frozenset[str], count: int, last: int) -> bool:
    """What goes later goes only where all that goes before it is gone, as far as there is any."""
    before: Mapping[str, Callable[[], bool]] = {
        "later turns": lambda: last < count - 1,
        "older turns": lambda: last > 1,
        "system prompt": lambda: False,
        "question": lambda: True,
    }
    gone = [name for name, there in before.items() if there() or name in lost]
    return all(first in lost or second not in lost for first, second in pairwise(gone))
