"""The prompts that a model is asked, read from files as people have them: JSONL, CSV, or a line of text each."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import text_safety
from core.errors import InvalidInput
from core.references.files.texts import looks_like_jsonl

# what stands beside the messages of a line and changes what a model answers, so that it is sent along
SENT_ALONG = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format")
KNOWN_COLUMNS = ("prompt", "question", "instruction", "input", "user")
TABLES = {".csv": ",", ".tsv": "\t"}
DELIMITERS = ",;\t"
MAX_BYTES = 1 << 30
MAX_FAULTS_TOLD = 10  # are told of one file
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """One question: every message before the answer, as a chat endpoint takes them, and what is sent along."""

    messages: tuple[Message, ...]
    place: str  # where it stands, for people: "line 3"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What the same question is known by in any file."""
        return prompt_key(self.messages, self.settings)

    def characters(self) -> int:
        """Count what is sent."""
        return len(json.dumps([self.messages, self.settings], ensure_ascii=False))


@dataclass(frozen=True)
class Prompts:
    """The different questions of a file, and what was found on the way."""

    items: tuple[Prompt, ...]
    notes: tuple[str, ...]


class _Fault(ValueError):
    """A line can't be asked; the message says why."""


class _Blank(ValueError):
    """A line asks nothing."""


