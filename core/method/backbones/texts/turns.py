"""Where the answers that are learned stand in a chat that a template has rendered as a whole.

What is learned of an answer is what a model has to write after a server has opened it: the words, and the mark that
ends the turn. A template may write an earlier turn otherwise than it was answered: without its thought, or with another
mark. Then the words alone are learned, where they stand after an opening of the template's; else nothing of the turn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.method.backbones.backbone import Item
from core.method.backbones.texts.template import ANSWERING, WORD, ChatTemplate, Refused

THOUGHT = re.compile(r"</?think>")
EMPTY_THOUGHT = re.compile(r"\s*(?:<think>)?\s*</think>\s*")

Span = tuple[int, int]  # characters


@dataclass(frozen=True)
class Written:
    """A rendered chat, the spans of it that are learned, and how many answers cannot be learned in it."""

    text: str
    learned: tuple[Span, ...] = ()
    left: int = 0


@dataclass(frozen=True)
class Chat:
    """Messages as a template takes them, and what is told to it beside them."""

    messages: Sequence[Item]
    tools: Sequence[Item] = ()
    thoughts: bool = False  # whether some answer has one


@dataclass(frozen=True)
class _Said:
    """An answer as the last message of a chat: `text` up to `start` is its opening, then words, mark and blanks."""

    text: str
    start: int
    end: int
    mark: int
    blank: int

    def ends_in(self, whole: str, start: int) -> int | None:
        """Return where the answer ends in a text in which it may begin at `start`; None where it is another one.

        Its end is a part of it where the text has the same; blanks around it may be others.
        """
        words, mark = self.text[self.start : self.end].strip(), self.text[self.end : self.mark]
        at = _past_blanks(whole, start)
        if not whole.startswith(words, at):
            return None
        at += len(words)
        end = _past_blanks(whole, at) if mark else at
        if not whole.startswith(mark, end):
            return at
        blanks = self.text[self.mark : self.blank]
        return next(
            end + len(mark) + same
            for same in range(len(blanks), -1, -1)
            if whole.startswith(blanks[:same], end + len(mark))
        )


class Turns:
    """Finds the answers of chats; `ends` are the marks at which a model of this template stops."""

    def __init__(self, template: ChatTemplate, ends: Collection[str]) -> None:
        self.template = template
        longest_first = sorted(filter(None, ends), key=len, reverse=True)
        self._mark = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def find(self, chat: Chat, *, answered: bool) -> Written:
        """Render a chat, with the opening of the next answer unless it is answered, and find its learned answers.

        Raises Refused where the template does not take it.
        """
        whole = self.template.write(chat.messages, answer=not answered, tools=chat.tools, thoughts=chat.thoughts)
        wanted = [place for place, message in enumerate(chat.messages) if is_learned(message)]
        found = [self._learned(chat, place, whole) for place in wanted]
        return Written(whole, tuple(span for span in found if span is not None), found.count(None))

    def _learned(self, chat: Chat, place: int, whole: str) -> Span | None:
        said = self._said(chat, place)
        if said is None:
            return None
        for opening in self._openings(chat, place, said):
            if whole.startswith(opening) and (end := said.ends_in(whole, len(opening))) is not None:
                return len(opening), end
        return None

    def _openings(self, chat: Chat, place: int, said: _Said) -> Iterator[str]:
        """Give what may stand before the answer: as it is when it is the last, and as the template opens any."""
        yield said.text[: said.start]
        for thoughts in (chat.thoughts, not chat.thoughts):
            asked = self._asked(chat, place, thoughts)
            if asked:
                yield asked

    def _said(self, chat: Chat, place: int) -> _Said | None:
        """Find the words of an answer in the chat that ends with it; None where the template leaves some out."""
        message = chat.messages[place]
        try:
            text = self._write(chat, place + 1)
        except Refused:  # as a beginning, not as a part of the whole
            return None
        said = pieces(message)
        start = self._opened(chat, place, text)
        if start is None or (at := _behind(text, start, said)) is None:
            return None
        empty = EMPTY_THOUGHT.match(text, start)
        if empty is not None and not has_thoughts(message):
            start = empty.end()
        mark = self._mark.search(text, at) if self._mark is not None else None
        if mark is None:
            end = len(text.rstrip())
            return _Said(text, start, end, end, len(text))
        blank = len(text) - len(text[mark.end() :].lstrip())
        return _Said(text, start, mark.start(), mark.end(), blank)

    def _opened(self, chat: Chat, place: int, text: str) -> int | None:
        """Return where the words of an answer begin: after what opens one, else where another's words would stand."""
        asked = self._asked(chat, place, chat.thoughts)
        if asked and text.startswith(asked):
            return len(asked)
        other = {"role": ANSWERING, "content": WORD}
        try:
            marked = self._write(replace(chat, messages=[*chat.messages[:place], other]), place + 1)
        except Refused:
            return None
        before = marked.rpartition(WORD)[0]
        return len(before) if before and text.startswith(before) else None

    def _asked(self, chat: Chat, place: int, thoughts: bool) -> str:
        """Return the chat in front of an answer, opened; "" where the template takes none."""
        if place == 0:
            return ""
        try:
            return self.template.write(chat.messages[:place], answer=True, tools=chat.tools, thoughts=thoughts)
        except Refused:
            return ""

    def _write(self, chat: Chat, count: int) -> str:
        return self.template.write(chat.messages[:count], answer=False, tools=chat.tools, thoughts=chat.thoughts)


def is_learned(message: Item) -> bool:
    """Tell whether a message is an answer that is learned."""
    return message["role"] == ANSWERING and message.get("weight", 1) != 0


def has_thoughts(message: Item) -> bool:
    """Tell whether an answer holds a thought before its words."""
    return bool(message.get("reasoning_content")) or "</think>" in _content(message)


def pieces(message: Item) -> list[str]:
    """Return what an answer says, in order: its thought, and its words, as a template may set them apart."""
    said: list[Any] = [message.get("reasoning_content") or "", *THOUGHT.split(_content(message))]
    return [piece.strip() for piece in said if piece.strip()]


def _content(message: Item) -> str:
    return str(message["content"]) if message.get("content") is not None else ""


def _past_blanks(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _behind(text: str, start: int, said: Sequence[str]) -> int | None:
    """Return where the last piece ends, where all follow each other from `start` on; None where one is missing."""
    at = start
    for piece in said:
        found = text.find(piece, at)
        if found < 0:
            return None
        at = found + len(piece)
    return at
