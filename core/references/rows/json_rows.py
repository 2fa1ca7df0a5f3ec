"""The rows of a file of JSON, however they are laid out: one a line, over several, in an array, under a heading."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.references.notices import Notices

MAX_LINE_CHARACTERS = 200_000
MAX_SEARCHED = 1_000_000  # characters that are read in vain for the ends of rows: what is broken shall not cost minutes
MAX_HEADING = 3  # lines above the first row
WRAPPERS = "data|rows|examples|samples|records|items|entries|dataset|train|training_data|training_examples"
TOO_LONG = "line_too_long"
TORN = "a string in it goes on in the next line; write line ends in strings as \\n"

_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_BLANK = re.compile(r"[\s\ufeff]*+")
_COMMENT = re.compile(r"(?:#|//|```)[^\n]*")
_COMMENTS = re.compile(r"(?:(?:#|//|```)[^\n]*+\s*+)++")
_COMMAS = re.compile(r"[,\s]*+")
_REST = re.compile(r"[ \t,]*+\n?")
_WRAPPED = re.compile(rf'\{{\s*"({WRAPPERS})"\s*:\s*\[')
# a text may begin with a brace too: {{of a wiki}}, {% of a template %}, { x | x > 0 }
_OBJECT = re.compile(r"""\{(?:\s*+(?:["'}/]|[\w$]+\s*:|\Z))""")
_ARRAY = re.compile(r'\[\s*+(?:\[\s*+)?[{"]')
_EMPTY_ARRAY = re.compile(r"\[\s*+\]")
_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")


@dataclass(frozen=True)
class Row:
    """One row: its line, and what it holds, or why that can't be read. `raw` is how it is written."""

    line: int
    value: Any = None
    fault: str | None = None
    raw: str = ""

    @property
    def too_long(self) -> bool:
        """Tell whether it is too long to be read at all."""
        return self.fault == TOO_LONG


def looks_like_json(text: str) -> bool:
    """Tell whether a text is JSON: by how it begins, or by rows under at most three lines of heading or comments."""
    begin = _BLANK.match(text).end()  # type: ignore[union-attr]
    if _OBJECT.match(text, begin) or _ARRAY.match(text, begin) or _EMPTY_ARRAY.match(text, begin):
        return True
    first = _some_lines(text, begin, 60)
    if text.startswith('"', begin):
        return all(isinstance(_loaded(line.rstrip(", \t")), str | Quoted) for line in first)
    place = next((place for place, line in enumerate(first) if isinstance(_loaded(line.rstrip(", \t")), dict)), None)
    if place is None or place > MAX_HEADING + sum(_COMMENT.match(line) is not None for line in first[:place]):
        return False
    return all(line.startswith("{") or _COMMENT.match(line) for line in first[place:])


def _some_lines(text: str, begin: int, most: int) -> list[str]:
    """Return the first lines that are not blank; a line that was cut off is left out unless it is the only one."""
    head = text[begin : begin + MAX_LINE_CHARACTERS]
    lines = [line.strip() for line in head.split("\n")]
    if len(head) == MAX_LINE_CHARACTERS and len(lines) > 1:
        lines.pop()
    return [line for line in lines if line][:most]


def _loaded(line: str) -> object:
    try:
        return _parsed(line)
    except (ValueError, RecursionError):
        return None


def rows(text: str, notices: Notices) -> Iterator[Row]:
    """Yield the rows of a file of JSON one by one, never all at once; how they were laid out is noticed."""
    yield from _Reader(text, notices).rows()


class _Reader:
    """Reads one file from its begin to its end."""

    def __init__(self, text: str, notices: Notices) -> None:
        self._text, self._notices = text, notices
        self._at, self._line, self._counted = 0, 1, 0
        self._array: str | None = None  # what closes the array that is read
        self._last_was_row, self._first = False, True
        self._searched = 0
        self._noticed: set[str] = set()
        self._next_line = 0  # where the line ends that was asked for last

    def rows(self) -> Iterator[Row]:
        self._skip_heading()
        while self._skip_blank():
            sign = self._text[self._at]
            if sign == "," and self._last_was_row:
                self._at = _COMMAS.match(self._text, self._at).end()  # type: ignore[union-attr]
                if self._array is None:
                    self._notice("rows with commas behind them")
            elif self._array is not None and sign == "]":
                yield from self._end_array()
            elif self._array is None and (found := _COMMENTS.match(self._text, self._at)):
                self._pass_over("comments" if sign in "#/" else "fences of Markdown")
                self._at = found.end()
            elif self._array is None and self._begins_array():
                continue
            else:
                yield self._row()
                self._last_was_row = True
        if self._array is not None:
            yield Row(self._number(), fault="the array that the rows stand in is not closed; the file may be cut short")

    def _number(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip_blank(self) -> bool:
        self._at = _BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]
        return self._at < len(self._text)

    def _skip_heading(self) -> None:
        for _ in range(MAX_HEADING):
            if (
                not self._skip_blank()
                or self._text[self._at] in '{["#/`'
                or not looks_like_json(self._text[self._at :])
            ):
                return
            self._pass_over("a heading")
            self._at = self._line_end()

    def _line_end(self) -> int:
        if self._next_line < self._at or self._next_line == 0:
            end = self._text.find("\n", self._at)
            self._next_line = end if end >= 0 else len(self._text)
        return self._next_line

    def _begins_array(self) -> bool:
        """Step into an array of rows, or an object that wraps one; an array of messages is a row of its own."""
        first, self._first = self._first, False
        if first and (found := _WRAPPED.match(self._text, self._at)):
            self._notice(f"a JSON array under the key {found[1]}")
            self._array, self._at = "}", found.end()
            return True
        pattern = _EMPTY_ARRAY if first and _EMPTY_ARRAY.match(self._text, self._at) else _ARRAY
        if not pattern.match(self._text, self._at) or self._bare_messages():
            return False
        self._notice("a JSON array")
        self._array, self._at = "", self._at + 1
        return True

    def _bare_messages(self) -> bool:
        first = _BLANK.match(self._text, self._at + 1).end()  # type: ignore[union-attr]
        end = self._end(first) if self._text.startswith("{", first) else None
        value = _loaded(self._text[first:end]) if end is not None else None
        return isinstance(value, dict) and ("role" in value or ("from" in value and "value" in value))

    def _end_array(self) -> Iterator[Row]:
        closing, self._array = self._array, None
        self._at += 1
        if closing and self._skip_blank():
            if self._text.startswith(closing, self._at):
                self._at += 1
            else:
                why = "beside its array of rows the object has other keys; keep the array alone"
                yield Row(self._number(), fault=why)
                self._at = len(self._text)

    def _row(self) -> Row:
        number, start = self._number(), self._at
        line_end = self._line_end()
        fault = "it is not JSON"
        if self._array is None and line_end - start <= MAX_LINE_CHARACTERS:
            line = self._text[start:line_end].rstrip("\ufeff \t")
            try:
                self._at = line_end
                return Row(number, _parsed(line), raw=line)
            except (ValueError, RecursionError) as error:
                fault = _fault(error, line)
        end = self._end(start)
        if end is None:
            self._at, self._array = (line_end, None) if self._array is None else (len(self._text), None)
            if line_end - start > MAX_LINE_CHARACTERS:
                return Row(number, fault=TOO_LONG, raw=self._text[line_end - 1000 : line_end])
            return Row(number, fault=fault, raw=self._text[start:line_end])
        return self._piece(number, start, end, line_end)

    def _piece(self, number: int, start: int, end: int, line_end: int) -> Row:
        """Return a row that does not fill its line: it goes on over several, or others follow."""
        raw = self._text[start:end]
        try:
            value = _parsed(raw)
        except (ValueError, RecursionError) as error:
            torn = end > line_end and _is_torn(raw)
            again = not torn and self._array is None  # what follows in these lines is looked at once more
            self._at = line_end if again else end
            self._searched += again * (end - start)
            return Row(number, fault=TORN if torn else _fault(error, raw), raw=raw)
        self._at = end
        if self._array is None:
            if end > line_end:
                self._notice("rows that go on over several lines")
            elif (rest := _REST.match(self._text, end).end()) <= line_end and rest < len(self._text):  # type: ignore[union-attr]
                self._notice("several rows in a line")
        return Row(number, value, raw=raw)

    def _end(self, start: int) -> int | None:
        """Return where the value that begins here ends; None where that can't be found."""
        if self._searched > MAX_SEARCHED:
            return None
        depth = 0
        for token in _TOKENS.finditer(self._text, start, start + MAX_LINE_CHARACTERS + 1):
            if token[0] in ("{", "["):
                depth += 1
            elif token[0] in ("}", "]"):
                depth -= 1
            if depth <= 0:
                whole = token.end() <= start + MAX_LINE_CHARACTERS
                return token.end() if whole and (depth == 0 and self._text[start] in '{["') else None
        self._searched += min(MAX_LINE_CHARACTERS, len(self._text) - start)
        return None

    def _notice(self, layout: str) -> None:
        if layout not in self._noticed:
            self._noticed.add(layout)
            self._notices.add("read_as", f"line {self._number()}", layout)

    def _pass_over(self, what: str) -> None:
        if what not in self._noticed:
            self._noticed.add(what)
            self._notices.add("lines_passed_over", f"line {self._number()}", what)


def _parsed(text: str) -> Any:
    # A tab or an escape as it is, in a string, is an accident whose meaning is plain; in a row of several lines a line
    # end in a string would rather be a quote that is missing.
    value = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_refuse_constant, strict="\n" in text)
    if isinstance(value, str) and value.lstrip().startswith('{"'):
        return Quoted(_parsed(value))
    return value


def _is_torn(raw: str) -> bool:
    """Tell whether a row is JSON but for line ends inside its strings."""
    try:
        return isinstance(json.loads(raw, strict=False), dict | list)
    except (ValueError, RecursionError):
        return False


class Quoted(dict[str, Any]):
    """A row that was written as a string with JSON in it."""


def _fault(error: Exception, raw: str) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        if re.match(r"\[?\s*\{\s*'", raw):
            return "it is written as Python writes it, with single quotes; write it with json.dumps"
        place = f"at column {error.colno}" if error.lineno == 1 else f"in its line {error.lineno}, column {error.colno}"
        return f"it is not JSON ({error.msg.lower().removesuffix(' at')} {place})"
    return str(error)


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object of JSON; raise ValueError where a key is in it twice."""
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key is there twice")
    return row


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant} is not a number")


def column_of_unstorable(raw: str) -> int | None:
    """Return the column of the first escaped null or lone surrogate of a row as it is written, from 1 on."""
    high: re.Match[str] | None = None
    for found in _ESCAPES.finditer(raw):
        code = int(found[1], 16) if found[1] else -1
        if high is not None and not (0xDC00 <= code < 0xE000 and found.start() == high.end()):
            return high.start() + 1
        if code == 0 or (high is None and 0xDC00 <= code < 0xE000):
            return found.start() + 1
        high = found if 0xD800 <= code < 0xDC00 else None
    return high.start() + 1 if high is not None else None
