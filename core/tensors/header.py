"""The header of a safetensors file: eight bytes of length, and JSON that describes the tensors, which are not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # as the library itself has it


@dataclass(frozen=True)
class Header:
    """What a file says of itself, and how it describes its tensors, by name."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Any]


def header_length(start: bytes, size: int, most: int = MAX_HEADER_BYTES) -> int:
    """Return how many bytes of JSON follow the first eight of a file of `size` bytes.

    Raises ValueError where they would be more than the file has, or than `most`.
    """
    length = int.from_bytes(start, "little") if len(start) == LENGTH_BYTES else 0
    if not 2 <= length <= min(size - LENGTH_BYTES, most):
        raise ValueError("no header")
    return length


def parsed_header(content: bytes) -> Header:
    """Read the JSON of a header, whose descriptions are not checked; raises ValueError, or RecursionError."""
    tensors = json.loads(content)
    if not isinstance(tensors, dict):
        raise ValueError("a header is no object")
    facts = tensors.pop("__metadata__", None) or {}
    return Header(facts, tensors)
