"""Safetensors files: the tensors that the header describes, each checked against the bytes that are there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from core.tensors.header import LENGTH_BYTES, header_length, parsed_header
from core.tensors.table import Entry, Table, entry_of

BITS = {
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


def read(content: memoryview) -> Table:
    """Read a whole file; where it is damaged, raises ValueError, TypeError, AttributeError, LookupError or the like."""
    length = header_length(bytes(content[:LENGTH_BYTES]), len(content))
    header = parsed_header(bytes(content[LENGTH_BYTES : LENGTH_BYTES + length]))
    if not all(isinstance(value, str) for value in header.facts.values()):
        raise ValueError("a fact is no text")
    data = content[LENGTH_BYTES + length :]
    return Table("safetensors", header.facts, {name: _entry(row, data) for name, row in header.tensors.items()})


def _entry(row: Mapping[str, Any], data: memoryview) -> Entry:
    """Describe a tensor of a safetensors file, of whose place and size nothing may be false, whatever its type."""
    code, shape, (start, end) = row["dtype"], tuple(row["shape"]), row["data_offsets"]
    if not isinstance(code, str) or {type(number) for number in (start, end, *shape)} != {int}:
        raise TypeError("a place is no whole number")
    if not 0 <= start <= end <= len(data):
        raise ValueError("a tensor lies outside of the file")
    if code in BITS and math.prod(shape) * BITS[code] != (end - start) * 8:
        raise ValueError("a tensor is of another size")
    return entry_of(code, shape, data, start, end - start)
