"""A latent diffusion backbone: Stable Diffusion 1.x folders and smaller ones of the same parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from core.method.backbones.backbone import Batch, Draw, Item
from core.method.backbones.profiler import Profiler
from core.method.lora.model import LoraModel

ENCODED_AT_ONCE = 32
SEEN_AT_ONCE = 8
DRAWN_AT_ONCE = 4  # so that drawing needs no more memory than training, however many pictures a step is judged by
FEATURE_TIMESTEP = 50  # nearly clean: what the picture shows, not what the noise hides


class DiffusionBackbone:
    """A frozen UNet that predicts noise or velocity in a frozen VAE's latent space, told by a frozen text encoder."""

    kind = "images"

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        *,
        resolution: int,
        target_modules: Sequence[str],
        profiler: Profiler | None = None,
    ) -> None:
        self.pipeline, self.profiler = pipeline, profiler or Profiler()
        self.unet, self.vae, self.text_encoder = pipeline.unet, pipeline.vae, pipeline.text_encoder
        self.noising = DDPMScheduler.from_config(pipeline.scheduler.config)
        for part in (self.vae, self.text_encoder):
            part.requires_grad_(False).eval()
        self.lora = LoraModel(self.unet, target_modules)
        self.resolution = resolution

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        resolution: int,
        target_modules: Sequence[str],
        device: str = "cpu",
        profiler: Profiler | None = None,
    ) -> DiffusionBackbone:
        """Load a diffusers-format folder, offline, from safetensors only; bf16 weights on CUDA, float32 elsewhere."""
        dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
        options = {"use_safetensors": True, "local_files_only": True, "torch_dtype": dtype}
        text_options = {"use_safetensors": True, "local_files_only": True, "dtype": dtype}
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(folder, subfolder="vae", **options),
            text_encoder=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", **text_options),
            tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True),
            unet=UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **options),
            scheduler=DPMSolverMultistepScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline.to(device), resolution=resolution, target_modules=target_modules, profiler=profiler)

    @property
    def device(self) -> torch.device:
        """Where the UNet lives."""
        return self.unet.device

    @torch.no_grad()
    def encode(self, items: Sequence[Item]) -> Batch:
        """Return scaled latents `mean`, `std` (n, c, h, w) and embeddings `text` (n, tokens, width), on the CPU.

        Where some caption has several lines, `lines` (n,) and `others` (n, most - 1, tokens, width) hold the rest.
        """
        parts: list[Batch] = []
        for start in range(0, len(items), ENCODED_AT_ONCE):
            chunk = items[start : start + ENCODED_AT_ONCE]
            with self.profiler.timed("encode", len(chunk)):
                parts.append(self._encoded(chunk))
        batch = {name: torch.cat([part[name].float().cpu() for part in parts]) for name in ("mean", "std", "text")}
        return batch | self._other_lines([list(item.get("others") or ()) for item in items], batch["text"])

    @property
    def most_tokens(self) -> int:
        """How many tokens of a caption are looked at."""
        return int(self.pipeline.tokenizer.model_max_length)

    def tokens(self, item: Item) -> int:
        """Count the tokens of an item's caption before it is cut; of several lines, those of the longest."""
        lines = [str(item.get("caption") or ""), *(item.get("others") or ())]
        return max(len(self.pipeline.tokenizer(line).input_ids) for line in lines)

    def _encoded(self, chunk: Sequence[Item]) -> Batch:
        pixels = torch.stack([self._pixels(item["image"]) for item in chunk]).to(self.device, self.vae.dtype)
        latent = self.vae.encode(pixels).latent_dist
        factor = self.vae.config.scaling_factor
        text = self.embed([str(item.get("caption") or "") for item in chunk])
        return {"mean": latent.mean * factor, "std": latent.std * factor, "text": text}

    def _other_lines(self, others: Sequence[Sequence[str]], text: Tensor) -> Batch:
        """Return the embeddings of the lines after the first of every caption; nothing where no caption has any."""
        most = max(map(len, others), default=0)
        if not most:
            return {}
        held = text.new_zeros(len(others), most, *text.shape[1:])
        places = [(item, line) for item, lines in enumerate(others) for line in range(len(lines))]
        for start in range(0, len(places), ENCODED_AT_ONCE):
            some = places[start : start + ENCODED_AT_ONCE]
            embedded = self.embed([others[item][line] for item, line in some]).float().cpu()
            held[[item for item, _ in some], [line for _, line in some]] = embedded
        return {"lines": torch.tensor([1 + len(lines) for lines in others]), "others": held}

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Return the text encoder's last hidden states (n, tokens, width)."""
        tokens = self.pipeline.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=self.pipeline.tokenizer.model_max_length,
            return_tensors="pt",
        )
        return self.text_encoder(tokens.input_ids.to(self.device))[0]

    def loss(self, batch: Batch, draw: Draw) -> Tensor:
        """Return the mean squared error of the predicted noise (or velocity) of every sample, (N,)."""
        assert draw.timestep is not None
        assert draw.noise is not None
        latent = batch["mean"].to(self.device)
        if draw.latent is not None:
            latent = latent + batch["std"].to(self.device) * draw.latent.to(self.device)
        noise, timestep = draw.noise.to(self.device), draw.timestep.to(self.device)
        noisy = self.noising.add_noise(latent, noise, timestep)
        predicted = self._predict(noisy, timestep, batch["text"].to(self.device))
        velocity = self.noising.config.prediction_type == "v_prediction"
        target = self.noising.get_velocity(latent, noise, timestep) if velocity else noise
        return (predicted.float() - target).square().flatten(1).mean(1)

    @torch.no_grad()
    def predict(self, prompts: Sequence[str], draw: Draw) -> Tensor:
        """Return what is predicted from pure noise under each prompt (n, c, h, w); `draw` is of one example."""
        assert draw.timestep is not None
        assert draw.noise is not None
        noise = draw.noise.to(self.device).expand(len(prompts), -1, -1, -1)
        timestep = draw.timestep.to(self.device).expand(len(prompts))
        return self._predict(noise, timestep, self.embed(prompts)).float()

    def _predict(self, noisy: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        return self.unet(noisy.to(self.unet.dtype), timestep, text.to(self.unet.dtype)).sample

    def random_draw(self, examples: int, generator: torch.Generator) -> Draw:
        """Return fresh timesteps, noise and latent noise for one training step."""
        shape = self._latent_shape(examples)
        return Draw(
            torch.randint(0, self._timesteps, (examples,), generator=generator),
            torch.randn(shape, generator=generator),
            torch.randn(shape, generator=generator),
        )

    def fixed_draws(self, count: int, examples: int, seed: int) -> list[Draw]:
        """Return `count` draws, one in each of as many equal ranges of timesteps, shared by all examples."""
        generator = torch.Generator().manual_seed(seed)
        draws = []
        for number in range(count):
            share = (number + torch.rand(1, generator=generator).item()) / count
            noise = torch.randn(self._latent_shape(1), generator=generator)
            timestep = torch.full((examples,), min(int(share * self._timesteps), self._timesteps - 1))
            draws.append(Draw(timestep, noise.expand(examples, -1, -1, -1)))
        return draws

    @torch.no_grad()
    def sample(self, prompts: Sequence[str], *, seed: int, steps: int = 20, guidance: float = 3.0) -> list[Image.Image]:
        """Return one image for each prompt; the same seed gives each place in the list the same starting noise."""
        images: list[Image.Image] = []
        with self.profiler.timed("sample", len(prompts)):
            for start in range(0, len(prompts), DRAWN_AT_ONCE):
                some = list(prompts[start : start + DRAWN_AT_ONCE])
                generators = [torch.Generator().manual_seed(seed + start + place) for place in range(len(some))]
                answer = self.pipeline(
                    some,
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    height=self.resolution,
                    width=self.resolution,
                    generator=generators,
                )
                images += answer.images
        return images

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the frozen UNet's own view of what images show: the mid block's mean activations (n, f)."""
        return torch.cat([part.mean(2) for part in self._activations(images, self.unet.mid_block)])

    def style_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return its view of how images are drawn: mean and spread of the first block's channels (n, f).

        Channel statistics of a shallow layer hold colours and strokes, and not where things are (adaptive instance
        normalisation, Huang and Belongie 2017).
        """
        shallow = self._activations(images, self.unet.down_blocks[0])
        return torch.cat([torch.cat([part.mean(2), part.std(2)], dim=1) for part in shallow])

    def _activations(self, images: Sequence[Image.Image], block: torch.nn.Module) -> Iterator[Tensor]:
        """Yield what a block of the frozen UNet makes of a few images at a time: a hundred would fill the memory."""
        for start in range(0, len(images), SEEN_AT_ONCE):
            yield self._activated(images[start : start + SEEN_AT_ONCE], block)

    @torch.no_grad()
    def _activated(self, images: Sequence[Image.Image], block: torch.nn.Module) -> Tensor:
        """Return what a block of the frozen UNet makes of nearly clean images, (n, channels, places) on the CPU."""
        latent = torch.stack([self._pixels(image) for image in images]).to(self.device, self.vae.dtype)
        latent = self.vae.encode(latent).latent_dist.mean * self.vae.config.scaling_factor
        timestep = torch.full((len(images),), FEATURE_TIMESTEP, device=self.device)
        text = self.embed([""]).expand(len(images), -1, -1).to(self.unet.dtype)
        caught: list[Tensor] = []

        def catch(_module: torch.nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            caught.append(output if isinstance(output, Tensor) else output[0])

        handle = block.register_forward_hook(catch)
        try:
            with self.lora.use(None):
                self.unet(latent.to(self.unet.dtype), timestep, text)
        finally:
            handle.remove()
        return caught[0].float().flatten(2).cpu()

    @property
    def _timesteps(self) -> int:
        return int(self.noising.config.num_train_timesteps)

    def _latent_shape(self, examples: int) -> tuple[int, int, int, int]:
        side = self.resolution // self.pipeline.vae_scale_factor
        return examples, self.unet.config.in_channels, side, side

    def _pixels(self, image: Image.Image) -> Tensor:
        """The image's centre square at the resolution, (3, h, w) in -1..1."""
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
        square = square.resize((self.resolution, self.resolution), Image.Resampling.LANCZOS)
        pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).reshape(
            self.resolution, self.resolution, 3
        )
        return pixels.permute(2, 0, 1).float() / 127.5 - 1
