"""The tensors of an adapter's file, safetensors or GGUF; what is neither of them whole is refused in a sentence."""

from __future__ import annotations

import struct

from core.errors import InvalidInput
from core.tensors import gguf, safetensors
from core.tensors.table import Table


def damaged(name: str) -> InvalidInput:
    """Say that something in a file has not the shape that it has to have."""
    return InvalidInput(f"{name} is damaged; fetch it again.", code="invalid_adapter")


def read(content: memoryview, name: str) -> Table:
    """Read either kind of file; raises InvalidInput `invalid_adapter` for anything else, or half a file."""
    try:
        return gguf.read(content) if content[: len(gguf.MAGIC)] == gguf.MAGIC else safetensors.read(content)
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise InvalidInput(
            f"{name} is neither a complete safetensors file nor a complete GGUF file; fetch it again.",
            code="invalid_adapter",
        ) from None
