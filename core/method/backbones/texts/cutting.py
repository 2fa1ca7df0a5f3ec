"""What a text that is too long for a language model loses, and in which order: for the learner's sake. Our own rule.

The last answer that is learned and the question next to it stay whole as long as they can. First goes what is read
only after that answer, then older turns, whole ones and the oldest first, then the end of the system prompt, then the
middle of what tools gave and of the question, whose head and tail say what is wanted. A call of a tool and its result
are never parted. An answer that does not fit even so is learned from its beginning, without an end, and some of its
question stays before it. Messages are chosen and shortened and then rendered anew, so that the marks of the chat
template stay whole; only the end of an answer is cut off as tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from core.method.backbones.backbone import Item
from core.method.backbones.texts.fitting import TOOL, is_tied
from core.method.backbones.texts.rendering import Framing, Rendered, Rendering
from core.method.backbones.texts.template import ANSWERING
from core.method.backbones.texts.turns import Span, is_learned

Lost = Literal["later turns", "older turns", "system prompt", "result", "question", "answer", "text", "frame", "tools"]

VERSION = 3  # of what is cut: encodings that are kept belong to one
LEFT_OUT = " ... "  # stands for the middle of a question that is left out
LEAST_ASKED = 8  # tokens of a question that no answer pushes out: with fewer of them nothing is asked
# Where an answer is cut anyway, the words of its question have one place in so many, and itself no fewer: a few more
# tokens of an answer teach less than what it answers.
SHARE = 4


@dataclass(frozen=True)
class Cut:
    """A text as it is learned or asked, how many tokens it had, and what it has lost."""

    kept: Rendered
    whole: int  # tokens before anything was cut
    lost: frozenset[Lost] = frozenset()
    unlearned: int = 0  # tokens that are cut off the end of the last answer, or of a plain text

    @property
    def fewer(self) -> int:
        """How many tokens are cut."""
        return self.whole - len(self.kept)


def cut(rendering: Rendering, item: Item, room: int) -> Cut:
    """Return an item as it is learned, in at most `room` tokens."""
    if item.get("text") is None:
        return _Cutting(rendering, rendering.framing(item, answered=True), room).cut(rendering.messages(item))
    whole = rendering.text(str(item["text"]))
    over = max(0, len(whole) - room)
    return Cut(whole.first(room), len(whole), frozenset({"text"} if over else ()), over)


def asked(rendering: Rendering, item: Item, room: int) -> Cut:
    """Return an item without its answer, as it is asked, in at most `room` tokens."""
    return _Cutting(rendering, rendering.framing(item, answered=False), room).cut(rendering.messages(item))


class _Cutting:
    """Cuts one chat, step by step; a step changes nothing where all that is left fits."""

    def __init__(self, rendering: Rendering, framing: Framing, room: int) -> None:
        self.rendering, self.framing, self.room = rendering, framing, room
        self.answered = framing.answered
        self.lost: set[Lost] = set()

    def cut(self, messages: list[Item]) -> Cut:
        whole = self.tokens(messages)
        if len(whole) <= self.room:
            return Cut(whole, len(whole))
        messages = self.up_to_the_answer(messages)
        messages = self.without_older_turns(messages)
        messages = self.with_less_of_the_system(messages)
        messages = self.with_less_of_the_question(messages)
        kept, unlearned = self.squeezed(messages)
        return Cut(kept, len(whole), frozenset(self.lost), unlearned)

    def up_to_the_answer(self, messages: list[Item]) -> list[Item]:
        """Leave out what follows the last answer that is learned, which nothing is learned from."""
        learned = [place for place, message in enumerate(messages) if is_learned(message)]
        if not self.answered or not learned or learned[-1] == len(messages) - 1:
            return messages
        self.lost.add("later turns")
        return messages[: learned[-1] + 1]

    def without_older_turns(self, messages: list[Item]) -> list[Item]:
        """Leave out as many questions with their answers as it takes, the oldest first; the system prompt stays."""
        head = _leading(messages)
        starts = [place for place in range(head + 1, len(messages)) if _begins_a_turn(messages, place)]
        if not starts or self.fits(messages):
            return messages
        self.lost.add("older turns")
        shorter = [[*messages[:head], *messages[start:]] for start in starts]
        return shorter[min(bisect_left(shorter, True, key=self.fits), len(shorter) - 1)]

    def with_less_of_the_system(self, messages: list[Item]) -> list[Item]:
        """Leave the head of the system prompt where there is room for one; of several the last ones go first."""
        for place in reversed(range(_leading(messages))):
            if self.fits(messages):
                break
            self.lost.add("system prompt")
            messages = self.shortened(messages, place, self.room - self.answer_of(messages), _head)
            if not messages[place]["content"]:  # some templates write a system prompt of their own where there is none
                messages = min(
                    _without(messages, place), messages, key=lambda some: self.rendering.count(some, self.framing)
                )
        return messages

    def with_less_of_the_question(self, messages: list[Item]) -> list[Item]:
        """Leave the head and the tail of the question; other messages of its turn go before."""
        head, end = _leading(messages), len(messages) - self.answered
        question = max((at for at in range(head, end) if messages[at]["role"] not in (ANSWERING, TOOL)), default=None)
        if question is None:
            return messages
        beside = [at for at in range(head, end) if at != question and not is_tied(messages[at])]
        while beside and not self.fits(messages):
            place = beside.pop(0)
            self.lost.add("older turns" if messages[place]["role"] == ANSWERING else "question")
            messages = _without(messages, place)
            question, beside = question - (place < question), [at - 1 for at in beside]
        results = [at for at in range(head, len(messages)) if messages[at]["role"] == TOOL]
        for place in [*results, question]:  # what a tool gave is often long, and is no question
            if not self.fits(messages):
                messages = self.with_its_middle_out(messages, place)
        return messages

    def with_its_middle_out(self, messages: list[Item], question: int) -> list[Item]:
        frame = self.before(_saying(messages, question, ""))
        size = len(self.rendering.ids(messages[question]["content"]))
        least, free = min(size, LEAST_ASKED), self.room - self.answer_of(messages) - frame
        if free < least:
            free = max(least, min(self.room // SHARE, self.room - frame - self.room // SHARE))
        if free >= size:
            return messages
        self.lost.add("result" if messages[question]["role"] == TOOL else "question")
        return self.shortened(messages, question, frame + free, _ends)

    def shortened(
        self, messages: list[Item], place: int, most: int, shorter: Callable[[str, Sequence[Span], int], str]
    ) -> list[Item]:
        """Return messages of which one says less, so that at most `most` tokens stand before the answer."""
        said = str(messages[place]["content"])
        empty = _saying(messages, place, "")
        spans, room = self.rendering.spans(said), most - self.before(empty)
        while room > 0:
            found = _saying(messages, place, shorter(said, spans, room))
            over = self.before(found) - most
            if over <= 0:
                return found
            room -= over  # the mark for what is left out, or words that fall into other tokens
        return empty

    def squeezed(self, messages: list[Item]) -> tuple[Rendered, int]:
        """Return the tokens in the room, and how many of the answer's end are cut off."""
        found, answer = self.tokens(messages), self.answer_of(messages)
        before = len(found) - answer
        kept = min(answer, max(self.room - before, self.room // SHARE))
        if kept < answer:
            self.lost.add("answer")
        start = max(0, before - (self.room - kept))
        if start:  # the chat template's own words take the room, or the tools among them
            self.lost.add("tools" if self.framing.tools else "frame")
        return found.part(start, before + kept), answer - kept

    def tokens(self, messages: Sequence[Item]) -> Rendered:
        return self.rendering.tokens(messages, self.framing)

    def fits(self, messages: Sequence[Item]) -> bool:
        return self.rendering.count(messages, self.framing) <= self.room

    def answer_of(self, messages: Sequence[Item]) -> int:
        """Count the tokens of the last answer, with its end; 0 where it is still to come."""
        found = self.tokens(messages)
        return len(found) - found.asked if self.answered else 0

    def before(self, messages: Sequence[Item]) -> int:
        """Count the tokens in front of the last answer."""
        found = self.tokens(messages)
        return found.asked if self.answered else len(found)


def _leading(messages: Sequence[Item]) -> int:
    """Count the system prompts that a chat begins with."""
    return next((place for place, message in enumerate(messages) if message["role"] != "system"), len(messages))


def _begins_a_turn(messages: Sequence[Item], place: int) -> bool:
    return messages[place]["role"] not in (ANSWERING, TOOL) and messages[place - 1]["role"] in (ANSWERING, TOOL)


def _saying(messages: Sequence[Item], place: int, words: str) -> list[Item]:
    return [*messages[:place], {**messages[place], "content": words}, *messages[place + 1 :]]


def _without(messages: Sequence[Item], place: int) -> list[Item]:
    return [*messages[:place], *messages[place + 1 :]]


def _head(said: str, spans: Sequence[Span], count: int) -> str:
    """Return the first tokens of a text."""
    return said[: spans[min(count, len(spans)) - 1][1]] if spans else ""


def _ends(said: str, spans: Sequence[Span], count: int) -> str:
    """Return so many tokens of a text: its head and its tail."""
    if count >= len(spans):
        return said
    head = count // 2
    tail = said[spans[head - count][0] :]
    return said[: spans[head - 1][1]].rstrip() + LEFT_OUT + tail.lstrip() if head else tail
