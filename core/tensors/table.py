"""Named tensors of a file, whatever its format, read by hand: this side of the service has neither torch nor gguf."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DIMENSIONS = 8
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # the types that are read, as numpy has them
WORDS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BLOCK = 32  # numbers of a quantised tensor that are stored together
BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34}
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


def entry_of(code: str, shape: tuple[int, ...], data: memoryview, start: int, size: int | None) -> Entry:
    """Describe a tensor of the data; `size` in bytes is checked where the file tells it; raises ValueError."""
    blocks = -(-math.prod(shape) // BLOCK) * BLOCK_BYTES.get(code, 0)
    if min(shape, default=0) < 0 or len(shape) > MAX_DIMENSIONS or start + blocks > len(data):
        raise ValueError("a tensor lies outside of the file")
    if code not in NUMBERS:
        return Entry(code, shape, None)
    kind = np.dtype(NUMBERS[code])
    length = math.prod(shape) * kind.itemsize
    if start + length > len(data) or size not in (None, length):
        raise ValueError("a tensor lies outside of the file")

    def values() -> Values:
        flat = np.frombuffer(data[start : start + length], kind)
        wide = (flat.astype(np.uint32) << 16).view(np.float32) if code == "BF16" else flat
        return wide.reshape(shape) if length else wide  # numpy takes not every shape of nothing

    return Entry(WORDS[code], shape, values)
