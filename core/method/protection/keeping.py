"""How near an adapter leaves a backbone to what it was: the distance of its predictions from the frozen ones'.

The rise of a loss on the backbone's own data is not it: replay teaches that data, so its loss may fall below the start
while behaviour moves away. Our own measure; for texts it is the KL divergence that policies are held by elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw
from core.method.lora.adapter import Adapter
from core.method.training.loop import evaluate


def kept_distance(backbone: Backbone, adapter: Adapter, batch: Batch, draws: Sequence[Draw]) -> Tensor:
    """Return how far predictions of every example are from the frozen backbone's under every run, (R, n) on the CPU.

    images: mean squared difference of what is predicted, as a loss is; texts: KL(frozen || adapted), nats a token.
    """
    return evaluate(backbone, adapter, batch, draws, of=backbone.distance)
