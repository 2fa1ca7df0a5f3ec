"""Pre-train the emoji latent diffusion model on the pool; an interrupted run resumes."""

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from core.disk import replacing
from demo.emoji_ldm.fit_unet import PEAK_RATE as UNET_RATE
from demo.emoji_ldm.fit_unet import Average, LatentPool, unet_steps
from demo.emoji_ldm.fit_vae import BATCH as VAE_BATCH
from demo.emoji_ldm.fit_vae import PEAK_RATE as VAE_RATE
from demo.emoji_ldm.fit_vae import encode_all, reconstruction_error, standardise_latents, vae_steps
from demo.emoji_ldm.model import (
    build_pipeline,
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    build_vae,
)
from demo.emoji_ldm.pool import PoolItem, every_caption, read_images, read_items

HERE = Path(__file__).resolve().parent
REPORT_EVERY = 50


@dataclass(frozen=True)
class Options:
    """Hold the command line."""

    pool: Path
    work: Path
    output: Path
    vae_steps: int
    unet_steps: int
    save_every: int
    seed: int
    threads: int


@dataclass(frozen=True)
class Denoiser:
    """Join the two networks that are trained together."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel

    def parameters(self) -> list[torch.nn.Parameter]:
        """List the parameters of both networks in a fixed order."""
        return [*self.unet.parameters(), *self.text_encoder.parameters()]


def save_state(state: dict[str, object], file: Path) -> None:
    """Replace a state file in one move, so a kill while saving loses nothing."""
    with replacing(file) as draft, draft.open("wb") as opened:  # torch takes no path whose name begins with a dot
        torch.save(state, opened)


def reported(stage: str, steps: Iterator[tuple[int, float]]) -> Iterator[int]:
    """Print the mean loss and the time per step now and then, and yield each finished step."""
    losses: list[float] = []
    started = time.monotonic()
    for step, loss in steps:
        losses.append(loss)
        if step % REPORT_EVERY == 0:
            seconds = (time.monotonic() - started) / len(losses)
            mean = sum(losses) / len(losses)
            print(f"{stage} {step} loss {mean:.4f} {seconds:.3f} s/step", flush=True)
            losses.clear()
            started = time.monotonic()
        yield step


def train_vae(options: Options, images: torch.Tensor) -> AutoencoderKL:
    """Train the autoencoder, or load it where an earlier run has finished it."""
    steps = options.vae_steps, options.save_every, options.seed
    return trained_vae(build_vae, images, options.work, steps, VAE_RATE, VAE_BATCH)


def trained_vae(
    build: Callable[[], AutoencoderKL],
    images: torch.Tensor,
    work: Path,
    steps: tuple[int, int, int],
    rate: float,
    batch: int,
) -> AutoencoderKL:
    """Train an autoencoder in a work folder, or load it where that is finished there.

    `steps` are how many there are, how many lie between two saved states, and the seed.
    """
    finished, (last, save_every, seed) = work / "vae", steps
    if finished.exists():
        return AutoencoderKL.from_pretrained(finished)
    torch.manual_seed(seed)
    vae = build()
    optimizer = torch.optim.AdamW(vae.parameters(), rate, weight_decay=0.0)
    file, start = work / "vae-state.pt", 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    for step in reported("vae", vae_steps(vae, optimizer, images, range(start, last), seed, rate, batch)):
        if step % save_every == 0:
            save_state({"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, file)
    standardise_latents(vae, images)
    vae.to(torch.float16).save_pretrained(finished)
    # A denoiser must learn on the latents of the rounded weights that are shipped.
    return AutoencoderKL.from_pretrained(finished)


def latent_pool(
    vae: AutoencoderKL, images: torch.Tensor, items: list[PoolItem], tokenizer: CLIPTokenizer
) -> LatentPool:
    """Encode the pool and its mirror images once."""
    means, deviations = encode_all(vae, torch.cat([images, images.flip(3)]))
    shape = (2, len(images), *means.shape[1:])
    return LatentPool(means.reshape(shape), deviations.reshape(shape), items, tokenizer)


def export(vae: AutoencoderKL, denoiser: Denoiser, average: Average, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the averaged model as a pipeline in half precision, to be computed in single."""
    shipped = copy.deepcopy(denoiser)
    average.copy_to(shipped.parameters())
    shipped_vae = copy.deepcopy(vae)
    # A loaded model records the folder it came from, which says nothing on another machine.
    shipped_vae.register_to_config(_name_or_path="")
    half = [m.to(torch.float16) for m in (shipped_vae, shipped.unet, shipped.text_encoder)]
    build_pipeline(*half, tokenizer).save_pretrained(folder)
    # transformers loads in the dtype of its configuration, diffusers in float32: both have to be the same
    config = folder / "text_encoder/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def train_denoiser(options: Options, vae: AutoencoderKL, pool: LatentPool, tokenizer: CLIPTokenizer) -> None:
    """Train denoiser and text encoder, exporting the moving average as it goes."""
    torch.manual_seed(options.seed + 1)
    denoiser = Denoiser(build_unet(), build_text_encoder(tokenizer))
    average = Average(denoiser.parameters())
    optimizer = torch.optim.AdamW(average.parameters, UNET_RATE, weight_decay=1e-4, betas=(0.9, 0.99))
    file, start = options.work / "unet-state.pt", 0
    if file.exists():
        start = load_denoiser(file, denoiser, average, optimizer)
    span = range(start, options.unet_steps)
    networks = (denoiser.unet, denoiser.text_encoder, build_scheduler())
    steps = unet_steps(*networks, optimizer, average, pool, span, options.seed)
    for step in reported("unet", steps):
        if step % options.save_every == 0:
            save_denoiser(file, denoiser, average, optimizer, step)
            export(vae, denoiser, average, tokenizer, options.work / "latest")
    export(vae, denoiser, average, tokenizer, options.output)


def save_denoiser(
    file: Path, denoiser: Denoiser, average: Average, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Save all that a resumed run needs; the random draws follow from the step."""
    state: dict[str, object] = {
        "unet": denoiser.unet.state_dict(),
        "text_encoder": denoiser.text_encoder.state_dict(),
        "average": average.values,
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    save_state(state, file)


def load_denoiser(file: Path, denoiser: Denoiser, average: Average, optimizer: torch.optim.Optimizer) -> int:
    """Restore a saved state and return its step."""
    state = torch.load(file, weights_only=True)
    denoiser.unet.load_state_dict(state["unet"])
    denoiser.text_encoder.load_state_dict(state["text_encoder"])
    average.values = state["average"]
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, default=HERE / "pool", help="the prepared pool")
    parser.add_argument("--work", type=Path, required=True, help="folder for resumable state")
    parser.add_argument("--output", type=Path, required=True, help="where the pipeline is written")
    parser.add_argument("--vae-steps", type=int, default=2500, help="autoencoder steps")
    parser.add_argument("--unet-steps", type=int, default=5000, help="denoiser steps")
    parser.add_argument("--save-every", type=int, default=250, help="steps between saved states")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and draws")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Run the stages in order; finished ones are skipped."""
    options = read_options()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    items = read_items(options.pool)
    images = read_images(options.pool, items)
    vae = train_vae(options, images).eval()
    print(f"autoencoder error {reconstruction_error(vae, images):.5f}", flush=True)
    tokenizer = build_tokenizer(every_caption(items))
    train_denoiser(options, vae, latent_pool(vae, images, items, tokenizer), tokenizer)


if __name__ == "__main__":
    main()
