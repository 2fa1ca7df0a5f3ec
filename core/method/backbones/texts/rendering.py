"""How an item reads to a language model: in the words of its chat template, and which of the tokens are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from core.method.backbones.backbone import IGNORED, Item

ANSWERING = "assistant"  # the role whose words are learned


@dataclass(frozen=True)
class Rendered:
    """Token ids, and the labels that say which of them are learned (IGNORED: read only)."""

    ids: list[int]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def asked(self) -> int:
        """How many tokens stand before the last answer that is learned, of several; all of them where none is."""
        starts = (place for place, label in enumerate(self.labels) if label != IGNORED and self._unlearned(place - 1))
        return max(starts, default=len(self.ids))

    def first(self, count: int) -> Rendered:
        """Return the first tokens."""
        return Rendered(self.ids[:count], self.labels[:count])

    def _unlearned(self, place: int) -> bool:
        return place < 0 or self.labels[place] == IGNORED


class Rendering:
    """Turns messages into tokens; a chat template frames them, or "role: content" lines where there is none.

    Without a template, a prompt and its completion follow each other with nothing between them (`bare`).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def bare(self, item: Item) -> bool:
        """Tell whether an item is written without any frame."""
        return item.get("messages") is None and self.tokenizer.chat_template is None

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
        return Rendered(ids, list(ids))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of a text begins and ends in it."""
        return list(self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping)

    def tokens(self, messages: Sequence[Item], *, bare: bool = False, answered: bool = True) -> Rendered:
        """Return messages up to their last answer; else, where they are not `answered`, up to where one begins."""
        written = self._bare(messages) if bare else self._turns(messages, answered)
        parts = [(self.ids(text), learned) for text, learned in written]
        return Rendered(
            [token for tokens, _ in parts for token in tokens],
            [token if learned else IGNORED for tokens, learned in parts for token in tokens],
        )

    def _bare(self, messages: Sequence[Item]) -> list[tuple[str, bool]]:
        end = self.tokenizer.eos_token or ""
        return [
            (str(message["content"]) + end, True) if message["role"] == ANSWERING else (str(message["content"]), False)
            for message in messages
        ]

    def _turns(self, messages: Sequence[Item], answered: bool) -> list[tuple[str, bool]]:
        """Cut a chat into texts and whether they are learned: answers are, questions and roles are not."""
        parts, done = [], ""
        for place, message in enumerate(messages):
            if message["role"] != ANSWERING:
                continue
            after = self.chat(messages[: place + 1], answer=False)
            before = self.chat(messages[:place], answer=True) if place else after[: after.find(message["content"])]
            parts += [(before[len(done) :], False), (after[len(before) :], message.get("weight", 1) != 0)]
            done = after
        if not answered:
            parts.append((self.chat(messages, answer=True)[len(done) :], False))
        return parts

    def chat(self, messages: Sequence[Item], *, answer: bool) -> str:
        """Return messages as text; with `answer` it ends where the next answer begins."""
        if self.tokenizer.chat_template is None:
            said = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
            return said + (f"{ANSWERING}: " if answer else "")
        return str(self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer))
