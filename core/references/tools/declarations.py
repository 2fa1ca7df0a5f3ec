"""The functions that a chat declares as tools, in OpenAI's form and in those of others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.references.rows import keys
from core.references.rows.remarks import Remarks
from core.references.tools import verbatim
from core.text_safety import shown

Tool = Mapping[str, Any]  # {"type": "function", "function": {"name", "description", "parameters", "return"}}
KEYS = ("tools", "functions")  # of a row; the second is what OpenAI called them first
MAX_TOOLS = 128  # as OpenAI takes
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NAMES = "a name has 1 to 64 letters of a-z, A-Z, 0-9, dots, _ and -"
# what the schema of the parameters is called by Anthropic, MCP and Gemini
SCHEMAS = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema")
LISTS = ("functionDeclarations", "function_declarations")  # Gemini's
PARTS = {"type", "name", "description", "return", "strict", *SCHEMAS}
NOT_WRITTEN = frozenset({"strict"})  # how an endpoint decodes; no template writes it


def named(row: Mapping[str, Any]) -> list[str]:
    """Return the keys under which a row declares tools."""
    return [key for key in KEYS if row.get(key) not in (None, "", [], {})]


def declared(row: Mapping[str, Any], remarks: Remarks) -> tuple[Tool, ...]:
    """Return the functions that a row declares, none where it declares none; raise ValueError for what they can't be.

    The schema of the parameters is carried as it stands.
    """
    under = named(row)
    if len(under) > 1:
        raise ValueError("it has tools and functions, which mean the same; keep one of them")
    if not under:
        return ()
    tools = [_tool(entry, f"tool {number}", remarks) for number, entry in enumerate(_listed(row, under[0], remarks), 1)]
    if len(tools) > MAX_TOOLS:
        raise ValueError(f"it has {len(tools)} tools; at most {MAX_TOOLS} are taken")
    names = [tool["function"]["name"] for tool in tools]
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise ValueError(f'two of its tools have the name "{twice}"; a call would not say which is meant')
    if not tools:
        remarks.ignored.add(under[0])
    elif under[0] == "functions":
        remarks.tools_read_as.add("functions, as OpenAI called tools first")
    return tuple(tools)


def check_name(name: object, where: str) -> str:
    """Return the name of a function; raise ValueError where it can't be one."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} has no name of a function")
    if not NAME.fullmatch(name):
        long = f" ({len(name)} letters)" if len(name) > 64 else ""
        raise ValueError(f'{where} has the name "{shown(name)[: keys.MAX_SHOWN]}"{long}; {NAMES}')
    return name


def _listed(row: Mapping[str, Any], key: str, remarks: Remarks) -> Sequence[object]:
    given = row[key]
    if isinstance(given, str):
        given = verbatim.parsed(given, f"its {key} in a string")
        remarks.tools_read_as.add("tools in a string of JSON")
    if isinstance(given, dict):
        given = [given] if given else []
    if not isinstance(given, list):
        raise ValueError(f"its {key} are not a list of functions")
    return list(_single(given, remarks))


def _single(given: Sequence[object], remarks: Remarks) -> Iterator[object]:
    """Yield each function by itself: Gemini puts several into one tool."""
    for number, entry in enumerate(given, 1):
        several = [key for key in LISTS if isinstance(entry, dict) and isinstance(entry.get(key), list)]
        if not several or not isinstance(entry, dict):
            yield entry
            continue
        where = f"tool {number}"
        keys.check_rest(keys.given(entry), several[:1], where, remarks)
        keys.check_part(entry, where, remarks)
        remarks.tools_read_as.add("tools as Gemini declares them")
        yield from entry[several[0]]


def _tool(entry: object, where: str, remarks: Remarks) -> Tool:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object with the name of a function")
    entry = keys.given(entry)
    _check_kind(entry, where)
    if "function" not in entry:
        return _function(entry, where, remarks)
    keys.check_rest(entry, {"type", "function"}, where, remarks)
    keys.check_part(entry, where, remarks)
    if not isinstance(entry["function"], dict):
        raise ValueError(f"the function of {where} is not an object with a name")
    function = keys.given(entry["function"])
    if function.get("type", "function") != "function":  # some write it a second time, where it says nothing
        remarks.ignored.add("type of a tool's function")
    return _function(function, where, remarks)


def _check_kind(entry: Mapping[str, Any], where: str) -> None:
    kind = entry.get("type", "function")
    if kind == "function" or (kind == "custom" and "input_schema" in entry):
        return
    told = f' is of the type "{shown(kind)[: keys.MAX_SHOWN]}"' if isinstance(kind, str) else "'s type is not a string"
    raise ValueError(f"{where}{told}; tools are functions here, so declare it as one, or leave it out")


def _function(given: Mapping[str, Any], where: str, remarks: Remarks) -> Tool:
    name = check_name(given.get("name"), where)
    where = f"{where} ({name})"
    keys.check_rest(given, PARTS, where, remarks)
    keys.check_part(given, where, remarks)
    remarks.ignored |= NOT_WRITTEN & given.keys()
    function: dict[str, Any] = {"name": name}
    if (description := given.get("description")) is not None:
        if not isinstance(description, str):
            raise ValueError(f"the description of {where} is not a string")
        function["description"] = remarks.clean(description)
    schemas = [key for key in SCHEMAS if key in given]
    if len(schemas) > 1:
        raise ValueError(f"{where} has {schemas[0]} and {schemas[1]}, which mean the same; keep one of them")
    if schemas and schemas[0] != "parameters":
        remarks.tools_read_as.add(f"tools with their parameters under {schemas[0]}")
    for key, kept in ((schemas[0] if schemas else "", "parameters"), ("return", "return")):
        if key in given:
            function[kept] = _schema(given[key], f"the {key} of {where}", remarks)
    return {"type": "function", "function": function}


def _schema(value: object, what: str, remarks: Remarks) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{what} can't be read: a JSON schema is an object")
    return verbatim.clean(value, what, remarks)
