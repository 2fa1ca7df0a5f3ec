"""What the chat template of a model's folder knows, found by rendering probes as transformers does, without it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict

MAX_CHARACTERS = 200_000  # of a template; those that people publish have 20,000 at most
MORE_TEMPLATES = "additional_chat_templates"
WITH_TOOLS = "tool_use"  # the name of the template that is taken where a chat has tools, of a model that has several
DAY = "2026-01-01"  # no probe depends on it
# a template is a program from somebody's folder: whatever it stumbles over, it has not taken the chat
STUMBLES = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# marks what the assistant says; for us it writes what is inside
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_WORD = "qzwxjv"  # stands for what somebody says, to see whether a template writes it
_CALL = {"name": f"{_WORD}call", "arguments": {"a": f"{_WORD}argument"}}
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": "a"}}}
_TOOLS = [{"type": "function", "function": {"name": f"{_WORD}call", "description": "a", "parameters": _SCHEMA}}]
_ASKED = {"role": "user", "content": "a"}
_CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "id": "123456789", "function": _CALL}],
}
_RESULT = {"role": "tool", "name": f"{_WORD}call", "tool_call_id": "123456789", "content": f"{_WORD}result"}

Messages = Sequence[Mapping[str, Any]]


class ChatFacts(BaseModel):
    """What a chat template writes; without a template chats are lines of a role and what it says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: bool
    system: bool  # a system prompt
    tools: bool  # which functions there are, calls of them, and their results


WITHOUT = ChatFacts(template=False, system=True, tools=False)


def there(folder: Path) -> bool:
    """Tell whether a tokenizer's folder has a template that is taken where nobody names another."""
    return "default" in _templates(folder, _config(folder))


def facts(folder: Path) -> ChatFacts:
    """Render probes with a folder's template; only that text is trusted to run, in jinja's sandbox."""
    config = _config(folder)
    templates = _templates(folder, config)
    if not templates:
        return WITHOUT

    def writes(messages: Messages, tools: Messages | None, *words: str) -> bool:
        source = templates.get(WITH_TOOLS if tools and WITH_TOOLS in templates else "default", "")
        try:
            said = _rendered(source, messages, tools, _special(config))
        except STUMBLES:
            return False
        return all(word in said for word in words)

    system = writes([{"role": "system", "content": _WORD}, _ASKED], None, _WORD)
    declared = writes([_ASKED], _TOOLS, f"{_WORD}call")
    called = writes([_ASKED, _CALLS, _RESULT], _TOOLS, f"{_WORD}argument", f"{_WORD}result")
    return ChatFacts(template=True, system=system, tools=declared and called)


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the templates by their names; a file of its own goes before what tokenizer_config.json says."""
    given = config.get("chat_template")
    found: dict[str, str] = {}
    if isinstance(given, str):
        found = {"default": given}
    elif isinstance(given, dict):
        found = {str(name): str(text) for name, text in given.items()}
    elif isinstance(given, list):
        named = [entry for entry in given if isinstance(entry, dict)]
        found = {str(entry.get("name")): str(entry.get("template")) for entry in named}
    files = {"default": folder / "chat_template.jinja"}
    files |= {path.stem: path for path in sorted((folder / MORE_TEMPLATES).glob("*.jinja"))}
    for name, path in files.items():
        if path.is_file() and path.stat().st_size <= MAX_CHARACTERS:
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return {name: text for name, text in found.items() if len(text) <= MAX_CHARACTERS}


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    """Return bos_token and the like, which templates write; newer files hold them as objects."""
    found = {}
    for name, value in config.items():
        token = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(token, str):
            found[name] = token
    return found


def _rendered(source: str, messages: Messages, tools: Messages | None, special: Mapping[str, str]) -> str:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _day
    template = environment.from_string(_GENERATION.sub("", source))
    return template.render(
        messages=list(messages),
        tools=tools,
        documents=None,
        add_generation_prompt=False,
        enable_thinking=False,
        **special,
    )


def _json(value: object, **options: Any) -> str:
    """Write JSON as transformers' templates expect it: without HTML's escapes, unlike jinja's own."""
    return json.dumps(value, ensure_ascii=False, **options)


def _day(form: str) -> str:
    return DAY


def _refuse(message: str) -> str:
    raise jinja2.TemplateError(message)
