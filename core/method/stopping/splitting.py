"""How references are split into folds, each of which a surrogate does not see: near-duplicates stay together."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from core.method.backbones.backbone import IGNORED, Batch
from core.method.backbones.shapes import shapes_of
from core.method.likeness import texts
from core.method.likeness.groups import grouped, pairs

SAME_IMAGE = 0.15  # relative distance of two latents; our choice: re-encodings lie below .1, other pictures above .5
MIDDLE_SIDE = 8  # rows and columns of what pictures of two shapes are compared by; our choice


def folds(
    count: int, parts: int, seed: int, groups: Sequence[int] | None = None, shapes: Sequence[Hashable] | None = None
) -> list[list[int]]:
    """Split 0..count-1 into at most `parts` held-out folds, keeping every group (near-duplicates) in one fold.

    Pictures of each of the `shapes` are spread as evenly as the whole.
    """
    shaped = shapes or [None] * count
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups or range(count)):
        members.setdefault(group, []).append(index)
    order = list(members.values())
    random.Random(seed).shuffle(order)
    order.sort(key=len, reverse=True)  # large groups first keeps the folds even; stable, so singles stay shuffled
    result: list[list[int]] = [[] for _ in range(min(parts, len(order)))]
    for group_members in order:
        own = {shaped[member] for member in group_members}
        alike = [sum(shaped[member] in own for member in fold) for fold in result]
        least = min(range(len(result)), key=lambda fold: (alike[fold], len(result[fold])))
        result[least].extend(group_members)
    return [sorted(fold) for fold in result]


def held_out(references: Batch, parts: int, seed: int, kin: Sequence[int] | None = None) -> list[list[int]]:
    """Return which references each surrogate does not see; one empty part where nothing can be held out.

    Near-duplicates share a fold, and so do those that `kin` numbers alike, unless that would leave a surrogate no
    picture of some shape to learn from.
    """
    shapes, count = shapes_of(references), len(next(iter(references.values())))
    held = folds(count, parts, seed, near_duplicate_references(references, kin), shapes)
    if len(held) > 1 and not _each_sees_all(held, shapes):
        held = folds(count, parts, seed, None, shapes)
    return held if len(held) > 1 else [[]]


def _each_sees_all(held: Sequence[Sequence[int]], shapes: Sequence[Hashable]) -> bool:
    seen = [{shape for place, shape in enumerate(shapes) if place not in fold} for fold in held]
    return all(each == set(shapes) for each in seen)


def near_duplicate_references(batch: Mapping[str, Tensor], kin: Sequence[int] | None = None) -> list[int]:
    """Return a group number per reference; near-duplicates share one (single linkage).

    Pictures are compared by the relative distance of their latents, those of two shapes by that of their middle squares
    in little, texts by the trigrams of learned tokens that they share (likeness/texts.py); every pair is looked at, so
    this is for references, not for pools (see `near_duplicates_by_cosine`). What latents and tokens do not tell, a
    mirrored picture or a text in capitals, `kin` says: groups by what was seen before they were encoded.
    """
    alike = _alike_pictures(batch) if "mean" in batch else _alike_tokens(batch)
    return grouped(len(next(iter(batch.values()))), [*alike, *pairs(kin or ())])


def _alike_pictures(batch: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    shapes, latents = shapes_of(dict(batch)), batch["mean"]
    if len(set(shapes)) == 1:
        height, width = shapes[0]
        return _alike_latents(latents[..., :height, :width])
    alike = []
    for shape in dict.fromkeys(shapes):
        places = [place for place, other in enumerate(shapes) if other == shape]
        found = _alike_latents(latents[places][..., : shape[0], : shape[1]])
        alike += [(places[first], places[second]) for first, second in found]
    little = torch.stack([_middle(latent, *shape) for latent, shape in zip(latents, shapes, strict=True)])
    return alike + [(i, j) for i, j in _alike_latents(little) if shapes[i] != shapes[j]]


def _middle(latent: Tensor, height: int, width: int) -> Tensor:
    """Return the middle square of a latent, in little: so pictures that were scaled otherwise can be compared."""
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = latent[:, top : top + side, left : left + side].float()
    return torch.nn.functional.adaptive_avg_pool2d(square, MIDDLE_SIDE)


def _alike_latents(latents: Tensor) -> list[tuple[int, int]]:
    flat = latents.flatten(1).float()
    scale = flat.norm(dim=1).clamp_min(1e-12)
    distance = torch.cdist(flat, flat) / torch.maximum(scale[:, None], scale[None, :])
    return [(int(i), int(j)) for i, j in (distance < SAME_IMAGE).triu(1).nonzero()]


def _alike_tokens(batch: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    return texts.alike([_text(*row) for row in zip(*(batch[name].tolist() for name in _NAMES), strict=True)])


_NAMES = ("input_ids", "labels", "attention_mask")


def _text(ids: Sequence[int], labels: Sequence[int], mask: Sequence[int]) -> texts.Text:
    kept = [(token, label != IGNORED) for token, label, kept in zip(ids, labels, mask, strict=True) if kept]
    return texts.Text.of([token for token, own in kept if not own], [token for token, own in kept if own])
