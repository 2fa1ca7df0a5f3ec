"""What a job protects its backbone by, put together from what the stages before have decided and encoded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from core.errors import TransientFailure
from core.method.backbones.backbone import Batch, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.protection.protection import NONE, Protection
from core.references.items import ImageItem, References
from worker.job_folder import write_json
from worker.protocol import Json
from worker.stages import shapes
from worker.stages.context import Context
from worker.stages.costs import note_examples
from worker.stages.pool import Pool
from worker.stages.protection import own
from worker.stages.protection.lots import GENERATED
from worker.stages.protection.words import unrelated

NOTE = "protection.json"  # of the prepare stage: what protects, beside the pool
OWN_FILE = "own.safetensors"  # of the prepare stage: the own samples, where pictures have other shapes than the square

NOTHING = {
    "own": "There are too few samples of {}'s own to protect it with, so the adapter is trained on the references "
    "alone.",
    "captions": "Every caption that {} could be protected under names what the references show, or holds the trigger "
    "word, so the adapter is trained on the references alone.",
}


def prepare(context: Context, given: References, sizes: Sequence[tuple[int, int]], folder: Path) -> None:
    """Encode what protects beside the pool, for the stages that have no text encoders any more, and note what it is."""
    if not context.p.augment:
        return
    if context.p.protect_on == "captions":
        backbone = context.backbone
        assert isinstance(backbone, DiffusionBackbone)
        written = [item.caption or "" for item in given.items if isinstance(item, ImageItem)]
        captions = unrelated(context.record, context.data, context.p, written)
        backbone.prompts.hold(captions)
        write_json(folder / NOTE, {"captions": captions})
    elif context.p.generates:
        found = own.samples(context, GENERATED)
        write_json(folder / NOTE, {GENERATED.name: found.sha256 if found else None})
    elif context.p.protect_on == "own":
        note = own.noted(context)
        write_json(folder / NOTE, note)
        if (made := own.samples(context)) is not None:
            places = _protecting(note, made)
            batch = take(own.encoded(context, made), torch.tensor(places))
            note_examples(context.profiler, "own", batch)
            if tuple(sizes) not in ((), (context.square,)):
                batch = shapes.in_shapes(context, batch, [made.candidates[place].item for place in places], sizes)
                save_file({name: tensor.contiguous() for name, tensor in batch.items()}, folder / OWN_FILE)


def noted(context: Context) -> Json:
    """Return what the prepare stage noted; of a job that is protected by data that is here, or not at all, nothing."""
    file = context.folder.stage("prepare") / NOTE
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def amount(context: Context) -> int:
    """Return how many samples of its own, or unrelated captions, protect the backbone."""
    told = noted(context)
    return len(told["captions"]) if "captions" in told else int(told.get("count", 0))


def offered(context: Context) -> Protection:
    """Return what scoring, or what needs none, offers: with the share of the slots that a trial begins with."""
    p, scored = context.p, context.read("score", "decision.json")
    if not scored["gamma"] or p.protect == "none":
        return NONE
    examples = captions = None
    if p.protect_on == "captions":
        captions = _captions(context)
    elif p.protect_on == "own":
        examples = _own(context)
    elif scored["selected"]:
        examples = shapes.replay(context, scored["selected"])
    if examples is None and captions is None:
        return NONE
    return Protection.by(p.protect, p.protect_weight, float(scored["gamma"]), examples, captions)


def tried(context: Context) -> Protection:
    """Return what is offered, as each surrogate is tried with it: selected without the references that it holds out."""
    given, blind = offered(context), context.read("score", "decision.json").get("blind", [])
    if given.examples is None or context.p.protect_on != "pool":
        return given
    return replace(given, blind=tuple(shapes.replay(context, pick) for pick in blind))


def protection(context: Context) -> Protection:
    """Return what the final run is protected by: what was offered, with the share that the trial has decided on."""
    gamma = float(context.read("trial", "mixture.json")["gamma"])
    return offered(context).at(gamma) if gamma else NONE


def _captions(context: Context) -> Batch:
    backbone = context.backbone
    assert isinstance(backbone, DiffusionBackbone)
    return backbone.prompts.of(noted(context)["captions"])


def _own(context: Context) -> Batch:
    file = context.folder.stage("prepare") / OWN_FILE
    if file.is_file():
        return load_file(file)
    made = own.samples(context)
    if made is None:
        raise TransientFailure(own.GONE.format(context.record.id), code="internal_error")
    return take(own.encoded(context, made), torch.tensor(_protecting(noted(context), made)))


def _protecting(note: Json, made: Pool) -> list[int]:
    held = set(note.get("held_out", ()))  # a job of an older version has none
    return [place for place in range(len(made.candidates)) if place not in held]
