"""Subtitles (SRT and WebVTT): what is said in them, without numbers, times and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TIME = r"(?:\d{1,3}:)?\d\d:\d\d[,.]\d{3}"
_TIMES = re.compile(rf"[ \t]*{_TIME}[ \t]+-->[ \t]+{_TIME}[^\n]*")
_BEGIN = re.compile(rf"WEBVTT\b|(?:\d{{1,6}}[ \t]*\n)?[ \t]*{_TIME} --> ")
# italics and the like, a voice, a colour, a place on the screen
_MARKS = re.compile(
    r"</?(?:[bicuv]|font|lang|ruby|rt)(?:[. ][^<>\n]*)?>|<[\d:.]{5,15}>|\{\\[^{}\n]{1,40}\}", re.IGNORECASE
)
_BLOCK = re.compile(r"\n[ \t]*\n\s*")


def spoken(text: str) -> str | None:
    """Return what is said as plain text, a paragraph for each cue; None where these are no subtitles."""
    text = text.lstrip("\ufeff \t\n")
    if _BEGIN.match(text) is None:
        return None
    return "\n\n".join(cue for block in _blocks(text) if (cue := _words(block))) or None


def _blocks(text: str) -> Iterator[str]:
    start = 0
    for gap in _BLOCK.finditer(text):
        yield text[start : gap.start()]
        start = gap.end()
    yield text[start:]


def _words(block: str) -> str:
    """Return the lines of a block that stand behind its times; blocks without times are notes and styles."""
    lines = block.split("\n")
    times = next((place for place, line in enumerate(lines[:2]) if _TIMES.fullmatch(line)), None)
    return "" if times is None else _MARKS.sub("", "\n".join(lines[times + 1 :])).strip()
