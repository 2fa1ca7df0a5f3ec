"""Tables of captions: a file that names images and says what each shows, as data sets and other trainers write it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core import text_safety
from core.errors import InvalidInput
from core.references.files import names
from core.references.files.formats import IMAGE_ENDINGS
from core.references.rows.json_rows import unique_keys
from core.references.rows.tables import SEPARATOR

ENDINGS = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv"})
FILE_KEYS = (
    "file_name",
    "filename",
    "file",
    "image",
    "image_path",
    "image_file",
    "file_path",
    "filepath",
    "path",
    "name",
)
WORD_KEYS = ("text", "caption", "captions", "prompt", "description", "tags")
INNER = ("images", "data", "items", "annotations", "captions")  # a key that holds the whole table
SHAPE = '{"file_name": "...", "text": "..."}'
NOTHING = ("nan", "NaN", "<NA>")  # as pandas writes a cell that is empty
MAX_COLUMN_CHARACTERS = 40
MAX_FAULTS = 1_000  # of rows of one table that are kept
LINE = re.compile(r"\s*\{[^\n]*\}\s*\n")  # JSONL begins with it, whatever the ending of its file


@dataclass(frozen=True)
class Row:
    """A line of a table: where it stands, which image it names, and its words, one line for each of several."""

    place: str
    file: str
    words: str


# places with what is in the row that stands there, or what is wrong with it
Rows = Iterator[tuple[str, Mapping[str, Any] | InvalidInput]]


@dataclass
class Table:
    """What a table says, and the columns of it that are not read."""

    rows: list[Row] = field(default_factory=list)
    passed_over: dict[str, None] = field(default_factory=dict)  # in their order
    has_captions: bool = False  # whether any row has a column of captions
    faults: list[InvalidInput] = field(default_factory=list)  # of rows that can't be read


def read(path: str, text: str, is_image: Callable[[str], bool] = lambda name: False) -> Table | None:
    """Read a table by its ending; None where it names no images. Raises InvalidInput where no row can be read.

    A name without an ending is one where it `is_image` of the set.
    """
    table = Table()
    for place, given in _rows(path, text, names.label(path), is_image):
        row = given if isinstance(given, InvalidInput) else _row(place, given, table)
        if row is None:
            return None
        if isinstance(row, Row):
            table.rows.append(row)
        elif len(table.faults) < MAX_FAULTS:
            table.faults.append(row)
    return table if table.rows or table.faults else None


def names_images(path: str, text: str) -> bool:
    """Tell whether a table speaks of images, and not of texts that have a name and a text too."""
    try:
        table = read(path, text)
    except InvalidInput:
        return False
    return (
        table is not None
        and table.has_captions
        and not table.faults
        and names.parts(table.rows[0].file)[2] in IMAGE_ENDINGS
    )


def caption_of(text: str) -> tuple[str, list[str]] | None:
    """Return the caption in a JSON file beside an image, and the keys that are not read; None where it has none."""
    try:
        row = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or (key := _first(row, WORD_KEYS)) is None or (words := _words(row[key])) is None:
        return None
    return words, _others(row, {key})


def _row(place: str, given: Mapping[str, Any], table: Table) -> Row | InvalidInput | None:
    """Return a row, or what is wrong with it; None where the first row shows that this is no table of captions."""
    file, words = _first(given, FILE_KEYS), _first(given, WORD_KEYS)
    if file is None and words is None and not table.rows:
        return None
    said = _words(given[words]) if words is not None and given[words] is not None else ""
    if file is None or said is None or not isinstance(given[file], str):
        return _bad(place)
    table.has_captions |= words is not None
    held = [key for key, value in given.items() if key not in (file, words) and value not in (None, "")]
    table.passed_over |= dict.fromkeys(str(key)[:MAX_COLUMN_CHARACTERS] for key in held)
    return Row(place, given[file], said)


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """Return the first of the keys that the row has, whatever the size of its letters."""
    known = {str(key).strip().lower(): key for key in row}
    return next((known[key] for key in keys if key in known), None)


def _words(value: object) -> str | None:
    """Return a caption: a text, or the lines of a list of texts; tags are lists of single words."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        tags = all(len(part.split()) <= 3 for part in value)
        return (", " if tags else "\n").join(" ".join(part.split()) for part in value)
    return None


