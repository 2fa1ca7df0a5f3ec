"""In which shapes a job's pictures are trained, what masks say of them, and replayed pictures in the same shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from core.backbones.sides import USUAL_STEP, side_step
from core.errors import JobFailure
from core.findings.pictures import cut_off
from core.jobs.event_codes import EventCode
from core.method.backbones.backbone import Batch, Item, join, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.references.items import ImageItem, References
from core.references.picture_shapes import Size, choose, nearest
from worker.job_folder import write_rows
from worker.protocol import Json, Line, Message
from worker.stages.context import SHAPES_FILE, Context
from worker.stages.references import greys_of

REFERENCES = "references"  # as the prepare stage calls what is learned
REPLAY_FILE = "replay.safetensors"  # of the score stage


def chosen(context: Context, given: References) -> tuple[Size, ...]:
    """Return the shapes that the references are trained in, the one of most of them first; none of texts."""
    p, sizes = context.p, [(item.width, item.height) for item in _images(given)]
    if p.resolution is None:
        return ()
    return choose(sizes, p.resolution, side_step(context.record.path) or USUAL_STEP, p.shapes, p.folds)


def told(given: References, shapes: Sequence[Size]) -> Iterator[Line]:
    """Say which shapes were chosen, where they are not the square alone, and of which pictures much is cut off."""
    pictures = [(item.name, (item.width, item.height)) for item in _images(given)]
    if any(width != height for width, height in shapes):
        taken = Counter(nearest(size, shapes) for _, size in pictures)
        counts = [f"{taken[shape]} in {shape[0]} x {shape[1]}" for shape in shapes]
        words, sizes = f"Pictures are trained in these shapes: {', '.join(counts)}.", [list(shape) for shape in shapes]
        yield Message("prepare", words, data={"shapes": sizes}, code=EventCode.SHAPES_CHOSEN)
    if shapes and (finding := cut_off(pictures, shapes)) is not None:
        yield Message("prepare", finding.message, "warn", {"finding": asdict(finding)}, EventCode.FINDING)


def write(shapes: Sequence[Size], folder: Path) -> None:
    """Keep the shapes beside the encoded references."""
    write_rows(folder / SHAPES_FILE, [list(shape) for shape in shapes])


def seen(item: ImageItem, shapes: Sequence[Size], masks: bool | str, name: str = REFERENCES) -> dict[str, Any]:
    """Return what a backbone needs to see of a picture what the job learns of it: its size, and its mask if asked for.

    `name` is of what it is. Raises JobFailure where nothing of it would be learned, or judged by it.
    """
    found: dict[str, Any] = {"size": nearest((item.width, item.height), shapes)}
    content = item.alpha if masks == "alpha" else item.mask if masks else None
    if content is not None:
        found["mask"] = greys = greys_of(content, item.name)
        if greys.getextrema() == (0, 0):
            why = "it is see-through all over" if masks == "alpha" else "its mask is black throughout"
            words = "learned of" if name == REFERENCES else "judged by the validation image"
            raise JobFailure(
                f"Nothing would be {words} {item.name}: {why}.", code="invalid_training_file", param="bat.masks"
            )
    return found


def replayed(decision: Json) -> list[int]:
    """Return the candidates that a job replays, then those with which a trial alone tries a surrogate."""
    return list(
        dict.fromkeys([*decision["selected"], *(place for blind in decision.get("blind", []) for place in blind)])
    )


def write_replay(context: Context, selected: Sequence[int], folder: Path) -> None:
    """Write the selected candidates in every shape of the job, which the pool has as squares only."""
    shapes, square = context.shapes, context.square
    if not selected or tuple(shapes) == (square,) or context.pool is None:
        return
    squares = take(context.encoded_pool("candidate"), torch.tensor(list(selected)))
    batch = in_shapes(context, squares, [context.pool.candidates[place].item for place in selected], shapes)
    save_file({name: tensor.contiguous() for name, tensor in batch.items()}, folder / REPLAY_FILE)


def in_shapes(context: Context, squares: Batch, pictures: Sequence[Item], shapes: Sequence[Size]) -> Batch:
    """Return pictures in every one of the shapes, of which `squares` is their encoding as such."""
    backbone, square = context.backbone, context.square
    assert isinstance(backbone, DiffusionBackbone)
    parts = [
        squares
        if shape == square
        else squares | backbone.encode_pictures([{**item, "size": shape} for item in pictures])
        for shape in shapes
    ]
    return join(parts)


def replay(context: Context, selected: Sequence[int]) -> Batch:
    """Return the encoded selected candidates, in every shape of the job."""
    file = context.folder.stage("score") / REPLAY_FILE
    if file.is_file():
        order, whole = replayed(context.read("score", "decision.json")), load_file(file)
        places = torch.tensor([order.index(place) for place in selected])
        return take(whole, (torch.arange(len(context.shapes)).unsqueeze(1) * len(order) + places).flatten())
    return take(context.encoded_pool("candidate"), torch.tensor(list(selected)))


def _images(given: References) -> list[ImageItem]:
    return [item for item in given.items if isinstance(item, ImageItem)]
