"""Adapters put side by side, as a stack of runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.method.lora.adapter import Adapter


def stack(adapters: Sequence[Adapter]) -> Adapter:
    """Return the runs of all adapters as one stack."""
    first = adapters[0]
    down = {path: torch.cat([adapter.down[path] for adapter in adapters]) for path in first.down}
    up = {path: torch.cat([adapter.up[path] for adapter in adapters]) for path in first.up}
    return Adapter(first.rank, first.alpha, down, up)
