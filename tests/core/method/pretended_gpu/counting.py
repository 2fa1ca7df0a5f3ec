"""How often a host waits for its device, by kind and by the line of ours that caused it; and what was launched."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from core.disk import ROOT

OURS = tuple(str(ROOT / folder) for folder in ("core", "worker"))
LIBRARIES = ("/transformers/", "/diffusers/")
# operations that launch no kernel
QUIET = """
view _unsafe_view t transpose permute expand slice select detach alias unsqueeze squeeze split split_with_sizes unbind
as_strided reshape _reshape_alias diagonal chunk _local_scalar_dense empty empty_like empty_strided new_empty
new_empty_strided
"""


class Count:
    """What a block has done, while `on`."""

    def __init__(self) -> None:
        self.on = False
        self._quiet = {f"aten::{name}" for name in QUIET.split()}
        self.begin()

    def begin(self) -> None:
        """Forget what was counted."""
        self.waits: Counter[tuple[str, str]] = Counter()
        self.operations: Counter[str] = Counter()
        self.bytes_in = self.bytes_out = 0

    def waited(self, kind: str) -> None:
        """Note that the host has waited for the device."""
        if self.on:
            self.waits[kind, _place()] += 1

    def moved(self, tensor: Tensor, *, into: bool, waits: bool = True) -> None:
        """Note that a tensor was copied to the device, or from it, and that the host has waited for it if it has."""
        if waits:
            self.waited("to device" if into else "to host")
        size = tensor.numel() * tensor.element_size() if self.on else 0
        if into:
            self.bytes_in += size
        else:
            self.bytes_out += size

    def launch(self, name: str) -> None:
        """Note an operation, unless it only looks at its operand differently."""
        if self.on and name not in self._quiet:
            self.operations[name] += 1

    def by_kind(self) -> dict[str, int]:
        """Return the waits of each kind."""
        kinds: Counter[str] = Counter()
        for (kind, _), times in self.waits.items():
            kinds[kind] += times
        return dict(kinds)


COUNT = Count()


@contextmanager
def counting() -> Iterator[Count]:
    """Count what the block does."""
    COUNT.begin()
    COUNT.on = True
    try:
        yield COUNT
    finally:
        COUNT.on = False


def _place() -> str:
    """Name the innermost line of ours, or of a library that computes for us."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS) or any(library in name for library in LIBRARIES):
            return f"{name.removeprefix(f'{ROOT}/').split('site-packages/')[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
