"""Tables of texts (CSV, TSV): a head that names the columns, and a row for each reference."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.errors import InvalidInput
from core.references.rows import keys, shapes
from core.references.rows.json_rows import MAX_LINE_CHARACTERS, Row
from core.text_safety import shown

DELIMITERS = ",;\t|"
ENDINGS = (".csv", ".tsv", ".tab")
COLUMNS = ("text", *shapes.QUESTIONS, *shapes.ANSWERS, *shapes.CHATS, *map(str.lower, shapes.SYSTEMS))
EXPECTED = "name its columns prompt and completion, or name one of them text, or write its rows as JSONL"
HEAD = 20_000  # characters that are looked at
MAX_TITLE = 60
NO_TITLE = "unnamed:_0"  # as pandas calls the column of its index when it reads it
SEPARATOR = re.compile(r"sep=([,;\t|])[ \t]*\n", re.IGNORECASE)  # what Excel writes above the head
_NUMBERS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1, "true": True, "false": False}


@dataclass(frozen=True)
class Table:
    """A text that is a table with columns that can be learned."""

    text: str  # from its head on
    delimiter: str
    titles: tuple[str, ...]
    head_line: int

    @property
    def _halves(self) -> tuple[str, ...]:
        """The columns of answers, and that of questions where there is one: of several some may be empty."""
        asked = [title for title in self.titles if title in shapes.QUESTIONS]
        return (*shapes.ANSWERS, *(asked if len(asked) == 1 else ()))

    @property
    def what(self) -> str:
        """Say how it is read."""
        known = [title for title in self.titles if title in (*shapes.QUESTIONS, *shapes.ANSWERS, *shapes.CHATS, "text")]
        name = "TSV" if self.delimiter == "\t" else "CSV"
        columns = f"the column {known[0]}" if len(known) == 1 else f"the columns {', '.join(known)}"
        return f"a table ({name}) with {columns}"

    def rows(self) -> Iterator[Row]:
        """Yield the rows with their lines; what is wrong with one is its fault."""
        csv.field_size_limit(MAX_LINE_CHARACTERS)
        reader = csv.reader(_lines(self.text), delimiter=self.delimiter, strict=True)
        begin = self.head_line
        while True:
            line = begin + reader.line_num
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                todo = "put quotes around texts, and double the quotes in them"
                yield Row(line, fault=f"it is not a row of a table ({_csv_fault(error)}); {todo}")
                return
            if line == begin or not any(cell.strip() for cell in cells):
                continue
            yield self._row(line, cells)

    def _row(self, line: int, cells: Sequence[str]) -> Row:
        if any(cell.strip() for cell in cells[len(self.titles) :]):
            what = f"it has {len(cells)} cells and the head {len(self.titles)}"
            return Row(line, fault=f"{what}; put quotes around texts that hold the delimiter")
        row = dict(zip(self.titles, cells, strict=False))
        try:
            # an empty cell is not given, but where a text should stand its fault is told
            return Row(line, {key: _value(key, cell) for key, cell in row.items() if cell or key in self._halves})
        except (ValueError, RecursionError) as error:
            return Row(line, fault=_no_chat(row, error))


def of(text: str, name: str) -> Table | None:
    """Return the text as a table where it is one; raises InvalidInput where it is one of other columns."""
    begin = len(text) - len(text.lstrip())
    if separator := SEPARATOR.match(text, begin):
        begin = separator.end()
    head = text[begin : begin + HEAD]
    named = name.lower().endswith(ENDINGS)
    delimiters = separator[1] if separator else ("\t" if name.lower().endswith((".tsv", ".tab")) else DELIMITERS)
    for delimiter in delimiters:
        titles = _titles(head, delimiter)
        if _known(titles, named):
            _check(titles, name)
            return Table(text[begin:], delimiter, titles, text.count("\n", 0, begin) + 1)
    if named or _looks_like(head):
        delimiter = max(DELIMITERS, key=head.partition("\n")[0].count)
        raise _other_columns(name, _cells(head, delimiter))
    return None


def _cells(head: str, delimiter: str) -> list[str]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    try:
        return next(csv.reader(_lines(head), delimiter=delimiter))
    except (csv.Error, StopIteration):
        return []


def _titles(head: str, delimiter: str) -> tuple[str, ...]:
    cells = _cells(head, delimiter)
    names = tuple(keys.plain(cell.strip("\ufeff")) or NO_TITLE for cell in cells)
    return names if all(len(cell) <= MAX_TITLE and "\n" not in cell for cell in cells) else ()


def _check(titles: Sequence[str], name: str) -> None:
    """Refuse a column that no row can have, once and not for each row."""
    for title in titles:
        if title not in COLUMNS and title not in keys.NAMED:
            advice = "leave it out, or rename it if it holds what shall be learned"
            message = f'{name} has the column "{shown(title)[: keys.MAX_SHOWN]}", which is not known here; {advice}.'
            raise InvalidInput(message, code="unknown_columns", param="file")


def _known(titles: Sequence[str], named: bool) -> bool:
    """Tell whether columns can be learned. Without a name that says so, "text" may be the first word of a text."""
    own = [title for title in titles if title != NO_TITLE]
    if len(set(own)) < len(own):
        return False
    if any(key in own for key in shapes.QUESTIONS) and any(key in own for key in shapes.ANSWERS):
        return True
    if not any(key in own for key in ("text", *shapes.CHATS)):
        return False
    return named or (len(titles) > 1 and all(key in ("text", *shapes.CHATS) or key in keys.KNOWN for key in own))


def _looks_like(head: str) -> bool:
    """Tell whether a text is surely a table: quoted cells in most lines, each with as many of them."""
    lines = [line for line in head.split("\n") if line.strip()][:20]
    quoted = sum(re.search(r'"[,;\t|]"', line) is not None for line in lines)
    return len(lines) > 2 and quoted > len(lines) / 2


def _other_columns(name: str, titles: Sequence[str]) -> InvalidInput:
    told = ", ".join(f'"{shown(title)[: keys.MAX_SHOWN]}"' for title in titles[:6]) if titles else ""
    has = f"its first line names {told}" if told else "its first line names no columns"
    return InvalidInput(
        f"{name} looks like a table (CSV), and {has}; {EXPECTED}.", code="unknown_columns", param="file"
    )


def _value(key: str, cell: str) -> object:
    if key in ("weight", *keys.LEARNED, *keys.NOT_LEARNED):
        return _NUMBERS.get(cell.strip().lower(), cell)
    if key in shapes.CHATS and cell.lstrip().startswith("["):
        return json.loads(cell, strict=False)
    return cell


def _csv_fault(error: csv.Error) -> str:
    """Say what the reader of tables stumbled over; its own words repeat the delimiter, which may be a tab."""
    if "expected after" in str(error):
        return "text follows behind a quoted cell"
    return "a quote is not closed" if "end of data" in str(error) or "limit" in str(error) else str(error)


def _no_chat(row: dict[str, str], error: Exception) -> str:
    cell = next((cell for key, cell in row.items() if key in shapes.CHATS), "")
    if re.match(r"\[\s*\{\s*'", cell):
        return "its chat is written as Python writes it, with single quotes; write the rows as JSONL, with json.dumps"
    why = error.msg.lower().removesuffix(" at") if isinstance(error, json.JSONDecodeError) else "nested too deeply"
    return f"its chat is not JSON ({why}); write the rows as JSONL"


def _lines(text: str) -> Iterator[str]:
    """Yield lines with their ends; never all at once."""
    return (found[0] for found in re.finditer(r"[^\n]*\n|[^\n]+", text))
