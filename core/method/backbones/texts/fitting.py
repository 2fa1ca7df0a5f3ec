"""A chat as a template takes it: some take no system prompt, and some only questions and answers in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Literal

from core.method.backbones.backbone import Item
from core.method.backbones.texts.template import ANSWERING, WORD, ChatTemplate, Refused

Change = Literal[
    "system in the question",
    "system turned into a question",
    "joined turns",
    "words beside a call",
    "one call a message",
    "last calls left out",
    "call ids",
]
Messages = list[Item]
Step = tuple[Change, Callable[[Messages], Messages]]
TOOL = "tool"  # the role of what a tool gives
CALL_ID = 9  # letters and digits: what Mistral's templates ask for
WRITE = "Leave them out of these chats, or choose a backbone whose chat template takes them."
NO_TEMPLATE = f"This backbone has no chat template, and nothing else has a place for tools and their calls. {WRITE}"
NO_TOOLS = f"The chat template of this backbone has no place for tools. {WRITE}"
NO_CALLS = f"The chat template of this backbone has no place for calls of tools and their results. {WRITE}"
LOST_CALLS = (
    "The chat template of this backbone leaves out a call of a tool, or its result: some write none where a chat "
    "declares no tools. Declare them, leave the chat out, or choose a backbone whose chat template takes it."
)


@dataclass(frozen=True)
class Fitted:
    """Messages that a template takes, and what was changed so that it does."""

    messages: Messages
    changes: frozenset[Change] = frozenset()


class Fitting:
    """Finds the least change with which a template takes a chat, once for chats of the same roles."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self._ways: dict[object, Sequence[Step]] = {}

    def fit(self, messages: Sequence[Item], *, answer: bool, tools: Sequence[Item] = ()) -> Fitted:
        """Return the chat as it is taken; raises Refused with the template's words where no change helps.

        What a template leaves out without a word counts as refused, as long as there is a way to have it written.
        """
        given = list(messages)
        self._check_tools(given, tools)
        if not self.template.there:
            return Fitted(given)
        order = (answer, bool(tools), *map(_kind, given))
        if order not in self._ways:
            self._ways[order] = self._found(given, answer, tools)
        return _stepped(given, self._ways[order])

    def _check_tools(self, messages: Messages, tools: Sequence[Item]) -> None:
        """Refuse what would be written without the tools, or without their calls."""
        if not self.template.there and (tools or any(map(is_tied, messages))):
            raise Refused(NO_TEMPLATE)
        if tools and not self.template.knows_tools:
            raise Refused(NO_TOOLS)
        if any(map(is_tied, messages)) and not self.template.knows_calls:
            raise Refused(NO_CALLS)

    def _found(self, messages: Messages, answer: bool, tools: Sequence[Item]) -> Sequence[Step]:
        refused, taken = None, list[tuple[Sequence[Step], set[int]]]()
        for way in WAYS:
            try:
                self.template.write(_stepped(messages, way).messages, answer=answer, tools=tools)
            except Refused as error:
                refused = refused or error
                continue
            taken.append((way, self._missing(messages, way, answer, tools)))
            if not taken[-1][1]:
                break
        if not taken:
            assert refused is not None
            raise refused
        least, lost = min(taken, key=lambda found: len(found[1]))
        if any(is_tied(messages[place]) for place in lost):
            raise Refused(LOST_CALLS)
        return least

    def _missing(self, messages: Messages, way: Sequence[Step], answer: bool, tools: Sequence[Item]) -> set[int]:
        """Return the places of messages of which the template leaves something out, but for answers without a call."""
        marked = [_marked(message, place) for place, message in enumerate(messages)]
        try:
            said = self.template.write(_stepped(marked, way).messages, answer=answer, tools=tools)
        except Refused:
            return {*range(len(messages))}
        kept = _last_call_alone(marked) if LAST_ALONE in way else marked
        marks = [_marks(message, words=CALLS_ALONE not in way) for message in kept]
        return {place for place, some in enumerate(marks) if any(mark not in said for mark in some)}


def _stepped(messages: Messages, way: Sequence[Step]) -> Fitted:
    changes: set[Change] = set()
    for change, step in way:
        stepped = step(messages)
        changes |= {change} if stepped != messages else set()
        messages = stepped
    return Fitted(messages, frozenset(changes))


def is_tied(message: Item) -> bool:
    """Tell whether a message calls a tool or holds its result: without one of them the other makes no sense."""
    return message["role"] == TOOL or bool(message.get("tool_calls"))


def _kind(message: Item) -> tuple[object, ...]:
    calls = len(message.get("tool_calls") or ())
    return message["role"], bool(message.get("content")), calls, message.get("weight", 1)


def _marked(message: Item, place: int) -> Item:
    """Return a message that says or calls words of its own, which no template writes in another way."""
    calls = message.get("tool_calls") or ()
    if message["role"] == ANSWERING and not calls:
        return message
    marked = {**message, "content": f"{WORD}{place}."} if message["content"] else message
    if not calls:
        return marked
    numbers = range(len(calls))
    functions = [{"name": f"{WORD}{place}n{at}.", "arguments": {"a": f"{WORD}{place}a{at}."}} for at in numbers]
    return {**marked, "tool_calls": [{**call, "function": one} for call, one in zip(calls, functions, strict=True)]}


