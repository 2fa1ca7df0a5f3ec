"""Draw a grid of samples from the emoji backbone, one row a prompt."""

import argparse
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
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
IMAGE_SIZE, ENLARGE, GAP, LABEL_WIDTH = 32, 2, 4, 220


def load(weights: Path) -> StableDiffusionPipeline:
    """Load the pipeline in single precision with a fast solver."""
    pipeline = StableDiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(pipeline: StableDiffusionPipeline, prompt: str, count: int, guidance: float, seed: int) -> list[Image.Image]:
    """Sample images of one prompt in 25 solver steps."""
    return pipeline(
        prompt,
        num_images_per_prompt=count,
        num_inference_steps=25,
        guidance_scale=guidance,
        height=IMAGE_SIZE,
        width=IMAGE_SIZE,
        generator=torch.Generator().manual_seed(seed),
    ).images


def draw_grid(rows: dict[str, list[Image.Image]]) -> Image.Image:
    """Lay the samples out beside their prompts, in two halves side by side."""
    cell = IMAGE_SIZE * ENLARGE + GAP
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
    parser.add_argument("--weights", type=Path, default=HERE / "weights", help="pipeline folder")
    parser.add_argument("--output", type=Path, default=HERE / "samples.png", help="grid file")
    parser.add_argument("--guidance", type=float, default=4.0, help="guidance scale")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first noise")
    options = parser.parse_args()
    pipeline = load(options.weights)
    rows = {p: sample(pipeline, p, COLUMNS, options.guidance, options.seed) for p in PROMPTS}
    draw_grid(rows).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
