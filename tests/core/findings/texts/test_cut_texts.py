"""What is said of texts that are too long, before and after anybody has made tokens of them."""

from __future__ import annotations

import pytest

from core.findings.texts.cut_texts import LOST, CutText, findings
from core.findings.texts.lengths import TextSize, TokenGuess, probably_too_long, what_to_do
from core.method.backbones.texts.cutting import Lost
from core.parameters.token_limits import TokenLimit
from core.references.items import TextItem

GUESS = TokenGuess(0.25, 10)
LIMIT = TokenLimit(96, "that are registered for tiny", 512)


def test_characters_and_exchanges_are_counted() -> None:
    messages = [{"role": role, "content": "abc"} for role in ("system", "user", "assistant", "user", "assistant")]
    assert TextSize.of(TextItem(messages=tuple(messages))) == TextSize(19, 2)
    assert TextSize.of(TextItem(prompt="ab", completion="c")) == TextSize(4, 1)
    assert TextSize.of(TextItem(text="abc")) == TextSize(3, 0)
    assert GUESS.tokens(TextSize(40, 2)) == 30


def test_nothing_is_said_of_texts_that_seem_to_fit() -> None:
    assert probably_too_long([], GUESS, LIMIT) is None
    assert probably_too_long([TextSize(384, 0), TextSize(344, 1)], GUESS, LIMIT) is None


def test_one_long_text_is_told_with_its_limit() -> None:
    finding = probably_too_long([TextSize(100, 1), TextSize(400, 1)], GUESS, LIMIT)
    assert finding is not None
    assert finding.message.startswith(
        "Of 2 texts, about 1 is longer than the 96 tokens that are registered for tiny, guessed from its characters: "
        "text 2 by about 14. "
    )
    assert (finding.code, finding.item, finding.severity) == ("too_long", "text 2", "warn")
    assert finding.fix.startswith("Set bat.max_tokens to about 128, ")


def test_several_long_texts_are_told_with_the_longest_and_their_sum() -> None:
    finding = probably_too_long([TextSize(400, 1), TextSize(8_000, 1), TextSize(40, 1)], GUESS, LIMIT)
    assert finding is not None
    assert "about 2 are longer than" in finding.message
    assert (
        "guessed from their characters: text 2 by about 1,914, all of them together by about 1,928." in finding.message
    )
    assert "and the end of an answer that does not fit even so; of a plain text the end." in finding.message


@pytest.mark.parametrize(
    ("longest", "limit", "most", "said"),
    [
        (100, 96, 512, "Set bat.max_tokens to 128, "),
        (128, 96, 512, "Set bat.max_tokens to 128, "),
        (505, 96, 510, "Set bat.max_tokens to 510, "),
        (
            600,
            96,
            512,
            "Split what is too long into several texts, each whole in itself; bat.max_tokens may be 512 at most",
        ),
        (600, 512, 512, "Split what is too long into several texts, each whole in itself."),
    ],
)
def test_what_is_proposed_can_be_asked_for_and_is_enough(longest: int, limit: int, most: int, said: str) -> None:
    assert what_to_do(longest, limit, most).startswith(said)


def test_one_cut_text_is_told_with_what_it_has_lost() -> None:
    (finding,) = findings([CutText(7, 97, 96, {"text"})], 40, 96, 512)
    assert finding.message == (
        "1 of 40 texts has more than the 96 tokens that this job takes of one: text 7 (97). Text 7 loses 1 token. Left "
        "out: the end of text 7."
    )
    assert (finding.code, finding.item) == ("too_long", "text 7")


def test_many_cut_texts_are_told_with_the_most_and_the_sum_and_each_kind_of_loss() -> None:
    cut = [CutText(number, 100 + 1_000 * number, 90, {"older turns"}) for number in range(1, 8)]
    cut += [CutText(9, 300, 96, {"system prompt", "question", "older turns"})]
    (finding,) = findings(cut, 1_000, 96, 1 << 17)
    assert finding.message == (
        "8 of 1,000 texts have more than the 96 tokens that this job takes of one: text 1 (1,100), text 2 (2,100), "
        "text 3 (3,100), text 4 (4,100), text 5 (5,100) and 3 more. Text 7 loses the most, 7,010 tokens, all of them "
        "together 28,274. Left out: older messages of text 1, text 2, text 3, text 4, text 5 and 3 more; the system "
        "prompt, from its end on, of text 9; the middle of the question of text 9."
    )


def test_answers_that_do_not_fit_are_named_by_themselves() -> None:
    cut = [
        CutText(2, 500, 96, {"answer"}, (80, 484)),
        CutText(3, 100, 95, {"question"}, (9, 9)),
        CutText(4, 2_000, 96, {"answer", "question"}, (50, 1_000)),
    ]
    found, answers = findings(cut, 8, 96, 512)
    assert (
        "the middle of the question of text 3, text 4; the end of the last answer of text 2, text 4." in found.message
    )
    assert answers.message == (
        "2 answers do not fit into the 96 tokens that this job takes of one text, beside what is asked: only the "
        "beginning is learned, without an end, of text 2 (80 of 484 tokens), text 4 (50 of 1,000 tokens)."
    )
    assert (answers.code, answers.item) == ("answer_too_long", "text 2")
    _, one = findings(cut[:1], 8, 96, 512)
    assert one.message.startswith("1 answer does not fit into the 96 tokens")


def test_every_loss_that_cutting_knows_has_words() -> None:
    assert set(Lost.__args__) == set(LOST)
    assert list(findings([], 8, 96, 512)) == []
