"""Read untrusted texts: rows of JSON or of a table, or plain text in paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InvalidInput, TooLarge
from core.references.faults import Faults
from core.references.items import TextItem
from core.references.notices import Notice
from core.references.rows import hygiene, json_rows, keys, structure, subtitles, tables
from core.references.rows.json_rows import MAX_LINE_CHARACTERS, Row
from core.references.rows.notes import RowNotes
from core.references.rows.remarks import Remarks
from core.references.rows.shapes import RECORDED, SHAPES, NoShape, shaped
from core.settings import Settings

__all__ = ["LEFT_OUT", "MAX_LINE_CHARACTERS", "RECORDED", "Lines", "left_out", "read", "read_jsonl", "shaped"]
MAX_TEXT_CHARACTERS = 90_000  # written as a line of JSON it may take twice as many, and is to be read again
LOOKED_AT = 5  # times as many rows as may be taken, where most are left out
# why `albatross record` may mark an answer, in `left_out` of its recording, as not to be trained on
LEFT_OUT = ("held_out", "cut", "filtered", "refusal", "empty", "not_learned")
# the end of a line that it has marked: one that is too long to be read at all is still known to be left out
_MARKED = re.compile(rf'"left_out": "({"|".join(LEFT_OUT)})"(?:, "why": "[^"\n]{{0,400}}")?\}}\}}\s*$')
JSON_ENDINGS = (".jsonl", ".json", ".ndjson")
# a page's end parts paragraphs where it follows a line's
_GAP = re.compile(r"[\n\x0c\x85]\s*[\n\x0c\x85]")


@dataclass(frozen=True)
class Lines:
    """The items of a file of texts, and what was noticed in it."""

    items: list[TextItem] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def read(content: bytes, name: str, limits: Settings) -> Lines:
    """Read a file of texts by what it looks like, each text once.

    Raises InvalidInput that names all bad lines, and what to do.
    """
    text, encoding = _text(content, name, limits)
    reader = _Reader(name, limits, once=True)
    if encoding is not None:
        reader.notes.notices.add("read_as", name, f"text in {encoding}")
    if json_rows.looks_like_json(text):
        return reader.of_rows(json_rows.rows(text, reader.notes.notices))
    if (said := subtitles.spoken(text)) is not None:
        reader.notes.notices.add("read_as", name, "subtitles, of which what is said is learned, a text for each")
        return reader.of_paragraphs(said)
    structure.check(text, name)  # raises where it is no text
    if (table := tables.of(text, name)) is not None:
        reader.notes.notices.add("read_as", f"line {table.head_line}", table.what)
        return reader.of_rows(table.rows())
    if name.lower().endswith(JSON_ENDINGS):  # then it is broken, and not prose
        return reader.of_rows(json_rows.rows(text, reader.notes.notices))
    if (looks_like := structure.guess(text)) is not None:
        reader.notes.notices.add("looks_like", name, looks_like)
    return reader.of_paragraphs(text)


def read_jsonl(content: bytes, name: str, limits: Settings) -> Lines:
    """Read the rows of a file of JSON, copies too; raises as `read`."""
    reader = _Reader(name, limits)
    return reader.of_rows(json_rows.rows(_text(content, name, limits)[0], reader.notes.notices))


def looks_like_jsonl(content: bytes) -> bool:
    """Tell whether the first line that is not blank begins like a JSON object, or like an array of objects."""
    return re.match(rb"[\xef\xbb\xbf\s]*(\{|\[\s*\{)", content) is not None


def unlearnable(row: Mapping[str, Any]) -> str | None:
    """Say why a line can't be learned from; None where it can."""
    try:
        item = shaped(row)
    except ValueError as error:
        return str(error)
    if len(item.words()) > MAX_TEXT_CHARACTERS:
        return f"it holds more than {MAX_TEXT_CHARACTERS:,} characters"
    return None


def left_out(row: Mapping[str, Any]) -> str | None:
    """Return why a recorded answer is left out of training; None where it is not. Raises ValueError."""
    recorded = row.get(RECORDED)
    if recorded is None:
        return None
    if not isinstance(recorded, dict):
        raise ValueError(f"its {RECORDED} is not an object")
    mark = recorded.get("left_out")
    if mark is not None and mark not in LEFT_OUT:
        raise ValueError(
            f"left_out of its {RECORDED} is none of null, {', '.join(LEFT_OUT)}; null trains on the answer"
        )
    return str(mark) if mark is not None else None


