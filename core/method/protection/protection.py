"""What fills a share of every batch so that the backbone keeps what it knew, and what that counts in the loss.

With a share gamma of the slots, a weight w on an example's own data and a weight d on the distance to what the frozen
backbone predicts of it, the risk is (1 - gamma) R_A + gamma (w R_B + d D_B). BAT's is w = 1, d = 0 (A1 of the paper's
reading). Prior preservation (DreamBooth, Ruiz et al. 2208.12242) is w > 0 on the backbone's own samples; learning
without forgetting (Li and Hoiem 1606.09282) is d > 0 on the references' own inputs. How they are put together is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from core.method.backbones.backbone import Batch, count

Means = Literal["replay", "distil", "both"]


@dataclass(frozen=True)
class Protection:
    """Hold the examples that protect, the share gamma of the slots that they get, and what they count.

    With `captions` (c rows of what unrelated captions say, no latents) the slots hold the references' own latents under
    these; only the distance may count then, for their data say nothing of such captions. A trial judges by references
    that scores were aimed at: `blind` has for each surrogate examples that were chosen without those it is judged by.
    """

    gamma: float = 0.0
    replay: float = 1.0  # of an example's own data
    distil: float = 0.0  # of the distance to the frozen backbone's prediction
    examples: Batch | None = None
    captions: Batch | None = None
    blind: tuple[Batch, ...] = ()

    @property
    def used(self) -> bool:
        """Whether there is anything to fill slots with, and slots for it."""
        return self.gamma > 0 and (self.examples is not None or self.captions is not None)

    @property
    def share(self) -> float:
        """The share of the slots that protect: gamma, or 0 where there is nothing to fill them with."""
        return self.gamma if self.used else 0.0

    @property
    def plain(self) -> bool:
        """Whether a slot counts as any other: BAT as the paper has it."""
        return (self.replay, self.distil) == (1.0, 0.0)

    @classmethod
    def by(
        cls, means: Means, weight: float, gamma: float, examples: Batch | None = None, captions: Batch | None = None
    ) -> Protection:
        """Return the protection by some means at a weight; `both` parts the weight in halves."""
        replay = {"replay": weight, "distil": 0.0, "both": weight / 2}[means]
        return cls(gamma, replay, weight - replay, examples, captions)

    def at(self, gamma: float) -> Protection:
        """Return it with another share."""
        return replace(self, gamma=gamma)

    def of_fold(self, fold: int) -> Protection:
        """Return what protects the surrogate that does not see a fold."""
        return replace(self, examples=self.blind[fold], blind=()) if self.blind else self

    def weighed(self, batch: Batch, slots: int) -> Batch:
        """Return a batch whose last `slots` examples count as protection does; as it is where all count alike."""
        if self.plain:
            return batch
        own = count(batch) - slots
        weight = torch.cat([torch.ones(own), torch.full((slots,), self.replay)])
        return batch | {"weight": weight, "distil": torch.cat([torch.zeros(own), torch.full((slots,), self.distil)])}


NONE = Protection()
