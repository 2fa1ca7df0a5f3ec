"""Latents as transformers see them: 2 x 2 places as one, with four times the channels."""

from __future__ import annotations

from torch import Tensor


def packed(latents: Tensor) -> Tensor:
    """Return latents (n, c, h, w) as tokens (n, h w / 4, 4 c), row by row."""
    count, channels, rows, columns = latents.shape
    blocks = latents.reshape(count, channels, rows // 2, 2, columns // 2, 2)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(count, rows // 2 * (columns // 2), channels * 4)


def unpacked(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Return tokens as the latents (n, c, rows, columns) that they were."""
    blocks = tokens.reshape(len(tokens), rows // 2, columns // 2, tokens.shape[2] // 4, 2, 2)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), tokens.shape[2] // 4, rows, columns)
