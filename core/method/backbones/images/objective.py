"""What a network of pictures learns to predict: how latents are noised, the target, and what a timestep counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from core.errors import JobFailure
from core.method.backbones.images.views import weighted_mean
from core.method.transfers import to_device

PREDICTIONS = ("epsilon", "v_prediction")
NEARLY_CLEAN, THOUSAND = 50, 1000  # timesteps; a place in a flow is a share of a thousand
LEAST_SHARE = 1e-9  # so that no place is quite a picture or quite noise


class Objective(Protocol):
    """A way of noising latents, and what is to be predicted of them; (N, c, h, w) and timesteps (N,)."""

    def noised(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return the latents as they are at the timesteps."""

    def target(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return what the network is to predict."""

    def weight(self, timestep: Tensor) -> Tensor | None:
        """Return what each sample's error counts, (N,); None where all count alike."""

    def random(self, sizes: Tensor, generator: torch.Generator) -> Tensor:
        """Return the timesteps (N,) of one training step of latents of these `sizes` (N, 2), rows and columns."""

    def at(self, share: float, sizes: Tensor) -> Tensor:
        """Return for each size the timestep below which this share, in [0, 1), of the training's timesteps lies."""

    @property
    def nearly_clean(self) -> float:
        """The timestep of pictures that are looked at: what they show, not what noise hides."""


class Ddpm:
    """Denoising diffusion in discrete timesteps, with noise or velocity as the target: read from a scheduler's config.

    With `min_snr` = gamma the error of a timestep of signal-to-noise ratio s counts min(s, gamma) / s, and for velocity
    min(s, gamma) / (s + 1), so that nearly clean timesteps do not outweigh the rest (Hang et al. 2303.09556).
    Raises JobFailure "backbone_unavailable" where something else is to be predicted.
    """

    def __init__(self, config: Mapping[str, Any], min_snr: float | None = None) -> None:
        self.scheduler, self.min_snr = DDPMScheduler.from_config(config), min_snr
        if self.prediction not in PREDICTIONS:
            raise JobFailure(
                f"This backbone predicts {self.prediction!r}; only epsilon and v_prediction are taken.",
                code="backbone_unavailable",
            )

    @property
    def prediction(self) -> str:
        """What is predicted, in diffusers' words."""
        return str(self.scheduler.config.prediction_type)

    @property
    def velocity(self) -> bool:
        """Whether velocity is predicted, and not noise."""
        return self.prediction == "v_prediction"

    def noised(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return sqrt(a) latent + sqrt(1 - a) noise."""
        return self.scheduler.add_noise(latent, noise, timestep)

    def target(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return the noise, or the velocity sqrt(a) noise - sqrt(1 - a) latent."""
        return self.scheduler.get_velocity(latent, noise, timestep) if self.velocity else noise

    def weight(self, timestep: Tensor) -> Tensor | None:
        """Return the min-SNR weight of each timestep; None without `min_snr`."""
        if self.min_snr is None:
            return None
        kept = self.scheduler.alphas_cumprod.to(timestep.device)[timestep]
        ratio = kept / (1 - kept)
        if self.velocity:
            return ratio.clamp_max(self.min_snr) / (ratio + 1)
        return (self.min_snr / ratio).clamp_max(1.0)  # where there is no signal left it is 1, its limit

    def random(self, sizes: Tensor, generator: torch.Generator) -> Tensor:
        """Return timesteps drawn evenly."""
        return torch.randint(0, self._timesteps, (len(sizes),), generator=generator)

    def at(self, share: float, sizes: Tensor) -> Tensor:
        """Return the timestep at a share of them all."""
        return torch.full((len(sizes),), min(int(share * self._timesteps), self._timesteps - 1))

    @property
    def nearly_clean(self) -> int:
        """The timestep of pictures that are looked at."""
        return NEARLY_CLEAN

    @property
    def _timesteps(self) -> int:
        return int(self.scheduler.config.num_train_timesteps)


class Flow:
    """Rectified flow: on the straight line from a picture to noise its direction is predicted, at a place s in (0, 1).

    s is logit-normal (Esser et al. 2403.03206) and shifted towards the noise as a FlowMatchEulerDiscreteScheduler's
    config says: by a fixed factor, or by how many tokens a latent has, each of `patch` x `patch` of its places.
    """

    def __init__(self, config: Mapping[str, Any], patch: int = 2) -> None:
        self.config, self.patch = config, patch

    def noised(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return (1 - s) latent + s noise."""
        place = timestep.view(-1, 1, 1, 1)
        return (1 - place) * latent + place * noise

    def target(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return the direction noise - latent."""
        return noise - latent

    def weight(self, timestep: Tensor) -> None:
        """Return None: what is drawn more often counts more already."""

    def random(self, sizes: Tensor, generator: torch.Generator) -> Tensor:
        """Return places drawn as the training's are."""
        return self._quantiles(torch.rand(len(sizes), generator=generator, dtype=torch.float64), sizes)

    def at(self, share: float, sizes: Tensor) -> Tensor:
        """Return the quantile of the training's places, for each size."""
        return self._quantiles(torch.full((len(sizes),), share, dtype=torch.float64), sizes)

    @property
    def nearly_clean(self) -> float:
        """The place of pictures that are looked at."""
        return NEARLY_CLEAN / THOUSAND

    def _quantiles(self, share: Tensor, sizes: Tensor) -> Tensor:
        """Return shift(sigmoid(probit u)), (N,) in float32."""
        logit = torch.special.ndtri(share.clamp(LEAST_SHARE, 1 - LEAST_SHARE))
        return torch.sigmoid(logit + self._shifts(sizes).log()).float()

    def _shifts(self, sizes: Tensor) -> Tensor:
        """Return k of s -> k s / (1 + (k - 1) s), by which the odds s / (1 - s) are multiplied, for each size."""
        config = self.config
        if not config.get("use_dynamic_shifting"):
            return torch.full((len(sizes),), float(config.get("shift", 1.0)), dtype=torch.float64)
        least, most = (config.get(f"{end}_image_seq_len", usual) for end, usual in (("base", 256), ("max", 4096)))
        low, high = (config.get(f"{end}_shift", usual) for end, usual in (("base", 0.5), ("max", 1.15)))
        tokens = (sizes.double() / self.patch).floor().prod(1)
        shift = low + (high - low) * (tokens - least) / (most - least)
        return shift if config.get("time_shift_type") == "linear" else shift.exp()


def mean_square(difference: Tensor, timestep: Tensor, mask: Tensor | None, objective: Objective) -> Tensor:
    """Return the mean of each sample's squared difference, (N,), as its mask and the objective weigh it."""
    error = difference.square()
    mean = error.flatten(1).mean(1) if mask is None else weighted_mean(error, to_device(mask, error.device))
    weight = objective.weight(timestep)
    return mean if weight is None else mean * weight
