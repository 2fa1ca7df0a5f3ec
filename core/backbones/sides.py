"""Which sides of pictures a diffusion backbone takes, read from the configurations beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

USUAL_STEP = 64  # of Stable Diffusion in all its versions
LEAST_STEP = 8
USUAL_PATCH = 2


def side_step(folder: Path) -> int | None:
    """Return the number of pixels that sides are multiples of; None where the folder can't be read.

    A network of pictures halves them: the VAE by one less than it has blocks, a U-Net likewise, and a transformer sees
    `patch` x `patch` latents as one. diffusers' pipelines draw no sides but multiples of 8.
    """
    try:
        pixels = pixels_per_latent(_object(folder / "vae/config.json"))
        unet, transformer = (folder / f"{part}/config.json" for part in ("unet", "transformer"))
        inside = _patch(_object(transformer)) if transformer.is_file() else pixels_per_latent(_object(unet))
    except (OSError, ValueError):
        return None
    return None if pixels is None or inside is None else max(LEAST_STEP, pixels * inside)


def step_missed(folder: Path, side: int) -> int | None:
    """Return the step that a square's side is no multiple of, where that can't be drawn; None where it can.

    A U-Net fills up what it halves; a transformer sees whole patches alone.
    """
    step = side_step(folder) if (folder / "transformer/config.json").is_file() else None
    return step if step is not None and side % step else None


def pixels_per_latent(config: Mapping[str, object]) -> int | None:
    """Return how many pixels a side is shorter for in a network of halvings, one for each block but the last."""
    blocks = config.get("block_out_channels") or config.get("dim_mult")
    return int(2 ** (len(blocks) - 1)) if isinstance(blocks, list) and blocks else None


def _patch(config: Mapping[str, object]) -> int:
    """Return the side of what a transformer sees as one; FLUX.1's pipeline packs by 2, which is not said there."""
    said = config.get("patch_size")
    return said if isinstance(said, int) and said > USUAL_PATCH else USUAL_PATCH


def _object(file: Path) -> Mapping[str, object]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