class _Reader:
    """Collects the items of one file, and all that is wrong with it."""

    def __init__(self, name: str, limits: Settings, *, once: bool = False) -> None:
        self.notes = RowNotes()
        self._name, self._limits = name, limits
        self._seen: dict[str, str] | None = {} if once else None  # structure -> where it was first
        self._items: list[TextItem] = []
        self._taken = 0  # copies too
        self._faults = Faults()
        self._shapes = False  # whether somebody is to be told what the shapes are

    def of_rows(self, rows: Iterator[Row]) -> Lines:
        """Read rows; raises InvalidInput that names every line which can't be used."""
        line = in_line = 0
        for number, row in enumerate(rows):
            if self._taken + len(self._faults) >= self._limits.max_items:
                raise self._too_many(self._limits.max_items, "lines")
            if number == LOOKED_AT * self._limits.max_items:
                raise self._too_many(number, "lines, those that are left out too")
            line, in_line = row.line, in_line + 1 if row.line == line else 1
            place = f"line {line}" if in_line == 1 else f"line {line}, row {in_line}"
            try:
                item = self._item(row, place)
            except InvalidInput as error:
                self._faults.add(error)
                continue
            if item is not None:
                with self._faults.kept():
                    self._add(item, place)
        return self._done()

    def of_paragraphs(self, text: str) -> Lines:
        """Read plain text, a text for every paragraph; blank lines stand between them."""
        for number, (line, part) in enumerate(_paragraphs(text), 1):
            if number > self._limits.max_items:
                raise self._too_many(self._limits.max_items, "paragraphs")
            place = f"paragraph {number}"
            with self._faults.kept():
                self._check_length(part, place)
                try:
                    plain = self.notes.washing.clean(part, f"line {line}").strip()
                except hygiene.UncleanText as error:
                    message = f"{place.capitalize()} of {self._name} is not clean text: {error}."
                    raise InvalidInput(message, code="encoding", param="file") from None
                if plain:
                    self._add(TextItem(text=plain), place)  # some letters become three
        return self._done()

    def _item(self, row: Row, place: str) -> TextItem | None:
        """Return the item of a row; None where it is left out."""
        if row.too_long:
            self._too_long(row, place)
            return None
        try:
            if row.fault is not None:
                raise NoShape(row.fault)
            value, remarks = self._object(row, place), Remarks()
            if (mark := left_out(value)) is not None:
                self.notes.notices.add("answers_left_out", place, mark)
                return None
            if keys.is_learned(value, "it", remarks) is False:
                self.notes.notices.add("rows_left_out", place, ", ".join(sorted(remarks.masked)) or "weight")
                return None
            item = shaped(value, remarks)
        except ValueError as error:
            raise self._unusable(row, place, error) from None
        self.notes.add(remarks, place)
        if item.text is not None and structure.of_template(item.text):
            self.notes.notices.add("looks_like", f"{place.capitalize()} of {self._name}", structure.TEMPLATE)
        return item

    def _object(self, row: Row, place: str) -> Mapping[str, Any]:
        """Return a row as an object: a list of messages is a chat, and a string a text."""
        value = row.value
        if isinstance(value, json_rows.Quoted):
            self.notes.read_as("rows that are strings with JSON in them", place)
        elif isinstance(value, str):
            self.notes.read_as("strings of JSON, each a text", place)
            return {"text": value}
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            self.notes.read_as("lists of messages, each a chat", place)
            return {"messages": value}
        if not isinstance(value, dict):
            raise NoShape("it is not an object")
        return value

    def _too_long(self, row: Row, place: str) -> None:
        if marked := _MARKED.search(row.raw):
            self.notes.notices.add("answers_left_out", place, marked[1])
            return
        what = f"{place.capitalize()} of {self._name} has more than {MAX_LINE_CHARACTERS:,} characters"
        raise TooLarge(f"{what}; split it into several.", code="line_too_long", param="file")

    def _unusable(self, row: Row, place: str, error: ValueError) -> InvalidInput:
        self._shapes = self._shapes or isinstance(error, NoShape)
        why = str(error)
        if isinstance(error, hygiene.UncleanText):
            column = json_rows.column_of_unstorable(row.raw)
            why = (
                f"it holds {why}" if column is None else f"it can't be stored: at column {column} is {_unstorable(why)}"
            )
        return InvalidInput(
            f"{place.capitalize()} of {self._name} can't be used: {why}.", code="invalid_line", param="file"
        )

    def _add(self, item: TextItem, place: str) -> None:
        self._check_length(item.words(), place)
        self._taken += 1
        if self._seen is not None and (first := self._seen.setdefault(item.structure(), place)) != place:
            self.notes.notices.add("text_copy", place, f"as {first}")
            return
        self._items.append(item)

    def _check_length(self, text: str, place: str) -> None:
        if len(text) > MAX_TEXT_CHARACTERS:
            what = f"{place.capitalize()} of {self._name} holds more than {MAX_TEXT_CHARACTERS:,} characters"
            raise TooLarge(f"{what}; split it into several.", code="text_too_long", param="file")

    def _too_many(self, most: int, what: str) -> TooLarge:
        message = f"{self._name} has more than {most:,} {what}."
        return TooLarge(message, code="too_many_items", param="file")

    def _done(self) -> Lines:
        try:
            self._faults.raise_all()
        except InvalidInput as error:
            if not self._shapes:
                raise
            gap = "\n" if "\n" in error.message else " "
            raise type(error)(error.message + gap + SHAPES, code=error.code, param=error.param) from None
        return Lines(self._items, list(self.notes.all()))


def _unstorable(why: str) -> str:
    return why.split(" in line")[0] + "; remove it"


def _text(content: bytes, name: str, limits: Settings) -> tuple[str, str | None]:
    if len(content) > limits.max_text_bytes:
        raise TooLarge(f"{name} has more than {limits.max_text_bytes:,} bytes.", code="text_too_large", param="file")
    try:
        return hygiene.decoded(content)
    except hygiene.UncleanText as error:
        raise InvalidInput(f"{name} is not clean text: {error}.", code="encoding", param="file") from error


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs with their lines; never all at once."""
    start, line = 0, 1
    for gap in _GAP.finditer(text):
        if part := text[start : gap.start()].strip():
            yield line, part
        line += text.count("\n", start, gap.end())
        start = gap.end()
    if part := text[start:].strip():
        yield line, part
