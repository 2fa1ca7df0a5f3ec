"""The licence of a model, as its own files name it: the front matter of README.md, else a known LICENSE."""

from __future__ import annotations

import re
from pathlib import Path

MOST = 100_000  # bytes that are read of a file
FRONT_MATTER = re.compile(r"\A﻿?---\s*\n(.*?)\n---", re.DOTALL)
FIELD = r"^{name}:[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?([^\"'\n#]+?)[\"']?[ \t]*$"
UNSAID = {"other", "unknown", "none", ""}
# How a known text begins, and what it is called.
TEXTS = (
    ("Apache License", "apache-2.0"),
    ("MIT License", "mit"),
    ("CreativeML Open RAIL++-M", "openrail++"),
    ("CreativeML Open RAIL-M", "creativeml-openrail-m"),
    ("LLAMA 3.3 COMMUNITY LICENSE", "llama3.3"),
    ("LLAMA 3.2 COMMUNITY LICENSE", "llama3.2"),
    ("LLAMA 3.1 COMMUNITY LICENSE", "llama3.1"),
    ("META LLAMA 3 COMMUNITY LICENSE", "llama3"),
    ("Gemma Terms of Use", "gemma"),
)
NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENSE-MODEL")


def read_licence(folder: Path) -> str | None:
    """Return the licence that a model's folder names; None where it names none that is understood."""
    card = _start(folder / "README.md")
    if (front := FRONT_MATTER.match(card)) is not None:
        said = _field(front[1], "license")
        if said.lower() not in UNSAID:
            return said
        named = _field(front[1], "license_name")
        if named.lower() not in UNSAID:
            return named
    for name in NAMES:
        beginning = _start(folder / name)[:2000].casefold()
        found = [called for words, called in TEXTS if words.casefold() in beginning]
        if found:
            return found[0]
    return None


def _field(text: str, name: str) -> str:
    found = re.search(FIELD.format(name=name), text, re.MULTILINE)
    return found[1].strip() if found else ""


def _start(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MOST).decode(errors="replace").replace("\r\n", "\n")
