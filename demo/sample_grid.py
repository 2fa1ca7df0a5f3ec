"""Draw a grid of samples from one of the emoji backbones, one row a prompt."""

import argparse
from pathlib import Path

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, DPMSolverMultistepScheduler
from PIL import Image, ImageDraw

from demo.check import image_pipeline

PROMPTS = (
    "emoji of smiling face with sunglasses",
    "emoji of crying face",
    "emoji of angry face",
    "emoji of blue heart",
    "emoji of dog face",
    "emoji of bear face",
    "emoji of penguin",
    "emoji of whale",
    "emoji of sunflower",
    "emoji of red apple",
    "emoji of strawberry",
    "emoji of slice of pizza",
    "emoji of hamburger",
    "emoji of cat face",
    "emoji of purple apple",
    "emoji of dog face with sunglasses",
)
COLUMNS, GRID_ROWS = 6, 8
ENLARGE, GAP, LABEL_WIDTH = 2, 4, 220


def load(weights: Path) -> DiffusionPipeline:
    """Load the pipeline in single precision, a diffusion's with a fast solver."""
    pipeline = image_pipeline(weights)
    if isinstance(pipeline.scheduler, DDPMScheduler):
        last = {"timestep_spacing": "trailing"} if pipeline.scheduler.config.rescale_betas_zero_snr else {}
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, **last)
    return pipeline


def sample(pipeline: DiffusionPipeline, prompt: str, count: int, guidance: float, seed: int) -> list[Image.Image]:
    """Sample images of one prompt in 25 solver steps, as large as the backbone draws."""
    network = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
    side = network.config.sample_size * pipeline.vae_scale_factor
    return pipeline(
        prompt,
        num_images_per_prompt=count,
        num_inference_steps=25,
        guidance_scale=guidance,
        height=side,
        width=side,
        generator=torch.Generator().manual_seed(seed),
    ).images


def draw_grid(rows: dict[str, list[Image.Image]]) -> Image.Image:
    """Lay the samples out beside their prompts, in two halves side by side."""
    cell = next(iter(rows.values()))[0].width * ENLARGE + GAP
    half_width = LABEL_WIDTH + COLUMNS * cell
    halves = -(-len(rows) // GRID_ROWS)
    grid = Image.new("RGB", (halves * half_width, min(len(rows), GRID_ROWS) * cell), "white")
    pen = ImageDraw.Draw(grid)
    for index, (prompt, images) in enumerate(rows.items()):
        left, top = index // GRID_ROWS * half_width, index % GRID_ROWS * cell
        pen.text((left + 6, top + cell // 2 - 6), prompt.removeprefix("emoji of "), fill="black")
        for column, image in enumerate(images):
            large = image.resize((cell - GAP, cell - GAP), Image.Resampling.NEAREST)
            grid.paste(large, (left + LABEL_WIDTH + column * cell, top))
    return grid


def main() -> None:
    """Read the command line and write the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder")
    parser.add_argument("--output", type=Path, required=True, help="grid file")
    parser.add_argument("--guidance", type=float, default=4.0, help="guidance scale")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first noise")
    options = parser.parse_args()
    pipeline = load(options.weights)
    rows = {p: sample(pipeline, p, COLUMNS, options.guidance, options.seed) for p in PROMPTS}
    draw_grid(rows).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
