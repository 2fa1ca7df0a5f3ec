"""A latent diffusion backbone: Stable Diffusion in all its versions, FLUX, and smaller ones of the same parts.

It is a network, its objective (what is predicted), its conditioner (what it is told) and its call (how it is told).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from core.method.backbones.backbone import LENGTHS, Batch, Draw, Item, take
from core.method.backbones.counting import counted
from core.method.backbones.images.activations import means, means_and_spreads, places
from core.method.backbones.images.conditioners.conditioner import Conditioner, Frame
from core.method.backbones.images.folder import Folder
from core.method.backbones.images.forms import FORMS, FormName, read
from core.method.backbones.images.items import ItemEncoder
from core.method.backbones.images.objective import Objective, mean_square
from core.method.backbones.images.prompts import NOTHING, Prompts
from core.method.backbones.images.views import View
from core.method.backbones.profiler import Profiler
from core.method.backbones.shapes import cut, noise_of_shapes, shape_of
from core.method.lora.model import LoraModel
from core.method.memory.memory import Memory, weights_of
from core.method.transfers import to_device
from core.parameters.memory import Precision
from core.parameters.schedule import DRAWN_AT_ONCE

NOISE_SEEDS = 1_000_000  # between the seeds of two draws of noise


class DiffusionBackbone:
    """A frozen network that predicts noise, velocity or a flow among a frozen VAE's latents, told by text encoders."""

    kind = "images"

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        conditioner: Conditioner,
        *,
        resolution: int,
        target_modules: Sequence[str],
        form: FormName = "sd",
        profiler: Profiler | None = None,
    ) -> None:
        self.pipeline, self.conditioner, self.form = pipeline, conditioner, form
        self.profiler = profiler or Profiler()
        row = FORMS[form]
        self.network, self.call, self.sights = getattr(pipeline, row.part), row.call, row.sights
        self.latents, self.prompts = row.latents(pipeline.vae), Prompts(conditioner)
        self.objective: Objective = row.objective(pipeline.scheduler.config)
        self.lora = LoraModel(self.network, target_modules)
        self.memory = Memory(self.device, weights_of(self.network, pipeline.vae))
        self._items = ItemEncoder(self.latents, conditioner, self.memory, resolution)
        self._floats: tuple[torch.dtype, torch.dtype] | None = None  # of the first parameter, and of the network
        self.resolution = resolution
        self.drawn_size = (resolution, resolution)  # width and height in which pictures are drawn and looked at
        self.steps, self.guidance = row.steps, row.guidance  # in which and with how much they are drawn

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        form: FormName = "sd",
        resolution: int,
        target_modules: Sequence[str],
        device: str = "cpu",
        profiler: Profiler | None = None,
        variant: str | None = None,
        precision: Precision | None = None,
        checkpointing: bool = False,
    ) -> DiffusionBackbone:
        """Load a diffusers-format folder, offline, from safetensors only; without `precision` as float_type says.

        Its text encoders are read when something is encoded. `variant` names the weights to take, "fp16" say.
        """
        pipeline, conditioner = read(Folder(folder, torch.device(device), variant, precision, checkpointing), form)
        return cls(
            pipeline, conditioner, resolution=resolution, target_modules=target_modules, form=form, profiler=profiler
        )

    def draw_as(self, registered: Mapping[str, int | float]) -> None:
        """Draw in the steps and with the guidance that a backbone is registered with, where it is."""
        self.steps = int(registered.get("sample_steps", self.steps))
        self.guidance = float(registered.get("guidance", self.guidance))

    @property
    def device(self) -> torch.device:
        """Where the network lives; its own word for it goes through all of its modules each time."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The floats that the network is called with, asked of it anew where it has been cast since."""
        first = next(self.network.parameters()).dtype
        if self._floats is None or self._floats[0] != first:
            self._floats = first, self.network.dtype
        return self._floats[1]

    def encoding(self) -> AbstractContextManager[object]:
        """Keep the text encoders in memory until the block ends; outside, each call that needs them reads them."""
        return self.conditioner.encoding()

    @torch.no_grad()
    def encode(self, items: Sequence[Item]) -> Batch:
        """Return scaled latents `mean`, `std` (n, c, h, w) and all that the network is told of each, on the CPU.

        An item may say the `size` that it is trained in, width and height in pixels, and have a `mask` of greys. Where
        some caption has several lines, `lines` (n,) and for each tensor of a caption that of the others
        (`others_of`; n, most - 1, ...) hold the rest.
        """
        with self.encoding():
            return self._items.encode(items, self.profiler)

    def encode_pictures(self, items: Sequence[Item]) -> Batch:
        """Return what `encode` does, without what captions say."""
        return self._items.encode_pictures(items, self.profiler)

    @property
    def most_tokens(self) -> int:
        """How many tokens of a caption are looked at."""
        return self.conditioner.most_tokens

    def tokens(self, item: Item) -> int:
        """Count the tokens of an item's caption before it is cut; of several lines, those of the longest."""
        lines = [str(item.get("caption") or ""), *(item.get("others") or ())]
        return max(map(self.conditioner.tokens, lines))

    def conditions(self, prompts: Sequence[str]) -> Batch:
        """Return all that the network is told where it draws these prompts, a row for each."""
        return self._drawn(self.conditioner.encode(prompts), len(prompts))

    def nothing(self) -> Batch:
        """Return what the network is told, of a caption, where there is none: what guidance steers away from."""
        return self.prompts.of([NOTHING])

    def _drawn(self, told: Batch, count: int) -> Batch:
        width, height = self.drawn_size
        frame = Frame.whole(height, width)
        return told | self.conditioner.framing([frame] * count)

    def loss(self, batch: Batch, draw: Draw) -> Tensor:
        """Return the mean squared error of the prediction of every sample, (N,), weighted as masks and objective say.

        The samples have one shape. What protects counts as the batch says (`counted`).
        """
        batch = cut(batch)
        noisy, target, timestep = self._noised(batch, draw)
        predicted = self._predict(noisy, timestep, batch)
        losses = mean_square(predicted - target, timestep, batch.get("mask"), self.objective)
        return counted(losses, batch, lambda rows: self._from_frozen(predicted, noisy, timestep, batch, rows))

    def distance(self, batch: Batch, draw: Draw) -> Tensor:
        """Return the mean squared difference of every sample's prediction from the frozen network's, (N,)."""
        batch = cut(batch)
        noisy, _, timestep = self._noised(batch, draw)
        predicted = self._predict(noisy, timestep, batch)
        return self._from_frozen(predicted, noisy, timestep, batch, torch.arange(len(predicted)))

    def _noised(self, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Return the noised latents, what is to be predicted of them, and the timesteps."""
        assert draw.timestep is not None
        assert draw.noise is not None
        rows, columns = batch["mean"].shape[2:]
        latent, timestep = to_device(batch["mean"], self.device), to_device(draw.timestep, self.device)
        if draw.latent is not None:
            spread = to_device(batch["std"], self.device)
            latent = latent + spread * to_device(draw.latent[..., :rows, :columns], self.device)
        noise = to_device(draw.noise[..., :rows, :columns], self.device)
        target = self.objective.target(latent, noise, timestep)
        return self.objective.noised(latent, noise, timestep), target, timestep

    def _from_frozen(self, predicted: Tensor, noisy: Tensor, timestep: Tensor, batch: Batch, rows: Tensor) -> Tensor:
        """Return the distance of the samples `rows` from what is predicted of them without an adapter."""
        part, on = take(batch, rows), to_device(rows, self.device)
        with torch.no_grad(), self.lora.use(None):
            frozen = self._predict(noisy[on], timestep[on], part)
        return mean_square(predicted[on] - frozen, timestep[on], part.get("mask"), self.objective)

    @torch.no_grad()
    def predicted_from_noise(self, prompts: Sequence[str], draw: Draw) -> Tensor:
        """Return what is predicted from pure noise under each prompt (n, c, h, w); `draw` is of one example."""
        assert draw.timestep is not None
        assert draw.noise is not None
        noise = draw.noise.to(self.device).expand(len(prompts), -1, -1, -1)
        timestep = draw.timestep.to(self.device).expand(len(prompts))
        return self._predict(noise, timestep, self.conditions(prompts))

    def _predict(self, noisy: Tensor, timestep: Tensor, batch: Batch) -> Tensor:
        predicted = self.call(self.network, noisy.to(self.dtype), timestep, self._told(batch, self.device))
        return predicted.to(torch.promote_types(predicted.dtype, torch.float32))

    @torch.no_grad()
    def predicted_by(
        self, network: nn.Module, batch: Batch, draw: Draw, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Return what another network of the same make, in `dtype` on a device, predicts of a batch's mean latents."""
        assert draw.timestep is not None
        assert draw.noise is not None
        noisy = self.objective.noised(batch["mean"], draw.noise, draw.timestep).to(device, dtype)
        return self.call(network, noisy, draw.timestep.to(device), self._told(batch, device)).float()

    def _told(self, batch: Batch, device: torch.device) -> Batch:
        """Return what the network is told, on a device; how long captions are is for the host, which waits for none."""
        told = {name: batch[name] for name in self.conditioner.names}
        return {name: each.cpu() if name == LENGTHS else to_device(each, device) for name, each in told.items()}

    def random_draw(self, examples: int, generator: torch.Generator, sizes: Tensor | None = None) -> Draw:
        """Return fresh timesteps, noise and latent noise for one training step, whose pictures have one shape."""
        shape = self._latent_shape(examples, None if sizes is None else shape_of(sizes))
        return Draw(
            self.objective.random(torch.tensor([shape[2:]] * examples), generator),
            torch.randn(shape, generator=generator),
            torch.randn(shape, generator=generator),
        )

    def fixed_draws(self, count: int, examples: int, seed: int, sizes: Tensor | None = None) -> list[Draw]:
        """Return `count` draws, one in each of as many equal ranges of timesteps, shared by all examples of a shape."""
        generator = torch.Generator().manual_seed(seed)
        known = torch.tensor([self._latent_shape(1)[2:]] * examples) if sizes is None else sizes
        draws = []
        for number in range(count):
            share = (number + torch.rand(1, generator=generator).item()) / count
            noise = torch.randn(self._latent_shape(1), generator=generator)
            if sizes is None:
                noise = noise.expand(examples, -1, -1, -1)
            else:
                noise = noise_of_shapes(noise, sizes, seed + NOISE_SEEDS * (number + 1))
            draws.append(Draw(self.objective.at(share, known), noise))
        return draws

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        *,
        seed: int | Sequence[int],
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Image.Image]:
        """Return one image for each prompt; a seed gives each place in the list its starting noise, or each its own.

        Without `steps` and `guidance` they are its own, which are those of its form unless somebody has set them.
        """
        self.prompts.hold([NOTHING, *prompts])
        seeds = range(seed, seed + len(prompts)) if isinstance(seed, int) else seed
        images: list[Image.Image] = []

        def draw(places: Tensor) -> Sequence[Image.Image]:
            answer = self.pipeline(
                **self._asked([prompts[place] for place in places]),
                num_inference_steps=steps or self.steps,
                **{FORMS[self.form].guided: self.guidance if guidance is None else guidance},
                width=self.drawn_size[0],
                height=self.drawn_size[1],
                generator=[torch.Generator().manual_seed(seeds[int(place)]) for place in places],
                output_type="latent",
            )
            return self.latents.pictures(answer.images, *self._places)

        with self.profiler.timed("sample", len(prompts)):
            for _, drawn in self.memory.each("sample", torch.arange(len(prompts)).split(DRAWN_AT_ONCE), draw):
                images += drawn
        return images

    def _asked(self, prompts: Sequence[str]) -> dict[str, Any]:
        wanted, unwanted = self.prompts.of(prompts), self.prompts.of([NOTHING] * len(prompts))
        asked = self.conditioner.asked(wanted, unwanted)
        return {name: self._moved(said) for name, said in asked.items()}

    def _moved(self, said: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        if isinstance(said, Tensor):
            return said.to(self.device, self.dtype if said.is_floating_point() else said.dtype)
        return [each.to(self.device, self.dtype) for each in said]

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the frozen network's own view of what images show, (n, f)."""
        return means(self.sights.middle(self.network), self._read, images, self._look)

    def style_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return its view of how images are drawn, (n, f)."""
        return means_and_spreads(self.sights.shallow(self.network), self._read, images, self._look)

    def details(self, images: Sequence[Image.Image]) -> Tensor | None:
        """Return its view of details of images, (n, places, f) of unit length; None where `features` are to do."""
        block, sides = self.sights.middle(self.network), (self.drawn_size, self._places)
        return places(block, self._read, images, self._look, *sides) if self.sights.detailed else None

    def _read(self, given: Any) -> Tensor:
        """Read what a block gave of pictures in the size that they are looked at."""
        return self.sights.read(given, self._places[0] * self._places[1])

    @property
    def _places(self) -> tuple[int, int]:
        """The rows and columns of latents of pictures that are drawn."""
        width, height = self.drawn_size
        return height // self.latents.pixels, width // self.latents.pixels

    @torch.no_grad()
    def _look(self, images: Sequence[Image.Image]) -> Tensor:
        """Return what the frozen network predicts of nearly clean images."""
        views = [View.of({"image": image}, self.drawn_size) for image in images]
        latent, _ = self.latents.encode(torch.stack([view.pixels() for view in views]))
        timestep = torch.full((len(images),), self.objective.nearly_clean, device=self.device)
        with self.lora.use(None):
            return self._predict(latent, timestep, self._drawn(self.prompts.of([NOTHING] * len(images)), len(images)))

    def _latent_shape(self, examples: int, shape: tuple[int, int] | None = None) -> tuple[int, int, int, int]:
        """Return the sides of latents of a shape, rows and columns, or of squares."""
        side = self.resolution // self.latents.pixels
        return examples, self.latents.channels, *(shape or (side, side))
