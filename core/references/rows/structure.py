"""Plain text that is something else: refused where it surely is, and named where it only looks so."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import UnsupportedMedia
from core.references.files import formats

HEAD = 20_000  # characters that are looked at
AS_JSONL = "write its rows as JSONL"
_ROW_KEYS = "messages|conversations|prompt|completion|text|role|from|instruction|question|answer|input|output"
_YAML = re.compile(
    rf"%YAML\b|-\s+[\"']?(?:{_ROW_KEYS})[\"']?\s*:"
    rf"|(?:{_ROW_KEYS}|data|rows|examples|items)\s*:\s*\n\s*-\s+[\"']?[\w-]{{1,40}}[\"']?\s*:\s"
    rf"|[\w-]{{1,40}}:[ \t]*\n[ \t]*-[ \t]+[\"']?(?:{_ROW_KEYS})[\"']?\s*:"
    rf"|(?:{_ROW_KEYS}):[ \t]*[|>][+-]?[ \t]*\n[ \t]+\S"
    rf"|-[ \t]+[\w-]{{1,40}}:[^\n]*\n(?:[ \t]+[\w-]{{1,40}}:[^\n]*\n){{0,5}}?[ \t]+(?:{_ROW_KEYS})[ \t]*:"
)
_FRONT = re.compile(r"---[ \t]*\n(?:[ \t]*- |[ \t]*[\w\"'-]+:(?:\s|$))")
_FRONT_ENDS = re.compile(r"\n(?:---|\.\.\.)[ \t]*\n\s*\S")
_KEY_LINE = re.compile(r"(?:- )?[\"']?[\w .-]{1,40}[\"']?\s*:(?:\s|$)|- ")
_INI = re.compile(r"(?:[#;][^\n]*\n\s*)*\[\[?[\w. \"-]{1,60}\]\]?[ \t]*\n\s*[\w.-]{1,60}\s*=")
_ROOT = re.compile(r"<([\w:.-]{1,60})(?:\s[^<>]{0,1000})?>")
_MARKDOWN_TABLE = re.compile(r"\|[^\n]+\|[ \t]*\n[ \t]*\|[ \t:|-]+\|")
_LOOKS = (
    (re.compile(r"---[ \t]*\n"), "Markdown with a head (front matter)"),
    (re.compile(r"\\documentclass\b|(?:%[^\n]*\n\s*)*\\(?:documentclass|begin\{|section\{)"), "LaTeX"),
    (_INI, "settings (INI or TOML)"),
    (re.compile(r"(?:--[^\n]*\n\s*|/\*[^/]*/\s*)*(?:CREATE TABLE|INSERT INTO|DROP TABLE)\b"), "a dump of a database"),
    (
        re.compile(
            r"From \S+@\S+ |(?:Return-Path|Delivered-To|Received|Message-ID):\s|(?:From|To|Subject): [^\n]*\n"
            r"(?:From|To|Cc|Date|Subject): "
        ),
        "e-mails with their headers",
    ),
    (re.compile(r"BEGIN:V(?:CARD|CALENDAR)\b"), "cards or a calendar"),
    (_MARKDOWN_TABLE, "a table of Markdown"),
)
TEMPLATE = "chats in the marks of a template"
_TEMPLATES = re.compile(
    r"<\|(?:im_start|user|assistant|system|eot_id|start_header_id|end|begin_of_text|endoftext)\|>|\[/?INST\]|<<SYS>>"
    r"|<\uff5c(?:User|Assistant)\uff5c>|<start_of_turn>|\bUSER: [^\n]*\bASSISTANT:"
    r"|^### ?(?:Instruction|Response|Human|Assistant|User)[ \t]*(?::|$)",
    re.MULTILINE,
)
# before a speaker's name: marks of Markdown; behind it a colon, or the end of a heading
_SPEAKER = r"^(?:[*_>]{{0,3}}[ \t]*(?:{0})(?: said)?[*_]{{0,2}}[ \t]*:|#{{1,6}}[ \t]+(?:{0})[ \t]*$)"
_ASKS = re.compile(_SPEAKER.format("User|Human|Q|Question|Prompt|Customer|Me|You"), re.MULTILINE | re.IGNORECASE)
_ANSWERS = re.compile(
    _SPEAKER.format("Assistant|Bot|AI|A|Answer|Completion|Response|Agent|GPT|ChatGPT|Claude|Gemini"),
    re.MULTILINE | re.IGNORECASE,
)
_STAMPED = re.compile(
    r"[\u200e\u200f\u202a]*\[?(?:(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4})[T,]?\s?\d{1,2}:\d\d"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{1,2}:\d\d(?::\d\d)?\]?\s+<[^\s<>]{1,40}>)|<[^\s<>/]{1,40}> \S"
)
_ROW_OF_JSON = re.compile(rf"(?:\S{{1,12}}[ \t]+)?\{{\s*\"(?:{_ROW_KEYS})\"\s*:")
_FENCED = re.compile(
    rf"^```(?:jsonl?|json5)?[ \t]*\n\s*[\[{{][\[{{\s]*\"(?:{_ROW_KEYS})\"\s*:", re.MULTILINE | re.IGNORECASE
)
# no space follows it, as in prose; no quote, as behind what somebody says; and it parts no thousands
_CELL_END = re.compile(r"(?<!\d),(?=[^\s\"'\u201d\u2019])|(?<=\d),(?=[^\s\"'\u201d\u2019])(?!\d{3}\b)")
MIN_LINES = 3  # that a log or a table has
MIN_STAMPED = 0.25  # of the lines of a log: what is said may take several


def check(text: str, name: str) -> None:
    """Raise UnsupportedMedia where a text is surely YAML or XML; its name only helps to tell."""
    head = text[:HEAD].lstrip("\ufeff \t\r\n")
    ending = name.lower().rpartition(".")[2]
    found = formats.of_text(head)
    if found is None and _is_yaml(head, ending):
        found = formats.Format("YAML", AS_JSONL, "markup")
    if found is None and (ending in ("toml", "ini", "cfg") and _INI.match(head)):
        found = formats.Format("settings (INI or TOML)", AS_JSONL, "markup")
    if found is None and _is_xml(head, text):
        found = formats.XML
    if found is None and _MARKDOWN_TABLE.match(head) and re.search(rf"\|\s*(?:{_ROW_KEYS})\s*\|", head[:1000], re.I):
        found = formats.Format("a table of Markdown", formats.AS_ROWS, "table")
    if found is not None:
        raise UnsupportedMedia(found.sentence(name), code="unsupported_media", param="file")


def guess(text: str) -> str | None:
    """Say what a text looks like that is learned as it stands, marks and all; None for prose."""
    head = text[:HEAD].lstrip("\ufeff \t\r\n")
    for pattern, name in _LOOKS:
        if pattern.match(head) and (name != _LOOKS[0][1] or (_FRONT.match(head) and _FRONT_ENDS.search(head))):
            return name
    if _TEMPLATES.search(head):
        return TEMPLATE
    if len(_ASKS.findall(head)) > 1 and len(_ANSWERS.findall(head)) > 1:
        return "chats with the speakers' names before what they say"
    lines = [line.strip() for line in head.split("\n") if line.strip()][:40]
    if sum(_STAMPED.match(line) is not None for line in lines) >= max(MIN_LINES, MIN_STAMPED * len(lines)):
        return "a log, or an export of a messenger"
    if _FENCED.search(head) or sum(_ROW_OF_JSON.match(line) is not None for line in lines) > 1:
        return "rows of JSON between other lines"
    if _is_table(lines):
        return "a table (CSV)"
    if _ROOT.match(head) and head.count("</") > 2:
        return "XML"
    return "YAML, or lines with speakers' names" if _many_keys(lines) else None


def of_template(text: str) -> bool:
    """Tell whether a text holds the marks of a chat template."""
    return _TEMPLATES.search(text[:HEAD]) is not None


def _is_table(lines: Sequence[str]) -> bool:
    """Tell whether all lines have as many cells; see _CELL_END."""
    cells = (_CELL_END, re.compile(r"\t"), re.compile(r";(?=\S)"))
    counts = [{len(pattern.findall(line)) for line in lines} for pattern in cells]
    return len(lines) >= MIN_LINES and any(len(count) == 1 and count != {0} for count in counts)


def _is_yaml(head: str, ending: str) -> bool:
    if _YAML.match(head):
        return True
    if _FRONT.match(head):
        return ending in ("yml", "yaml") or (_FRONT_ENDS.search(head) is None and _all_keys(head))
    return ending in ("yml", "yaml") and _KEY_LINE.match(head) is not None


def _all_keys(head: str) -> bool:
    """Tell whether every line is one of YAML: a key, a point of a list, a comment, or part of the one above."""
    lines = [line for line in head.split("\n")[1:40] if line.strip()]
    return all(_KEY_LINE.match(line) or line[0] in " \t-#]}" for line in lines)


def _is_xml(head: str, text: str) -> bool:
    """Tell whether one element holds all, and others in it."""
    root = _ROOT.match(head)
    if root is None:
        return False
    closing = f"</{root[1]}>"
    return text.rstrip()[-len(closing) :] == closing and head.count("</") > 2 and closing not in head[: len(head) // 2]


def _many_keys(lines: list[str]) -> bool:
    keyed = [line for line in lines if re.match(r"\s*(?:- )?[\w-]{1,30}:(?: \S|\s*$)", line)]
    return len(lines) > 3 and len(keyed) > 0.8 * len(lines) and len({line.split(":")[0] for line in keyed}) < len(keyed)
