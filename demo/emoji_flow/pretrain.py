"""Pre-train the emoji flow model on a pool of 64 pixels; an interrupted run resumes."""

import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from transformers import CLIPTokenizer

from demo.emoji_flow.fit_transformer import PEAK_RATE, Captions, LatentPool, transformer_steps
from demo.emoji_flow.model import build_pipeline, build_transformer, build_vae, read_text_encoder
from demo.emoji_ldm.fit_unet import Average
from demo.emoji_ldm.fit_vae import PEAK_RATE as VAE_RATE
from demo.emoji_ldm.fit_vae import encode_all, reconstruction_error
from demo.emoji_ldm.pool import read_images, read_items
from demo.emoji_ldm.pretrain import reported, save_state, trained_vae

WORDS = Path(__file__).resolve().parents[1] / "emoji_ldm/weights"
VAE_BATCH = 16


@dataclass(frozen=True)
class Options:
    """Hold the command line."""

    pool: Path
    work: Path
    output: Path
    vae_steps: int
    steps: int
    save_every: int
    seed: int
    threads: int
    device: str


def latent_pool(options: Options, vae: AutoencoderKL, images: torch.Tensor, tokenizer: CLIPTokenizer) -> LatentPool:
    """Encode the pool, its mirror images and its captions once."""
    items = read_items(options.pool)
    means, deviations = encode_all(vae, torch.cat([images, images.flip(3)]))
    shape = (2, len(images), *means.shape[1:])
    captions = Captions(read_text_encoder(WORDS), tokenizer, items)
    return LatentPool(means.reshape(shape), deviations.reshape(shape), items, captions)


def export(
    vae: AutoencoderKL, transformer: SD3Transformer2DModel, average: Average, tokenizer: CLIPTokenizer, folder: Path
) -> None:
    """Write the averaged model as a pipeline in half precision, to be computed in single."""
    shipped, shipped_vae = copy.deepcopy(transformer).cpu(), copy.deepcopy(vae)
    average.copy_to(list(shipped.parameters()))
    shipped_vae.register_to_config(_name_or_path="")
    half = [module.to(torch.float16) for module in (shipped_vae, shipped, read_text_encoder(WORDS))]
    build_pipeline(*half, tokenizer).save_pretrained(folder)
    # transformers loads in the dtype of its configuration, diffusers in float32: both have to be the same
    for part in ("text_encoder", "text_encoder_2"):
        config = folder / part / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def train_transformer(options: Options, vae: AutoencoderKL, pool: LatentPool, tokenizer: CLIPTokenizer) -> None:
    """Train the transformer, exporting the moving average as it goes; random draws follow from the step."""
    torch.manual_seed(options.seed + 1)
    transformer = build_transformer(pool.captions.whole.shape[1]).to(options.device)
    average = Average(list(transformer.parameters()))
    optimizer = torch.optim.AdamW(average.parameters, PEAK_RATE, weight_decay=1e-4, betas=(0.9, 0.99))
    file, start = options.work / "transformer-state.pt", 0
    if file.exists():
        state = torch.load(file, weights_only=True, map_location=options.device)
        transformer.load_state_dict(state["transformer"])
        average.values, start = state["average"], int(state["step"])
        optimizer.load_state_dict(state["optimizer"])
    span = range(start, options.steps)
    for step in reported("transformer", transformer_steps(transformer, optimizer, average, pool, span, options.seed)):
        if step % options.save_every == 0:
            state = {
                "transformer": transformer.state_dict(),
                "average": average.values,
                "optimizer": optimizer.state_dict(),
                "step": step,
            }
            save_state(state, file)
            export(vae, transformer, average, tokenizer, options.work / "latest")
    export(vae, transformer, average, tokenizer, options.output)


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pool", type=Path, required=True, help="a pool that demo.emoji_ldm.prepare wrote with --side 64"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for resumable state")
    parser.add_argument("--output", type=Path, required=True, help="where the pipeline is written")
    parser.add_argument("--vae-steps", type=int, default=2500, help="autoencoder steps")
    parser.add_argument("--steps", type=int, default=6000, help="transformer steps")
    parser.add_argument("--save-every", type=int, default=250, help="steps between saved states")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and draws")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="where the transformer is trained, cuda say")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Run the stages in order; finished ones are skipped."""
    options = read_options()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    images = read_images(options.pool, read_items(options.pool))
    steps = options.vae_steps, options.save_every, options.seed
    vae = trained_vae(build_vae, images, options.work, steps, VAE_RATE / 2, VAE_BATCH).eval()
    print(f"autoencoder error {reconstruction_error(vae, images):.5f}", flush=True)
    tokenizer = CLIPTokenizer.from_pretrained(WORDS, subfolder="tokenizer")
    train_transformer(options, vae, latent_pool(options, vae, images, tokenizer), tokenizer)


if __name__ == "__main__":
    main()
