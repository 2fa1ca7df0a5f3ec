"""GGUF files, whose header is read from front to back."""

from __future__ import annotations

import struct
from typing import Any

from core.tensors.table import MAX_DIMENSIONS, Table, entry_of

MAGIC = b"GGUF"
NUMBERS = {0: "F32", 1: "F16", 28: "F64", 30: "BF16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0"}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def read(content: memoryview) -> Table:
    """Read a whole file; where it is damaged, raises struct.error, ValueError, LookupError, TypeError or the like."""
    cursor = _Cursor(content)
    cursor.at = len(MAGIC)
    if cursor.number("I") not in (2, 3):
        raise ValueError("another version")
    count, facts_count = cursor.number("Q"), cursor.number("Q")
    if max(count, facts_count) > len(content):
        raise ValueError("more entries than bytes")
    facts = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(facts_count)}
    rows = [_row(cursor) for _ in range(count)]
    alignment = int(facts.get("general.alignment", 32))
    data = content[-(-cursor.at // alignment) * alignment :]
    tensors = {
        name: entry_of(NUMBERS.get(code, f"type {code}"), shape, data, start, None) for name, shape, code, start in rows
    }
    return Table("gguf", facts, tensors)


def _row(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, dimensions = cursor.text(), cursor.number("I")
    if dimensions > MAX_DIMENSIONS:
        raise ValueError("too many dimensions")
    shape = tuple(reversed([cursor.number("Q") for _ in range(dimensions)]))  # GGUF counts from the inside
    return name, shape, cursor.number("I"), cursor.number("Q")


class _Cursor:
    """Reads a GGUF header from front to back."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.at = content, 0

    def number(self, code: str) -> Any:
        size = struct.calcsize(f"<{code}")
        (value,) = struct.unpack(f"<{code}", self.content[self.at : self.at + size])
        self.at += size
        return value

    def text(self) -> str:
        length = self.number("Q")
        if length > len(self.content) - self.at:
            raise ValueError("a text is cut off")
        value = bytes(self.content[self.at : self.at + length]).decode("utf-8", "replace")
        self.at += length
        return value

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if count > len(self.content) - self.at:
                raise ValueError("a list is cut off")
            return [self.value(inner) for _ in range(count)]
        return self.number(SCALARS[kind])