def _rows(path: str, text: str, label: str, is_image: Callable[[str], bool]) -> Rows:
    """Yield the rows with their places; JSON is read as a whole or line by line, whichever it is."""
    ending = names.parts(path)[2]
    if ending in (".csv", ".tsv"):
        yield from _delimited(text, label, "\t" if ending == ".tsv" else None)
        return
    try:
        content = json.loads(text) if ending == ".json" or text.lstrip().startswith("[") else None
    except (ValueError, RecursionError) as error:
        if ending == ".json" and not LINE.match(text):
            message = f"{label} is not JSON; mend it or leave it out."
            raise InvalidInput(message, code="invalid_line", param="file") from error
        content = None
    yield from _lines(text, label) if content is None else _whole(content, label, is_image)


def _lines(text: str, label: str) -> Rows:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"line {number} of {label}"
            try:
                row = json.loads(line, object_pairs_hook=unique_keys)
            except (ValueError, RecursionError):
                row = None
            yield place, row if isinstance(row, dict) else _bad(place)


def _whole(content: object, label: str, is_image: Callable[[str], bool]) -> Rows:
    """Yield the rows of a list of objects, or of a mapping from images to captions or objects with captions."""
    if isinstance(content, dict) and (
        inner := next((key for key in INNER if isinstance(content.get(key), list)), None)
    ):
        content = content[inner]
    if isinstance(content, list):
        for number, row in enumerate(content, 1):
            if isinstance(row, dict):
                yield f"entry {number} of {label}", row
    elif isinstance(content, dict):
        for name, said in content.items():
            named = "." in name or is_image(name)
            if isinstance(said, dict) and (named or _first(said, WORD_KEYS)):
                yield f"{names.label(name)} in {label}", {"file_name": name, **said}
            elif named and _words(said) is not None:
                yield f"{names.label(name)} in {label}", {"file_name": name, "text": said}


def _delimited(text: str, label: str, delimiter: str | None) -> Rows:
    separator = SEPARATOR.match(text)
    text = text[separator.end() :] if separator else text
    head = text.partition("\n")[0]
    delimiter = separator[1] if separator else delimiter or max(",;\t|", key=head.count)
    titles = head.split(delimiter)
    headless = names.parts(names.canonical(titles[0].strip(' "')))[2] in IMAGE_ENDINGS and len(titles) > 1
    columns = ("file_name", "text") if headless else None
    reader = csv.DictReader(io.StringIO(text, newline=""), columns, delimiter=delimiter)
    try:
        for row in reader:
            place = f"line {reader.line_num + bool(separator)} of {label}"
            told = {key: None if cell in NOTHING else cell for key, cell in row.items()}
            yield place, _with_rest(told, delimiter, place)
    except csv.Error as error:
        place = f"line {reader.line_num + bool(separator)} of {label}"
        raise InvalidInput(f"Can't read {place}: {error}.", code="invalid_line", param="file") from error


def _with_rest(row: dict[Any, Any], delimiter: str, place: str) -> dict[str, Any] | InvalidInput:
    """Put cells beyond the last column back into it where it is the caption: hand-written tags have no quotes."""
    rest = row.pop(None, [])
    if not any(cell.strip() for cell in rest):
        return row
    last = list(row)[-1]
    if last != _first(row, WORD_KEYS):
        message = f"{begun(place)} has more cells than columns; put quotes around captions that hold the delimiter."
        return InvalidInput(message, code="invalid_line", param="file")
    return row | {last: delimiter.join([row[last] or "", *rest])}


def _others(row: Mapping[str, Any], used: set[str | None]) -> list[str]:
    """Return the keys of a row that hold something and are not read."""
    held = [key for key, value in row.items() if key not in used and value not in (None, "", [])]
    return [text_safety.shown(str(key))[:MAX_COLUMN_CHARACTERS] for key in held]


def _bad(place: str) -> InvalidInput:
    message = f"{begun(place)} is not {SHAPE}, or the like, in clean text."
    return InvalidInput(message, code="invalid_line", param="file")


def begun(place: str) -> str:
    """Return a place as a sentence begins with it: `entry 3` with a capital, and the name of a file as it is."""
    return place[0].upper() + place[1:] if place.startswith(("line ", "entry ")) else place
