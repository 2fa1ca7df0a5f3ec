"""Is a reference that does not belong found, and are others accused? One foreign text is planted in each set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks import nano
from benchmarks.arms import result_of
from benchmarks.records import Record
from benchmarks.world import Setting
from core.method.albat import train_surrogate
from core.method.backbones.backbone import Batch
from core.method.influence.reference_verdicts import judge_references

SETS, SIZES, SEEDS = ("near", "dialect"), (8, 16), range(100, 120)
FOREIGN = "foreign"  # a dialect that shares nothing with any language


def foreigners(folder: Path) -> list[Record]:
    """Return, for every set, the verdict on the planted text and how many of the others were judged how."""
    return [row for name in SETS for n in SIZES for seed in SEEDS for row in _one(name, n, seed, folder)]


def _one(name: str, n: int, seed: int, folder: Path) -> Iterator[Record]:
    world = nano.world(Setting("nano", name, n, 4e-3, seed), folder)
    stranger = nano.world(Setting("nano", FOREIGN, n, 4e-3, seed + 1000), folder).references
    place = int(torch.randint(n, (), generator=torch.Generator().manual_seed(seed)))
    references = _planted(world.references, stranger, place)
    surrogate = result_of(train_surrogate(world.backbone, references, world.parameters))
    judged = [one.verdict for one in judge_references(range(n), surrogate.curves)]
    others = [verdict for i, verdict in enumerate(judged) if i != place]
    yield {
        "set": name,
        "n": n,
        "seed": seed,
        "planted": judged[place],
        "others": n - 1,
        "others_hurt": others.count("hurts"),
        "others_doubtful": others.count("doubtful"),
    }


def _planted(references: Batch, stranger: Batch, place: int) -> Batch:
    """Return the references with the stranger's first text in one of their places."""
    planted = {name: tensor.clone() for name, tensor in references.items()}
    for name, tensor in planted.items():
        tensor[place] = stranger[name][0]
    return planted
