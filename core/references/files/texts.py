"""Read untrusted texts: JSONL in OpenAI's shapes, or plain text in paragraphs."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core import text_safety
from core.errors import InvalidInput, TooLarge
from core.references import chats
from core.references.chats import string as _string
from core.references.items import TextItem
from core.references.notices import Notices
from core.settings import Settings

MAX_LINE_CHARACTERS = 200_000
MAX_TEXT_CHARACTERS = 90_000  # written as a line of JSON it may take twice as many, and is to be read again
RECORDED = "recorded"  # what `albatross record` writes beside the messages of a line
# why it may mark an answer, in `left_out` of it, as not to be trained on
LEFT_OUT = ("held_out", "cut", "filtered", "refusal", "empty", "not_learned")
# the end of a line that it has marked: one that is too long to be read at all is still known to be left out
_MARKED = re.compile(rf'"left_out": "({"|".join(LEFT_OUT)})"(?:, "why": "[^"\n]{{0,400}}")?\}}\}}\s*$')
MARK_CHARACTERS = 500
SHAPES = 'Each line is {"messages": [...]}, {"prompt": "...", "completion": "..."} or {"text": "..."}.'


@dataclass(frozen=True)
class Lines:
    """The items of a JSONL file, and what was noticed in it: recorded answers that are marked as left out."""

    items: list[TextItem] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)


def read_jsonl(content: bytes, name: str, limits: Settings) -> Lines:
    """Read the lines of a JSONL file; raise InvalidInput that names the line."""
    read = Lines()
    for number, line in _lines(_text(content, name, limits)):
        if len(line) > MAX_LINE_CHARACTERS:
            if marked := _MARKED.search(line[-MARK_CHARACTERS:]):
                read.notices.add("answers_left_out", f"line {number}", marked[1])
                continue
            message = f"Line {number} of {name} has more than {MAX_LINE_CHARACTERS:,} characters."
            raise TooLarge(message, code="line_too_long", param="file")
        item = _item(line, number, name)
        if isinstance(item, str):
            read.notices.add("answers_left_out", f"line {number}", item)
            continue
        read.items.append(item)
        _check_length(item.words(), f"Line {number}", name)
        if len(read.items) > limits.max_items:
            raise TooLarge(f"{name} has more than {limits.max_items:,} lines.", code="too_many_items", param="file")
    return read


def read(content: bytes, name: str, limits: Settings) -> Lines:
    """Read a text file by its content."""
    if looks_like_jsonl(content):
        return read_jsonl(content, name, limits)
    return Lines(read_plain(content, name, limits))


def unlearnable(row: Mapping[str, Any]) -> str | None:
    """Say why a line can't be learned from; None where it can."""
    try:
        item = shaped(row)
        _check_length(item.words(), "It", "the line")
    except ValueError as error:
        return str(error)
    except TooLarge:
        return f"it holds more than {MAX_TEXT_CHARACTERS:,} characters"
    return None


def read_plain(content: bytes, name: str, limits: Settings) -> list[TextItem]:
    """Return a text for every paragraph; blank lines stand between paragraphs."""
    items = []
    for number, part in enumerate(_paragraphs(_text(content, name, limits)), 1):
        _check_length(part, f"Paragraph {number}", name)
        items.append(TextItem(text=unicodedata.normalize("NFC", part)))
        _check_length(items[-1].words(), f"Paragraph {number}", name)  # some letters become three
        if len(items) > limits.max_items:
            message = f"{name} has more than {limits.max_items:,} paragraphs."
            raise TooLarge(message, code="too_many_items", param="file")
    return items


def _check_length(text: str, place: str, name: str) -> None:
    if len(text) > MAX_TEXT_CHARACTERS:
        message = f"{place} of {name} holds more than {MAX_TEXT_CHARACTERS:,} characters; split it into several."
        raise TooLarge(message, code="text_too_long", param="file")


def looks_like_jsonl(content: bytes) -> bool:
    """Tell whether the first line that is not blank begins like a JSON object, or like an array of objects."""
    return re.match(rb"[\xef\xbb\xbf\s]*(\{|\[\s*\{)", content) is not None


def _text(content: bytes, name: str, limits: Settings) -> str:
    if len(content) > limits.max_text_bytes:
        raise TooLarge(f"{name} has more than {limits.max_text_bytes:,} bytes.", code="text_too_large", param="file")
    try:
        return text_safety.decode(content)
    except text_safety.UncleanText as error:
        raise InvalidInput(f"{name} is not clean text: {error}.", code="encoding", param="file") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers; never all at once: millions of them fill the memory."""
    number, counted = 1, 0
    for found in re.finditer(r"\S[^\n]*", text):
        number += text.count("\n", counted, found.start())
        counted = found.start()
        yield number, found[0]


def _paragraphs(text: str) -> Iterator[str]:
    start = 0
    for gap in re.finditer(r"\n\s*\n", text):
        if part := text[start : gap.start()].strip():
            yield part
        start = gap.end()
    if part := text[start:].strip():
        yield part


def _item(line: str, number: int, name: str) -> TextItem | str:
    """Return the item of a line, or why it is left out."""
    try:
        row = json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        if not isinstance(row, dict):
            raise ValueError("it is not an object")
        return left_out(row) or shaped(row)
    except RecursionError:
        why = "it is nested too deeply"
    except json.JSONDecodeError as error:
        why = f"it is not JSON ({error.msg.lower()} at column {error.colno})"
    except ValueError as error:
        why = str(error)
    raise InvalidInput(f"Line {number} of {name} can't be used: {why}. {SHAPES}", code="invalid_line", param="file")


def left_out(row: Mapping[str, Any]) -> str | None:
    """Return why a recorded answer is left out of training; None where it is not. Raises ValueError."""
    recorded = row.get(RECORDED)
    if recorded is None:
        return None
    if not isinstance(recorded, dict):
        raise ValueError(f"its {RECORDED} is not an object")
    mark = recorded.get("left_out")
    if mark is not None and mark not in LEFT_OUT:
        raise ValueError(
            f"left_out of its {RECORDED} is none of null, {', '.join(LEFT_OUT)}; null trains on the answer"
        )
    return str(mark) if mark is not None else None


def shaped(row: Mapping[str, Any]) -> TextItem:
    """Return what is learned of a line; raises ValueError that says why it can't be."""
    keys = set(row) - {"weight"}
    if keys == {"text"}:
        return TextItem(text=_string(row["text"], "text"))
    if keys == {"prompt", "completion"}:
        return TextItem(prompt=_string(row["prompt"], "prompt"), completion=_string(row["completion"], "completion"))
    if "messages" in keys:
        return TextItem(messages=chats.messages_of(row))
    if "preferred_output" in keys:
        raise ValueError(chats.NO_PAIRS)
    raise ValueError("its keys are none of the three shapes")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key is there twice")
    return row


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant} is not a number")
