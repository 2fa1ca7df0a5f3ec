"""What a job has cut of texts that are longer than it takes, as its trainer has counted it in the backbone's tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.findings.finding import Finding
from core.findings.texts.lengths import what_to_do

MAX_NAMED = 5  # texts in one sentence
# by the words of core.method.backbones.texts.cutting, in the order in which it cuts
LOST: Mapping[str, str] = {
    "later turns": "what follows the last answer to learn in",
    "older turns": "older messages of",
    "system prompt": "the system prompt, from its end on, of",
    "result": "the middle of what a tool gave in",
    "question": "the middle of the question of",
    "tools": "tools or words of the chat template of",
    "frame": "words of the chat template of",
    "answer": "the end of the last answer of",
    "text": "the end of",
}


@dataclass(frozen=True)
class CutText:
    """A text that was cut: its tokens before and after, and what it has lost."""

    number: int  # of the text among all, from 1
    tokens: int
    kept: int
    lost: Collection[str]  # keys of LOST
    answer: tuple[int, int] = (0, 0)  # tokens of its last answer that are learned, and that there are

    @property
    def name(self) -> str:
        """How the text is called."""
        return f"text {self.number}"

    @property
    def fewer(self) -> int:
        """How many tokens it has lost."""
        return self.tokens - self.kept


def findings(cut: Sequence[CutText], count: int, limit: int, most: int) -> Iterator[Finding]:
    """Say which of `count` texts have lost what to a limit of tokens, where at most `most` may be asked for."""
    if not cut:
        return
    fix = what_to_do(max(text.tokens for text in cut), limit, most)
    yield Finding("too_long", f"{_how_many(cut, count, limit)} {_how_much(cut)} {_what(cut)}", fix, cut[0].name)
    if answers := [text for text in cut if "answer" in text.lost]:
        yield Finding("answer_too_long", _beginnings(answers, limit), fix, answers[0].name)


def _how_many(cut: Sequence[CutText], count: int, limit: int) -> str:
    have = "has" if len(cut) == 1 else "have"
    named = _some([f"{text.name} ({text.tokens:,})" for text in cut])
    return f"{len(cut):,} of {count:,} texts {have} more than the {limit:,} tokens that this job takes of one: {named}."


def _how_much(cut: Sequence[CutText]) -> str:
    worst = max(cut, key=lambda text: text.fewer)
    together = f", all of them together {sum(text.fewer for text in cut):,}" if len(cut) > 1 else ""
    loses = f"{worst.name} loses {'the most, ' if len(cut) > 1 else ''}{worst.fewer:,}"
    return f"T{loses[1:]} token{'s' if worst.fewer > 1 else ''}{together}."


def _what(cut: Sequence[CutText]) -> str:
    lost = {words: [text.name for text in cut if kind in text.lost] for kind, words in LOST.items()}
    return f"Left out: {'; '.join(f'{words} {_some(names)}' for words, names in lost.items() if names)}."


def _beginnings(cut: Sequence[CutText], limit: int) -> str:
    named = _some([f"{text.name} ({text.answer[0]:,} of {text.answer[1]:,} tokens)" for text in cut])
    answers = "1 answer does" if len(cut) == 1 else f"{len(cut):,} answers do"
    return (
        f"{answers} not fit into the {limit:,} tokens that this job takes of one text, beside what is asked: only the "
        f"beginning is learned, without an end, of {named}."
    )


def _some(names: Sequence[str]) -> str:
    """Name the first of many."""
    more = len(names) - MAX_NAMED
    shown = ", ".join(names[:MAX_NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown
