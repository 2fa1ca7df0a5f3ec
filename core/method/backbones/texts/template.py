"""What a tokenizer's chat template writes, and what it knows: system prompts, tools, thoughts, today's date."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from core.errors import JobFailure
from core.method.backbones.backbone import Item

ANSWERING = "assistant"  # the role whose words are learned
DAY = date(2026, 1, 1)  # of jobs that carry no day: a template never sees the day on which it is rendered
TODAY = re.compile(r"strftime_now\(\s*([^()]*?)\s*\)")
THINKING = "enable_thinking"  # the switch that templates of models with and without thoughts have
WORD = "qzwxjv"  # stands for what somebody says, to see where a template writes it
# A template is a program from somebody's folder; whatever it stumbles over, it has not taken the chat.
STUMBLES = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Refused(JobFailure):
    """A chat template does not take a chat, and says in its own words why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, code="invalid_training_file", param="training_file")

    @classmethod
    def by(cls, words: str) -> Refused:
        """Say it in the template's own words."""
        end = "" if words.endswith((".", "!", "?")) else "."
        return cls(f"The chat template of this backbone does not take it: {words}{end}")


class ChatTemplate:
    """The template of a tokenizer, on a day that is given; "role: content" lines where it has none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, day: date = DAY) -> None:
        self.tokenizer, self.day = tokenizer, day

    @property
    def there(self) -> bool:
        """Tell whether the tokenizer has a template."""
        return self.tokenizer.chat_template is not None

    def write(
        self, messages: Sequence[Item], *, answer: bool, tools: Sequence[Item] = (), thoughts: bool = False
    ) -> str:
        """Return messages as text; with `answer` it ends where the next answer begins. Raises Refused.

        Without `thoughts` a template that knows of both opens an answer that has none.
        """
        if not self.there:
            return _lines(messages) + (f"{ANSWERING}: " if answer else "")
        switch = {THINKING: thoughts} if self.thinks else {}
        try:
            template = self._dated(self.tokenizer.get_chat_template(None, list(tools) or None))
            return str(
                self.tokenizer.apply_chat_template(
                    [_plain(message) for message in messages],
                    tools=list(tools) or None,
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=answer,
                    **switch,
                )
            )
        except STUMBLES as error:
            raise Refused.by(str(error).strip() or type(error).__name__) from error

    def _dated(self, template: str) -> str:
        """Write the day into a template that asks for today's: the same chat reads the same on every day."""
        return TODAY.sub(lambda asked: json.dumps(self._day_as(asked[1])), template)

    def _day_as(self, form: str) -> str:
        quoted = len(form) > 2 and form[0] == form[-1] and form[0] in "'\""
        return self.day.strftime(form[1:-1]) if quoted else self.day.isoformat()

    @cached_property
    def dated(self) -> bool:
        """Tell whether what is written depends on the day."""
        return self.there and TODAY.search(self._source) is not None

    @cached_property
    def thinks(self) -> bool:
        """Tell whether the template can open an answer without a thought."""
        return self.there and THINKING in self._source

    @cached_property
    def keeps_system(self) -> bool:
        """Tell whether the template writes a system prompt; some refuse one, and some leave it out."""
        return self._writes([{"role": "system", "content": WORD}, _user("a")], WORD)

    @cached_property
    def knows_tools(self) -> bool:
        """Tell whether the template writes which tools there are."""
        return self.there and self._writes([_user("a")], WORD, [PROBE_TOOL])

    @cached_property
    def knows_calls(self) -> bool:
        """Tell whether the template writes that a tool is called, with what, and what it gives."""
        called = {"role": ANSWERING, "content": "", "tool_calls": [PROBE_CALL]}
        given = {"role": "tool", "name": WORD, "tool_call_id": PROBE_CALL["id"], "content": f"{WORD}result"}
        chat = [_user("a"), called]
        return (
            self.there
            and self._writes(chat, f"{WORD}argument", [PROBE_TOOL])
            and self._writes([*chat, given], f"{WORD}result", [PROBE_TOOL])
        )

    @cached_property
    def end(self) -> str:
        """What the template writes after an answer, as far as the answer's turn: its mark, where it has one."""
        try:
            said = self.write([_user("a"), {"role": ANSWERING, "content": WORD}], answer=False)
        except Refused:
            return ""
        return said.rpartition(WORD)[2]

    @property
    def _source(self) -> str:
        found: Any = self.tokenizer.chat_template
        return "\n".join(found.values()) if isinstance(found, Mapping) else str(found)

    def _writes(self, messages: Sequence[Item], word: str, tools: Sequence[Item] = ()) -> bool:
        try:
            return word in self.write(messages, answer=False, tools=tools)
        except Refused:
            return False


PROBE_TOOL: Item = {
    "type": "function",
    "function": {
        "name": WORD,
        "description": "a",
        "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "a"}}},
    },
}
PROBE_CALL: Item = {
    "type": "function",
    "id": "123456789",
    "function": {"name": WORD, "arguments": {"a": f"{WORD}argument"}},
}


def _user(words: str) -> Item:
    return {"role": "user", "content": words}


def _plain(message: Item) -> dict[str, Any]:
    """Return what a template is told: not what is learned; and an answer that only calls tools says nothing."""
    told = {name: value for name, value in message.items() if name != "weight"}
    return told | {"content": "" if told.get("content") is None else told["content"]}


def _lines(messages: Sequence[Item]) -> str:
    return "".join(f"{message['role']}: {message['content']}\n" for message in messages)
