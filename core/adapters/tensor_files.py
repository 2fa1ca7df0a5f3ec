"""Files of named tensors, safetensors and GGUF, read by hand: this side of the service has neither torch nor gguf."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

GGUF_MAGIC = b"GGUF"
MAX_HEADER_BYTES = 100_000_000
MAX_DIMENSIONS = 8
SAFETENSORS_NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
SAFETENSORS_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "C64": 64,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
WORDS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
GGUF_NUMBERS = {0: "F32", 1: "F16", 28: "F64", 30: "BF16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0"}
GGUF_BLOCK = 32  # numbers
GGUF_BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34}
GGUF_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
GGUF_STRING, GGUF_ARRAY = 8, 9
Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Entry:
    """One tensor: the type of its numbers in words, its shape, and how to read it (None: of a type not read here)."""

    numbers: str
    shape: tuple[int, ...]
    read: Callable[[], Values] | None


@dataclass(frozen=True)
class Table:
    """What a file says of itself, and its tensors by name."""

    kind: str  # safetensors or gguf
    facts: Mapping[str, Any]
    tensors: Mapping[str, Entry]


def damaged(name: str) -> InvalidInput:
    """Say that something in a file has not the shape that it has to have."""
    return InvalidInput(f"{name} is damaged; fetch it again.", code="invalid_adapter")


def read(content: memoryview, name: str) -> Table:
    """Read either kind of file; raises InvalidInput `invalid_adapter` for anything else, or half a file."""
    try:
        return _gguf(content) if content[:4] == GGUF_MAGIC else _safetensors(content)
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise InvalidInput(
            f"{name} is neither a complete safetensors file nor a complete GGUF file; fetch it again.",
            code="invalid_adapter",
        ) from None


def _safetensors(content: memoryview) -> Table:
    (length,) = struct.unpack("<Q", content[:8])
    if not 2 <= length <= min(len(content) - 8, MAX_HEADER_BYTES):
        raise ValueError("no header")
    header = json.loads(bytes(content[8 : 8 + length]))
    facts = header.pop("__metadata__", None) or {}
    if not all(isinstance(value, str) for value in facts.values()):
        raise ValueError("a fact is no text")
    data = content[8 + length :]
    tensors = {name: _stored(entry, data) for name, entry in header.items()}
    return Table("safetensors", facts, tensors)


def _stored(entry: Mapping[str, Any], data: memoryview) -> Entry:
    """Describe a tensor of a safetensors file, of whose place and size nothing may be false, whatever its type."""
    code, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if not isinstance(code, str) or {type(number) for number in (start, end, *shape)} != {int}:
        raise TypeError("a place is no whole number")
    if not 0 <= start <= end <= len(data):
        raise ValueError("a tensor lies outside of the file")
    if code in SAFETENSORS_BITS and math.prod(shape) * SAFETENSORS_BITS[code] != (end - start) * 8:
        raise ValueError("a tensor is of another size")
    return _entry(code, shape, data, start, end - start)


def _entry(code: str, shape: tuple[int, ...], data: memoryview, start: int, size: int | None) -> Entry:
    """Describe a tensor of the data; `size` in bytes is checked where the file tells it."""
    blocks = -(-math.prod(shape) // GGUF_BLOCK) * GGUF_BLOCK_BYTES.get(code, 0)
    if min(shape, default=0) < 0 or len(shape) > MAX_DIMENSIONS or start + blocks > len(data):
        raise ValueError("a tensor lies outside of the file")
    if code not in SAFETENSORS_NUMBERS:
        return Entry(code, shape, None)
    kind = np.dtype(SAFETENSORS_NUMBERS[code])
    length = math.prod(shape) * kind.itemsize
    if start + length > len(data) or size not in (None, length):
        raise ValueError("a tensor lies outside of the file")

    def values() -> Values:
        flat = np.frombuffer(data[start : start + length], kind)
        wide = (flat.astype(np.uint32) << 16).view(np.float32) if code == "BF16" else flat
        return wide.reshape(shape) if length else wide  # numpy takes not every shape of nothing

    return Entry(WORDS[code], shape, values)


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
        if kind == GGUF_STRING:
            return self.text()
        if kind == GGUF_ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if count > len(self.content) - self.at:
                raise ValueError("a list is cut off")
            return [self.value(inner) for _ in range(count)]
        return self.number(GGUF_SCALARS[kind])


def _gguf(content: memoryview) -> Table:
    cursor = _Cursor(content)
    cursor.at = len(GGUF_MAGIC)
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
        name: _entry(GGUF_NUMBERS.get(code, f"type {code}"), shape, data, start, None)
        for name, shape, code, start in rows
    }
    return Table("gguf", facts, tensors)


def _row(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, dimensions = cursor.text(), cursor.number("I")
    if dimensions > MAX_DIMENSIONS:
        raise ValueError("too many dimensions")
    shape = tuple(reversed([cursor.number("Q") for _ in range(dimensions)]))  # GGUF counts from the inside
    return name, shape, cursor.number("I"), cursor.number("Q")
