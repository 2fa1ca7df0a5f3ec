"""Which sides of pictures a diffusion backbone takes, read from the configurations beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

USUAL_STEP = 64  # of Stable Diffusion in all its versions
LEAST_STEP = 8


def side_step(folder: Path) -> int | None:
    """Return the number of pixels that sides are multiples of; None where the folder can't be read.

    A network of pictures is made of halvings: those of the VAE, one less than it has blocks, and those of the UNet.
    diffusers' pipelines draw no sides but multiples of 8.
    """
    try:
        halvings = [_blocks(folder / part / "config.json") - 1 for part in ("vae", "unet")]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return max(LEAST_STEP, 2 ** sum(halvings))


def _blocks(file: Path) -> int:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return len(content["block_out_channels"])