def prompt_key(messages: Sequence[Message], settings: Mapping[str, Any]) -> str:
    """Return a hash of a question: of its messages without what only training reads, and of what is sent along."""
    asked = [{name: value for name, value in message.items() if name != "weight"} for message in messages]
    content = json.dumps([asked, settings], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def read_prompts(path: Path, *, column: str | None = None, system: str | None = None) -> Prompts:
    """Read a file of prompts; `system` takes the place of their own system messages.

    Blank prompts and copies are passed over with a note. Raises InvalidInput that names every line which can't be
    asked (the first ten), before anything is asked.
    """
    name = text_safety.shown(path.name)
    found: list[Prompt] = []
    blank: list[str] = []
    faults: list[str] = []
    for place, row in _rows(_text(path, name), path.suffix.lower(), column, name):
        try:
            found.append(_sendable(_prompt(row, place)))
        except _Blank:
            blank.append(place)
        except _Fault as fault:
            faults.append(f"{place}: {fault}")
    if faults:
        more = f" ... and {len(faults) - MAX_FAULTS_TOLD} more" if len(faults) > MAX_FAULTS_TOLD else ""
        told = "; ".join(faults[:MAX_FAULTS_TOLD])
        raise InvalidInput(f"{name} can't be asked as it is. {told}{more}.", code="invalid_prompts")
    notes = [f"{_lines(blank)} of {name} asked nothing and {_was(blank)} passed over."] if blank else []
    if system is not None:
        system = system.encode("utf-8", "replace").decode()
        replaced = sum(any(_instructs(message) for message in prompt.messages) for prompt in found)
        notes += [f"--system takes the place of {replaced} system messages of {name}."] if replaced else []
        found = [_instructed(prompt, system) for prompt in found]
    items = tuple({prompt.key: prompt for prompt in reversed(found)}.values())[::-1]
    if copies := len(found) - len(items):
        notes.append(f"{copies} of {len(found)} prompts are copies and count once; --n asks each prompt several times.")
    if not items:
        raise InvalidInput(f"{name} holds no prompts.", code="no_prompts")
    return Prompts(items, tuple(notes))


def _text(path: Path, name: str) -> str:
    if not path.is_file():
        there = "is a folder; name a file" if path.is_dir() else "is no ordinary file"
        what = there if path.exists() else "is not there"
        raise InvalidInput(f"The prompts {text_safety.shown(str(path))}: this {what}.", code="no_prompts")
    if path.stat().st_size > MAX_BYTES:
        raise InvalidInput(f"{name} has more than {MAX_BYTES >> 20:,} MiB; split it.", code="prompts_too_large")
    content = path.read_bytes()
    if not content.strip():
        raise InvalidInput(f"{name} is empty.", code="no_prompts")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"{name} is not UTF-8 at byte {error.start}; save it as UTF-8."
        raise InvalidInput(message, code="invalid_prompts") from None


def _rows(text: str, suffix: str, column: str | None, name: str) -> Iterator[tuple[str, object]]:
    """Yield each prompt as it stands, a JSON value or a string, and its place."""
    is_json = looks_like_jsonl(text[:4096].encode())
    array = _parsed(text) if text.lstrip().startswith("[") else None
    if isinstance(array, list):
        yield from ((f"entry {number}", row) for number, row in enumerate(array, 1))
    elif suffix in TABLES or (column is not None and not is_json):
        yield from _table(text, TABLES.get(suffix, ","), column, name)
    else:
        for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
            if line.strip():
                yield f"line {number}", _parsed(line) if is_json else line.strip()


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return _Fault(f"it is not JSON ({error.msg.lower()} at column {error.colno})")
    except (ValueError, RecursionError):
        return _Fault("it is JSON with numbers or depths that can't be read")


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _table(text: str, delimiter: str, column: str | None, name: str) -> Iterator[tuple[str, object]]:
    head = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    if delimiter == "," and "," not in head:
        delimiter = max(DELIMITERS, key=head.count)
    csv.field_size_limit(MAX_BYTES)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        chosen = _column([title for title in reader.fieldnames or [] if title is not None], column, name)
        for number, row in enumerate(reader, 1):
            if row.get(None):  # type: ignore[call-overload]
                yield f"row {number}", _Fault("it has more cells than the head; put quotes around texts with commas")
            else:
                yield f"row {number}", row[chosen] or ""
    except csv.Error as error:
        raise InvalidInput(f"{name} is not CSV in line {reader.line_num}: {error}.", code="invalid_prompts") from None


def _column(titles: Sequence[str], column: str | None, name: str) -> str:
    """Choose the column of the prompts: the one that is named, the only one, or the one with a usual name."""
    plain = {title.strip().lower(): title for title in titles}
    if column is not None and column.strip().lower() in plain:
        return plain[column.strip().lower()]
    usual = next((plain[title] for title in KNOWN_COLUMNS if title in plain), None)
    if column is None and (len(titles) == 1 or usual):
        return usual or titles[0]
    has = f"It has {', '.join(map(text_safety.shown, titles))}"
    raise InvalidInput(
        f"{name} has no column {text_safety.shown(column)}. {has}."
        if column
        else f"Which column of {name} holds the prompts? {has}; name one with --column.",
        code="invalid_prompts",
    )


def _prompt(row: object, place: str) -> Prompt:
    if isinstance(row, _Fault):
        raise row
    if isinstance(row, str):
        return Prompt((_user(row),), place)
    if not isinstance(row, dict):
        raise _Fault("it is neither a JSON object nor a text")
    if isinstance(body := row.get("body"), dict):  # a line of a batch
        return _prompt(body, place)
    given = row.get("messages", row.get("prompt"))
    if isinstance(given, str):
        return Prompt((_user(given),), place)
    if not isinstance(given, list):
        raise _Fault('it has neither "messages" nor "prompt"')
    messages = [_message(message) for message in given]
    if messages and messages[-1]["role"] == "assistant":
        messages.pop()  # the answer is what is asked for
    if not any(message["role"] not in ("system", "developer") for message in messages):
        raise _Blank
    return Prompt(tuple(messages), place, {name: row[name] for name in SENT_ALONG if row.get(name) is not None})


def _user(text: str) -> Message:
    if not text.strip():
        raise _Blank
    return _message({"role": "user", "content": text})


def _message(message: object) -> Message:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _Fault("a message has no role")
    if message["role"] == "user" and (message.get("content") is None or not str(message["content"]).strip()):
        raise _Blank
    return {name: value for name, value in message.items() if name != "weight" and value is not None}


def _sendable(prompt: Prompt) -> Prompt:
    """Return the prompt; raises _Fault where it can't be sent as JSON in UTF-8."""
    try:
        content = json.dumps([prompt.messages, prompt.settings], ensure_ascii=False)
        content.encode()
    except UnicodeEncodeError:
        raise _Fault("it holds half a character (a lone surrogate), which can't be sent") from None
    if "\\u0000" in content:
        raise _Fault("it holds NUL characters; is it UTF-16? Save it as UTF-8")
    return prompt


def _instructs(message: Message) -> bool:
    return message["role"] in ("system", "developer")


def _instructed(prompt: Prompt, system: str) -> Prompt:
    rest = tuple(message for message in prompt.messages if not _instructs(message))
    return Prompt(({"role": "system", "content": system}, *rest), prompt.place, prompt.settings)


def _lines(places: Sequence[str]) -> str:
    shown = ", ".join(places[:MAX_FAULTS_TOLD])
    return (
        shown if len(places) <= MAX_FAULTS_TOLD else f"{shown} and {len(places) - MAX_FAULTS_TOLD} more"
    ).capitalize()


def _was(places: Sequence[str]) -> str:
    return "was" if len(places) == 1 else "were"
