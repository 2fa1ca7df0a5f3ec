"""How an item reads to a language model: in the words of its chat template, and which of the tokens are learned.

A chat is rendered once and tokenised once, as a server does it: the tokens of its parts are not always those of the
whole. Which tokens are learned is told by where they stand in the text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerBase

from core.errors import InvalidInput
from core.method.backbones.backbone import IGNORED, Item
from core.method.backbones.texts.fitting import Change, Fitted, Fitting
from core.method.backbones.texts.template import ANSWERING, DAY, ChatTemplate
from core.method.backbones.texts.turns import Chat, Span, Turns, has_thoughts, is_learned

GAPS = "a  b\n\n c"  # shows whether a tokenizer says where blanks stand


@dataclass(frozen=True)
class Rendered:
    """Token ids, and the labels that say which of them are learned (IGNORED: read only).

    `left` counts the answers that cannot be learned in this chat, because its template writes them otherwise there, and
    `changes` are what was changed so that the template takes it.
    """

    ids: list[int]
    labels: list[int]
    left: int = 0
    changes: frozenset[Change] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def asked(self) -> int:
        """How many tokens stand before the last answer that is learned, of several; all of them where none is."""
        starts = (place for place, label in enumerate(self.labels) if label != IGNORED and self._unlearned(place - 1))
        return max(starts, default=len(self.ids))

    def part(self, start: int, end: int) -> Rendered:
        """Return the tokens from `start` to before `end`."""
        return replace(self, ids=self.ids[start:end], labels=self.labels[start:end])

    def first(self, count: int) -> Rendered:
        """Return the first tokens."""
        return self.part(0, count)

    def _unlearned(self, place: int) -> bool:
        return place < 0 or self.labels[place] == IGNORED


@dataclass(frozen=True)
class Framing:
    """What the messages of one item are written with: `bare` without any frame, `answered` with their last answer."""

    bare: bool = False
    answered: bool = True
    tools: tuple[Item, ...] = ()
    thoughts: bool = False


PLAIN = Framing()


class Rendering:
    """Turns messages into tokens; a chat template frames them, or "role: content" lines where there is none.

    Without a template, a prompt and its completion follow each other with nothing between them (`bare`). `stops` are
    tokens at which the model stops, beside the template's own mark and the tokenizer's end.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Collection[int] = (), day: date = DAY) -> None:
        if not tokenizer.is_fast:
            raise InvalidInput(
                "This tokenizer does not tell where its tokens stand in a text, so that answers and questions can't be "
                "told apart. Bring the model with a tokenizer.json.",
                code="unsupported_backbone",
            )
        self.tokenizer = tokenizer
        self._given = frozenset(stops)
        self._on(day)

    def _on(self, day: date) -> None:
        self.template = ChatTemplate(self.tokenizer, day)
        self._fitting = Fitting(self.template)
        self._turns = Turns(self.template, [self._spelled(stop) for stop in self.stops])

    @property
    def day(self) -> date:
        """The day that a template is told of."""
        return self.template.day

    @day.setter
    def day(self, day: date) -> None:
        if day != self.template.day:
            self._on(day)

    @cached_property
    def stops(self) -> tuple[int, ...]:
        """The tokens at which an answer ends: the tokenizer's, the model's, and the mark that the template writes."""
        found = {*self._given} | ({self.tokenizer.eos_token_id} - {None})
        special = {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        marks = [token for token in self.ids(self.template.end) if token in special] if self.template.there else []
        return tuple(sorted(found | set(marks[:1])))

    def _spelled(self, token: int) -> str:
        return str(self.tokenizer.convert_ids_to_tokens(token) or "")

    @cached_property
    def begin(self) -> list[int]:
        """What a server puts before a text that no template frames: [] or the token of a beginning."""
        begin = self.tokenizer.bos_token_id
        return [begin] if begin is not None and list(self.tokenizer("a").input_ids)[:1] == [begin] else []

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def spans(self, text: str) -> list[Span]:
        """Return where each token of a text begins and ends in it."""
        return self._encoded(text)[1]

    def framing(self, item: Item, *, answered: bool) -> Framing:
        """Return what the messages of an item are written with, whatever of them is cut."""
        bare = item.get("messages") is None and not self.template.there
        learned = [message for message in self.messages(item) if is_learned(message)]
        thoughts = bool(item.get("thoughts")) or any(map(has_thoughts, learned))
        return Framing(bare, answered, tuple(item.get("tools") or ()), thoughts)

    def messages(self, item: Item) -> list[Item]:
        """Return a chat, or a prompt with its completion where it has one, as messages."""
        if item.get("messages") is not None:
            said = list(item["messages"])
        else:
            said = [{"role": "user", "content": str(item["prompt"])}]
        if item.get("completion") is not None:
            said.append({"role": ANSWERING, "content": str(item["completion"])})
        return said

    def text(self, words: str) -> Rendered:
        """Return a plain text and its end, all of it learned."""
        ids = self.ids(words)
        if self.tokenizer.eos_token_id is not None:
            ids.append(self.tokenizer.eos_token_id)
        return self._begun(Rendered(ids, list(ids)))

    def tokens(self, messages: Sequence[Item], framing: Framing = PLAIN) -> Rendered:
        """Return messages up to their last answer; else, where they are not answered, up to where one begins.

        Raises Refused where the chat template does not take them.
        """
        if framing.bare:
            return self._begun(self._bare(messages))
        fitted = self.fit(messages, framing)
        chat = Chat(fitted.messages, framing.tools, framing.thoughts)
        found = self._turns.find(chat, answered=framing.answered)
        ids, spans = self._encoded(found.text)
        learned = _inside(found.text, spans, found.learned)
        labels = [token if inside else IGNORED for token, inside in zip(ids, learned, strict=True)]
        rendered = Rendered(ids, labels, found.left, fitted.changes)
        return rendered if self.template.there else self._begun(rendered)

    def count(self, messages: Sequence[Item], framing: Framing = PLAIN) -> int:
        """Count the tokens of messages."""
        if framing.bare:
            return len(self._begun(self._bare(messages)))
        text = self.chat(messages, framing)
        return len(self.ids(text)) + (0 if self.template.there else len(self.begin))

    def fit(self, messages: Sequence[Item], framing: Framing = PLAIN) -> Fitted:
        """Return messages as the template takes them; raises Refused where it does not."""
        return self._fitting.fit(messages, answer=not framing.answered, tools=framing.tools)

    def chat(self, messages: Sequence[Item], framing: Framing = PLAIN) -> str:
        """Return messages as text; where they are not answered it ends where the next answer begins."""
        fitted = self.fit(messages, framing).messages
        return self.template.write(fitted, answer=not framing.answered, tools=framing.tools, thoughts=framing.thoughts)

    def _begun(self, rendered: Rendered) -> Rendered:
        begin = self.begin
        return replace(rendered, ids=begin + rendered.ids, labels=[IGNORED] * len(begin) + rendered.labels)

    def _bare(self, messages: Sequence[Item]) -> Rendered:
        """Tokenise a prompt and its completion apart: as a prompt is sent, and as its completion follows it."""
        end, ids, labels = self.tokenizer.eos_token or "", list[int](), list[int]()
        for message in messages:
            answer = message["role"] == ANSWERING
            part = self.ids(str(message["content"]) + (end if answer else ""))
            ids += part
            labels += part if answer else [IGNORED] * len(part)
        return Rendered(ids, labels)

    def _encoded(self, text: str) -> tuple[list[int], list[Span]]:
        if self._untrimmed is not None:
            found = self._untrimmed.encode(text, add_special_tokens=False)
            return list(found.ids), list(found.offsets)
        tokens = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(tokens.input_ids), list(tokens.offset_mapping)

    @cached_property
    def _untrimmed(self) -> Tokenizer | None:
        """A copy that says where blanks stand too; None where the tokenizer itself does."""
        spans = self.tokenizer(GAPS, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        if {place for start, end in spans for place in range(start, end)} == set(range(len(GAPS))):
            return None
        backend: Any = self.tokenizer.backend_tokenizer
        copy = Tokenizer.from_str(backend.to_str())
        copy.no_truncation()
        copy.no_padding()
        copy.post_processor = processors.ByteLevel(trim_offsets=False)
        return copy


def _inside(text: str, spans: Sequence[Span], learned: Sequence[Span]) -> list[bool]:
    """Tell of each token whether it says something of a learned span, and beside it nothing but blanks."""
    found, place = [], 0
    for start, end in spans:
        while place < len(learned) and learned[place][1] <= start:
            place += 1
        if place == len(learned):
            found.append(False)
            continue
        first, last = learned[place]
        outside = text[start : min(first, end)] + text[max(last, start) : end]
        inside = max(start, first) < min(end, last) or (start == end and first <= start < last)
        found.append(inside and not outside.strip())
    return found