def _marks(marked: Item, *, words: bool) -> list[str]:
    """Return what a template has to write of a marked message; `words`: also those beside a call."""
    if marked["role"] != ANSWERING:
        return [str(marked["content"])]
    functions = [call["function"] for call in marked.get("tool_calls") or ()]
    beside = [str(marked["content"])] if functions and words and marked["content"] else []
    return [*beside, *(mark for function in functions for mark in (function["name"], function["arguments"]["a"]))]


def _head(messages: Messages) -> int:
    """Count the system prompts that a chat begins with."""
    return next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))


def _late_systems(messages: Messages) -> Messages:
    """Let a user say what a system prompt after the beginning says."""
    head = _head(messages)
    return [*messages[:head], *(_as_user(message) for message in messages[head:])]


def _first_systems(messages: Messages) -> Messages:
    """Join the system prompts that a chat begins with."""
    head = _head(messages)
    return [*_joined(messages[:head]), *messages[head:]]


def _system_in_question(messages: Messages) -> Messages:
    """Put the system prompt in front of the first question, as Gemma's documentation says."""
    if _head(messages) != 1:
        return messages
    first, *rest = messages
    if not first["content"]:  # cut away: nothing stands in front of the question
        return rest
    if rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": f"{first['content']}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [_as_user(first), *rest]


def _as_user(message: Item) -> Item:
    return {**message, "role": "user"} if message["role"] == "system" else message


def _joined(messages: Messages) -> Messages:
    """Join messages of the same role that follow each other; what is partly not learned is not learned."""
    found: Messages = []
    for role, some in groupby(messages, key=lambda message: message["role"]):
        group = list(some)
        if len(group) == 1 or role == TOOL or any("tool_calls" in message for message in group):
            found += group
            continue
        whole = {**group[0], "content": "\n\n".join(str(one["content"]) for one in group if one["content"])}
        found.append(whole | ({"weight": 0} if any(one.get("weight", 1) == 0 for one in group) else {}))
    return found


def _calls_alone(messages: Messages) -> Messages:
    """Leave out what is said beside a call: some templates write the call only."""
    return [{**message, "content": ""} if message.get("tool_calls") else message for message in messages]


def _one_by_one(messages: Messages) -> Messages:
    """Give each of several calls in one message a message of its own, with its result after it.

    Words beside them stay with the first. Calls that end a chat have no results, and stay together.
    """
    found: Messages = []
    at = 0
    while at < len(messages):
        message, calls = messages[at], messages[at].get("tool_calls") or ()
        results = list(takewhile(lambda one: one["role"] == TOOL, messages[at + 1 :]))
        at += 1
        if len(calls) < 2 or {call.get("id") for call in calls} != {one.get("tool_call_id") for one in results}:
            found.append(message)
            continue
        at += len(results)
        for number, call in enumerate(calls):
            found.append({**message, "tool_calls": [call], **({"content": ""} if number else {})})
            found += [one for one in results if one["tool_call_id"] == call.get("id")]
    return found


def _last_call_alone(messages: Messages) -> Messages:
    """Leave out all but the first of several calls that end a chat: nothing says what would be given for each."""
    *before, last = messages
    return [*before, {**last, "tool_calls": last["tool_calls"][:1]}] if last.get("tool_calls") else messages


def _short_ids(messages: Messages) -> Messages:
    """Number the calls of tools: some templates take ids of one length only."""
    ids: dict[object, str] = {}

    def short(long: object) -> str:
        return ids.setdefault(long, f"{len(ids) + 1:0{CALL_ID}d}")

    found: Messages = []
    for message in messages:
        calls = [{**call, "id": short(call.get("id"))} for call in message.get("tool_calls") or ()]
        named = {"tool_call_id": short(message["tool_call_id"])} if "tool_call_id" in message else {}
        found.append({**message, **named, **({"tool_calls": calls} if calls else {})})
    return found


JOINED: Step = ("joined turns", _joined)
FIRST: Step = ("joined turns", _first_systems)
LATE: Step = ("system turned into a question", _late_systems)
IN_QUESTION: Step = ("system in the question", _system_in_question)
CALLS_ALONE: Step = ("words beside a call", _calls_alone)
ONE_BY_ONE: Step = ("one call a message", _one_by_one)
LAST_ALONE: Step = ("last calls left out", _last_call_alone)
IDS: Step = ("call ids", _short_ids)
PLAIN: tuple[tuple[Step, ...], ...] = (
    (),
    (JOINED,),
    (FIRST, LATE),
    (FIRST, LATE, JOINED),
    (FIRST, LATE, IN_QUESTION),
    (FIRST, LATE, IN_QUESTION, JOINED),
)
CALLS: tuple[tuple[Step, ...], ...] = tuple(
    (*fewer, *words, *ids)
    for fewer in ((), (ONE_BY_ONE,), (ONE_BY_ONE, LAST_ALONE))
    for words in ((), (CALLS_ALONE,))
    for ids in ((), (IDS,))
)
WAYS = tuple((*way, *more) for more in CALLS for way in PLAIN)
