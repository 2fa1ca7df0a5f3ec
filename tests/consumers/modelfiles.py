"""A parser of Ollama's Modelfiles, by the grammar of its reference: comments, and an instruction with its value a line.

Stricter than Ollama: an instruction begins its line in capitals, and what is quoted ends where it began.
"""

from __future__ import annotations

import re

INSTRUCTIONS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES")
LINE = re.compile(
    rf'(?P<name>{"|".join(INSTRUCTIONS)}) (?:"""(?P<long>.*?)"""|"(?P<short>[^"\n]*)"|(?P<bare>[^"\s][^\n]*))\n', re.S
)
COMMENT = re.compile(r"(?:#[^\n]*)?\n")


def parsed(text: str) -> list[tuple[str, str]]:
    """Return instructions and their values in order; raises ValueError where a line is neither that nor a comment."""
    found, at = [], 0
    while at < len(text):
        if passed := COMMENT.match(text, at):
            at = passed.end()
        elif line := LINE.match(text, at):
            found.append(
                (line["name"], next(value for value in line.group("long", "short", "bare") if value is not None))
            )
            at = line.end()
        else:
            raise ValueError(f"no instruction: {text[at : at + 40]!r}")
    if sum(name == "FROM" for name, _ in found) != 1:
        raise ValueError("one FROM is needed")
    return found
