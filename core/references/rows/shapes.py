"""What is learned of a row: in one of the three shapes, or in those of other trainers where every key is understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.references import chats
from core.references.items import TextItem
from core.references.rows import keys
from core.references.rows.json_rows import WRAPPERS
from core.references.rows.remarks import Remarks
from core.references.tools import declarations
from core.text_safety import shown

SHAPES = 'Each line is {"messages": [...]}, {"prompt": "...", "completion": "..."} or {"text": "..."}.'
# keys of other trainers for the two halves of a pair, and for a chat
QUESTIONS = (
    "prompt",
    "question",
    "instruction",
    "input",
    "query",
    "user",
    "input_text",
    "text_input",
    "human",
    "problem",
)
ANSWERS = (
    "completion",
    "response",
    "answer",
    "output",
    "assistant",
    "output_text",
    "reply",
    "target",
    "solution",
    "ideal",
)
CHATS = ("messages", "conversations", "conversation", "contents", "dialog", "dialogue", "chat")
SYSTEMS = ("system", "system_prompt", "systemInstruction", "system_instruction")
RECORDED = "recorded"
BY_COLUMNS = (
    "it holds a table column by column, not a row; write it row by row, as pandas does with "
    'to_json(orient="records", lines=True)'
)
MESSENGERS = ("author", "sender", "sender_name", "from_id", "timestamp_ms")  # keys of a message: Discord, Telegram, ...
ALPACA_INPUTS = ("input", "context")
TOOLS_AS_TEXT = "<tools>"  # in a system message: so Hermes and Qwen list what may be called

EXPORTS = {
    "mapping": "an export of ChatGPT",
    "chat_messages": "an export of Claude",
    "segments": "what axolotl calls segments, whose labels say what is learned (here weights of messages do)",
}


class NoShape(ValueError):
    """A row has none of the shapes; whoever says so says what the shapes are."""


def shaped(row: Mapping[str, Any], remarks: Remarks | None = None) -> TextItem:
    """Return what is learned of a row; raises ValueError that says why it can't be.

    `remarks` is told what was passed over, cleaned, and understood of another trainer's shape.
    """
    remarks = Remarks() if remarks is None else remarks
    row = _plainly_named(keys.given(row), remarks)
    row.pop(RECORDED, None)
    chat = [key for key in CHATS if isinstance(row.get(key), list)]
    if "messages" in row and "messages" not in chat:
        chat.append("messages")
    # beside another question "user" is who asked it
    asked = [key for key in QUESTIONS if key in row and (key != "user" or "assistant" in row)]
    answered = [key for key in ANSWERS if key in row]
    if any(key in row for key in keys.PAIRS):
        raise ValueError(keys.NO_PAIRS)
    if chat:
        return _chat(row, chat, remarks)
    if answered and asked:
        return _pair(row, asked, answered, remarks)
    if "text" in row:
        return _text(row, remarks)
    raise _no_shape(row)


def _plainly_named(row: dict[str, Any], remarks: Remarks) -> dict[str, Any]:
    """Return a row with "Prompt " called prompt, where nothing else is."""
    known = {*QUESTIONS, *ANSWERS, *CHATS, *SYSTEMS, *ALPACA_INPUTS, "text"}
    other = {key: keys.plain(key) for key in row if key not in known and keys.plain(key) in known}
    if not other or len({*other.values()} - row.keys()) < len(other):
        return row
    remarks.read_as = f"keys in other letters, such as {keys.plain(next(iter(other)))}"
    return {other.get(key, key): value for key, value in row.items()}


def _text(row: Mapping[str, Any], remarks: Remarks) -> TextItem:
    keys.check_rest(row, {"text"}, "it", remarks)
    return TextItem(text=chats.string(row["text"], "text", remarks))


def _chat(row: dict[str, Any], found: list[str], remarks: Remarks) -> TextItem:
    if len(found) > 1:
        raise ValueError(f"it has two chats, {found[0]} and {found[1]}; keep one of them")
    key = found[0]
    given = chats.joined(row[key]) if key == "contents" else row[key]
    if key != "messages":
        remarks.read_as = "Gemini (contents and parts)" if key == "contents" else f"chats under the key {key}"
    _check_no_messenger(given)
    again = {"prompt"} if _says_again(row.get("prompt"), given) else set[str]()
    remarks.ignored |= again
    keys.check_rest(row, {key, *SYSTEMS, *again, *_of_tools(row, remarks)}, "it", remarks)
    if isinstance(given, str) and given.lstrip().startswith("["):
        raise ValueError("messages is a string with a list in it; write the list itself")
    if not isinstance(given, list):
        raise ValueError(f"messages is not a list of 1 to {chats.MAX_MESSAGES} messages")
    return _with_tools(row, [*_system(row, given), *given], remarks)


def _of_tools(row: Mapping[str, Any], remarks: Remarks) -> set[str]:
    """Return the keys of a row that are about tools; which function a model has to call is nothing that is learned."""
    chosen = {"function_call"} if isinstance(row.get("function_call"), str | dict) else set[str]()
    remarks.ignored |= chosen
    return chosen | set(declarations.named(row))


def _with_tools(
    row: Mapping[str, Any], given: Sequence[object], remarks: Remarks, *, learned_from: int = 0
) -> TextItem:
    """Return messages with the tools that the row declares, unless their text lists them already."""
    tools = declarations.declared(row, remarks)
    messages = chats.messages_of(given, remarks, learned_from=learned_from, tools=tools)
    if tools and _lists_tools(messages):
        remarks.ignored |= set(declarations.named(row))
        tools = ()
    return TextItem(messages=messages, tools=tools or None)


def _lists_tools(messages: Sequence[chats.Message]) -> bool:
    system = any(message["role"] == "system" and TOOLS_AS_TEXT in message["content"] for message in messages)
    return system and not any("tool_calls" in message for message in messages)


def _check_no_messenger(chat: object) -> None:
    """Refuse what people have said to each other, where nothing tells whose words shall be learned."""
    first = chat[0] if isinstance(chat, list) and chat and isinstance(chat[0], dict) else {}
    if "role" not in first and any(key in first for key in MESSENGERS):
        raise ValueError(
            "it looks like an export of a messenger; write each chat as messages, whose words shall be learned as "
            "those of the assistant"
        )


def _says_again(prompt: object, chat: object) -> bool:
    """Tell whether a prompt beside a chat is a message of it, as in UltraChat and No Robots."""
    messages = [message for message in chat if isinstance(message, dict)] if isinstance(chat, list) else []
    return isinstance(prompt, str) and prompt in [message.get("content") for message in messages[:2]]


def _system(row: Mapping[str, Any], given: object) -> list[dict[str, Any]]:
    """Return the system message that stands beside a chat or a pair, as a message."""
    named = [key for key in SYSTEMS if row.get(key) not in (None, "")]
    if not named:
        return []
    first = given[0] if isinstance(given, list) and given and isinstance(given[0], dict) else {}
    if len(named) > 1 or first.get("role", first.get("from")) in ("system", "developer"):
        raise ValueError(f'it has two system messages, one of them under "{named[0]}"; keep one')
    value = row[named[0]]
    if isinstance(value, dict) and set(value) <= {"parts", "role"}:
        value = value.get("parts")
    return [{"role": "system", "content": value}]


def _pair(row: dict[str, Any], asked: list[str], answered: list[str], remarks: Remarks) -> TextItem:
    beside = [key for key in ALPACA_INPUTS if key in row] if "instruction" in row else []
    questions = [key for key in asked if key not in beside]
    for several, what in ((questions, "questions"), (answered, "answers"), (beside, "inputs")):
        if len(several) > 1:
            raise ValueError(f"it has two {what}, {several[0]} and {several[1]}; keep one of them")
    if "text" in row:
        raise ValueError(f"it has {questions[0]} and {answered[0]}, and text beside them; keep one of the two shapes")
    question, answer = questions[0], answered[0]
    keys.check_rest(row, {question, answer, *beside, *SYSTEMS, *_of_tools(row, remarks)}, "it", remarks)
    _check_no_columns(row[question], row[answer])
    if isinstance(row[question], list) or isinstance(row[answer], list):
        return _pair_of_chats(row, row[question], row[answer], remarks)
    if (question, answer) != ("prompt", "completion"):
        more = [f"{key} (on a new line)" for key in beside if row[key] != ""]
        remarks.read_as = f"pairs of {' and '.join([question, *more])} and {answer}"
    return _as_pair(row, question, answer, beside, remarks)


def _as_pair(row: Mapping[str, Any], question: str, answer: str, beside: list[str], remarks: Remarks) -> TextItem:
    completion = chats.string(row[answer], answer, remarks)
    if isinstance(row[question], str) and not row[question].strip():
        raise ValueError(f'{question} is empty; for a text without a question write {{"text": "..."}}')
    prompt = chats.string(row[question], question, remarks)
    for key in beside:
        if row[key] != "":
            prompt = f"{prompt}\n{chats.string(row[key], key, remarks)}"
    system, tools = _system(row, None), declarations.named(row)
    if not system and not tools:
        return TextItem(prompt=prompt, completion=completion)
    said = [*system, {"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    remarks.read_as = remarks.read_as or f"pairs with {'a system message' if system else 'tools'} beside them"
    return _with_tools(row, said, remarks)


def _check_no_columns(asked: object, answered: object) -> None:
    """Refuse a whole table in one row: each column under its name, as {"0": ...} or as a list."""
    columns = [list(value.values()) if isinstance(value, dict) else value for value in (asked, answered)]
    if all(isinstance(column, list) and column and isinstance(column[0], str) for column in columns):
        raise ValueError(BY_COLUMNS)


def _pair_of_chats(row: Mapping[str, Any], asked: object, answered: object, remarks: Remarks) -> TextItem:
    """Return a pair of lists of messages, as TRL writes it: what the question holds is read and not learned.

    Where one half is a string, it is one message.
    """
    first = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    last = [{"role": "assistant", "content": answered}] if isinstance(answered, str) else answered
    if not isinstance(first, list) or not isinstance(last, list):
        raise ValueError("its question or its answer is neither a string nor a list of messages")
    if not all(isinstance(message, dict) for message in (*first, *last)):
        raise ValueError("its question or its answer is a list of texts; write each pair as a row of its own")
    remarks.read_as = "pairs of lists of messages, as TRL writes them"
    return _with_tools(row, [*first, *last], remarks, learned_from=len(first))


def _no_shape(row: Mapping[str, Any]) -> ValueError:
    if (export := _export(row)) is not None:
        return ValueError(export)
    if not row:
        return NoShape("it is empty")
    if isinstance(row.get("columns"), list) and isinstance(row.get("data"), list):
        return NoShape(BY_COLUMNS)
    if all(isinstance(value, dict) for value in row.values()):
        return NoShape("it seems to hold rows under numbers or names; write each of them as a line of its own")
    if wrapped := next((key for key in row if key in WRAPPERS.split("|") and isinstance(row[key], list)), None):
        return NoShape(f'it seems to hold rows under "{wrapped}"; keep the array of rows alone')
    if set(row) <= {"role", "content", "from", "value", "weight", "name"}:
        return NoShape("it is a single message; write all messages of a chat in one row")
    names = ", ".join(f'"{shown(key)[: keys.MAX_SHOWN]}"' for key in list(row)[:5])
    more = f" and {len(row) - 5} more" if len(row) > 5 else ""
    half = next((key for key in (*QUESTIONS, *ANSWERS) if key in row), None)
    missing = f"; beside {half} the {'answer' if half in QUESTIONS else 'question'} is missing" if half else ""
    return NoShape(f"its keys are none of the three shapes: {names}{more}{missing}")


def _export(row: Mapping[str, Any]) -> str | None:
    """Say what wrote a row, and what to do; None where its keys do not tell."""
    if isinstance(row.get("body"), dict) and "custom_id" in row:
        return "it is a request of a batch; take the messages out of its body, with the answer as the last"
    if ("custom_id" in row and "response" in row) or "choices" in row:
        return "it is the answer of an endpoint; write the question and the answer as messages"
    for key, what in EXPORTS.items():
        if key in row:
            return f"it looks like {what}; write each chat as messages"
    if "annotations" in row and "data" in row:
        return "it looks like an export of Label Studio; write its texts with what was written to them as rows"
    if "cells" in row and "nbformat" in row:
        return "it looks like a notebook of Jupyter; write what shall be learned as texts"
    return f"it holds tokens; {keys.ADVICE['input_ids']}" if "input_ids" in row else None
