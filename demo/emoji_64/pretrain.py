"""Pre-train one of the backbones of 64 pixels on the autoencoder that both share; an interrupted run resumes."""

import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ModelMixin

from demo.emoji_64.flow import FLOW
from demo.emoji_64.latents import Captions, LatentPool
from demo.emoji_64.model import Recipe, build_vae, read_text_encoder, read_tokenizer
from demo.emoji_64.xl import XL
from demo.emoji_ldm.fit_unet import Average, averaged_steps
from demo.emoji_ldm.fit_vae import PEAK_RATE, encode_all, reconstruction_error
from demo.emoji_ldm.pool import read_images, read_items
from demo.emoji_ldm.pretrain import reported, save_state, trained_vae

RECIPES = {"flow": FLOW, "xl": XL}
VAE = Path(__file__).resolve().parent / "weights/flow/vae"
VAE_BATCH = 16


@dataclass(frozen=True)
class Options:
    """Hold the command line."""

    network: str
    pool: Path
    work: Path
    output: Path
    vae_steps: int | None
    steps: int | None
    save_every: int
    seed: int
    threads: int
    device: str

    @property
    def recipe(self) -> Recipe:
        """How the network is built and learns."""
        return RECIPES[self.network]


def autoencoder(options: Options, images: torch.Tensor) -> AutoencoderKL:
    """Load the autoencoder that is shipped, or train another where its steps are asked for.

    A run that has trained one goes on with it, whatever is asked then: its network knows no other's latents.
    """
    if options.vae_steps is None and not (options.work / "vae").exists():
        return AutoencoderKL.from_pretrained(VAE)
    steps = options.vae_steps or 0, options.save_every, options.seed
    return trained_vae(build_vae, images, options.work, steps, PEAK_RATE / 2, VAE_BATCH)


def latent_pool(options: Options, vae: AutoencoderKL, images: torch.Tensor) -> LatentPool:
    """Encode the pool, its mirror images and its captions once."""
    items = read_items(options.pool)
    means, deviations = encode_all(vae, torch.cat([images, images.flip(3)]))
    shape = (2, len(images), *means.shape[1:])
    captions = Captions(read_text_encoder(), read_tokenizer(), items)
    return LatentPool(means.reshape(shape), deviations.reshape(shape), items, captions)


def export(recipe: Recipe, vae: AutoencoderKL, network: ModelMixin, average: Average, folder: Path) -> None:
    """Write the averaged model as a pipeline in half precision, to be computed in single."""
    shipped, shipped_vae = copy.deepcopy(network).cpu(), copy.deepcopy(vae)
    average.copy_to(list(shipped.parameters()))
    shipped_vae.register_to_config(_name_or_path="")
    half = [module.to(torch.float16) for module in (shipped_vae, shipped, read_text_encoder())]
    recipe.pipeline(*half, read_tokenizer()).save_pretrained(folder)
    # transformers loads in the dtype of its configuration, diffusers in float32: both have to be the same
    for part in ("text_encoder", "text_encoder_2"):
        config = folder / part / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def train_network(options: Options, vae: AutoencoderKL, pool: LatentPool) -> None:
    """Train the network, exporting the moving average as it goes; random draws follow from the step."""
    recipe = options.recipe
    torch.manual_seed(options.seed + 1)
    network = recipe.build(pool.captions.whole.shape[1]).to(options.device)
    average = Average(list(network.parameters()))
    optimizer = torch.optim.AdamW(average.parameters, recipe.rates[0], weight_decay=1e-4, betas=(0.9, 0.99), fused=True)
    file, start = options.work / f"{options.network}-state.pt", 0
    if file.exists():
        state = torch.load(file, weights_only=True, map_location=options.device)
        network.load_state_dict(state["network"])
        average.values, start = state["average"], int(state["step"])
        optimizer.load_state_dict(state["optimizer"])

    def loss(step: int) -> torch.Tensor:
        return recipe.loss(network, pool.batch(options.seed, step))

    steps = averaged_steps(loss, optimizer, average, range(start, options.steps or recipe.steps), recipe.rates)
    for step in reported(options.network, steps):
        if step % options.save_every == 0:
            state = {
                "network": network.state_dict(),
                "average": average.values,
                "optimizer": optimizer.state_dict(),
                "step": step,
            }
            save_state(state, file)
            export(recipe, vae, network, average, options.work / f"latest-{options.network}")
    export(recipe, vae, network, average, options.output)


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.emoji_64.pretrain", description=__doc__)
    parser.add_argument("network", choices=sorted(RECIPES), help="a transformer by flow matching, or SDXL's U-Net")
    parser.add_argument(
        "--pool", type=Path, required=True, help="a pool that demo.emoji_ldm.prepare wrote with --side 64"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for resumable state")
    parser.add_argument("--output", type=Path, required=True, help="where the pipeline is written")
    parser.add_argument("--vae-steps", type=int, help="train another autoencoder than the one here, in so many steps")
    parser.add_argument("--steps", type=int, help="steps of the network; unset: as its recipe has it")
    parser.add_argument("--save-every", type=int, default=250, help="steps between saved states")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and draws")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="where the network is trained, cuda say")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Run the stages in order; finished ones are skipped."""
    options = read_options()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    images = read_images(options.pool, read_items(options.pool))
    vae = autoencoder(options, images).eval()
    print(f"autoencoder error {reconstruction_error(vae, images):.5f}", flush=True)
    train_network(options, vae, latent_pool(options, vae, images))


if __name__ == "__main__":
    main()
