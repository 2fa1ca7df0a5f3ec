"""What a block inside a network gives."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def output_of(block: nn.Module, run: Callable[[], object]) -> Tensor:
    """Run a network once and return what a block of it gave; the first of several tensors."""
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])

    handle = block.register_forward_hook(catch)
    try:
        run()
    finally:
        handle.remove()
    return caught[0]
