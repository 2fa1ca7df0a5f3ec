"""The backbone's own samples: made once for all jobs of a backbone and size, bounded in time, and encoded as a pool is.

They depend on nothing that an owner has sent.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Generator
from pathlib import Path

from core.errors import TransientFailure
from core.jobs.event_codes import EventCode
from core.method.backbones.backbone import Batch
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.precision import float_type
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection import own
from core.parameters.schedule import DRAWN_AT_ONCE, STAGES
from worker.protocol import Json, Line, Message, Progress
from worker.stages import pool as pools
from worker.stages.context import Context, ProgressClock
from worker.stages.protection.samples import COUNT, FEWEST, SampleFile, Samples, quarter
from worker.stages.protection.words import prompts_of

SEED = 90_000  # apart from the seeds of what jobs draw
VERSION = 1  # of how samples are made: those that are kept belong to one
SPLIT = "own"  # as the files are called
DRAWING = {
    "images": f"{{}} draws {COUNT} pictures of its own, once for all jobs of this size: what it drew before training "
    "is what is protected.",
    "texts": f"{{}} writes {COUNT} texts of its own, once for all jobs of this size: how it spoke before training is "
    "what is protected.",
}
TOO_SLOW = (
    "Only {} of the {} samples of {}'s own that protection needs were made within {:.0f} s. The job goes on without; "
    "the next one goes on with making them."
)
NONE_CAME = "{} makes no samples of its own that could be learned from, so the job goes on without protection."
GONE = "The samples that {} had made are gone, and could not be made again in time."
OTHERS = (
    "The samples of the backbone's own are others than those that this job began with: the stage in work begins anew."
)


def wanted(context: Context) -> bool:
    """Tell whether the job is protected on the backbone's own samples."""
    return context.p.augment and context.p.protect_on == "own"


def file_of(context: Context) -> SampleFile:
    """Return where they lie: another backbone, size, precision, list of prompts or version of ours is another file."""
    p, record = context.p, context.record
    told = [VERSION, SEED, record.revision, p.resolution, p.max_tokens, _asked(context)]
    if float_type(p.precision, p.device_class) != float_type(None, p.device_class):
        told.append(p.precision)
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return SampleFile(Path(str(context.spec["pools"])) / f"{record.id}-{SPLIT}-{key}.zip")


def samples(context: Context) -> pools.Pool | None:
    """Return the backbone's own samples; None where there are too few."""
    return file_of(context).read()


def encoded(context: Context, made: pools.Pool) -> Batch:
    """Return their encoding, made once for all jobs as that of a pool is."""
    return pools.encode(context.backbone, made.candidates, context.encoding_file(made, SPLIT))


def ready(context: Context) -> Generator[Line, None, None]:
    """See to it that the samples are there before the stages that need them, and that a job goes on with its own."""
    left = [stage for stage in STAGES[: STAGES.index("export")] if not context.folder.done(stage)]
    if not wanted(context) or not left:
        return
    yield from made(context, left[0])
    if left[0] != "prepare":
        yield from as_begun(context)


def made(context: Context, stage: str) -> Generator[Line, None, None]:
    """Make what is missing of the samples, round by round; each is kept, so that whoever comes next goes on with it.

    It ends when there are COUNT, or FEWEST and no time is left, when too many rounds gave nothing, or when another
    trainer has made them meanwhile.
    """
    file, limit = file_of(context), float(context.spec["own_seconds"])
    if file.ready:
        return
    if not _may_keep(context):  # another trainer has tried
        words = TOO_SLOW.format(len(file.so_far().rows), FEWEST, context.record.id, limit)
        yield Message(stage, words, "warn", code=EventCode.OWN_SAMPLES_FEW)
        return
    words = DRAWING[context.record.kind].format(context.record.id)
    yield Message(stage, words, code=EventCode.OWN_SAMPLES_STARTED)
    with context.encoding():
        so_far = yield from _rounds(context, file, limit, stage)
    others = file.ready
    if others or so_far.over or so_far.enough:
        file.finish(so_far)
    if not others and not so_far.enough:
        told = NONE_CAME.format(context.record.id)
        if not so_far.over:
            told = TOO_SLOW.format(len(so_far.rows), FEWEST, context.record.id, limit)
        yield Message(stage, told, "warn", code=EventCode.OWN_SAMPLES_FEW)


def _rounds(context: Context, file: SampleFile, limit: float, stage: str) -> Generator[Line, None, Samples]:
    begun = so_far = file.so_far()
    pace = ProgressClock(stage, COUNT - len(begun.rows))  # what others have made says nothing of how fast it goes
    until = time.monotonic() + limit - (so_far.seconds if so_far.enough else 0.0)
    yield _told(context, so_far, pace.at(0))
    while not so_far.over and not file.ready and time.monotonic() < until:
        began, quarter = time.monotonic(), 4 * len(so_far.rows) // COUNT
        rows, pictures = _round(context, so_far)
        so_far = so_far.with_round(rows, pictures, time.monotonic() - began)
        file.keep(so_far)
        if quarter < 4 * len(so_far.rows) // COUNT < 4:
            words = f"{len(so_far.rows)} of {COUNT} samples of the backbone's own are made."
            yield Message(stage, words, code=EventCode.OWN_SAMPLES_PROGRESS)
        yield _told(context, so_far, pace.at(len(so_far.rows) - len(begun.rows)))
    if so_far.rounds > begun.rounds:
        yield _taken(context, stage, len(so_far.rows) - len(begun.rows), so_far.seconds - begun.seconds)
    return so_far


def _told(context: Context, so_far: Samples, pace: Progress) -> Progress:
    """Say how far preparing is by that; of another stage, which is gone on with, that none of it is done."""
    context.made = len(so_far.rows)
    if pace.stage != "prepare":
        return Progress(pace.stage, 0, COUNT, pace.eta_seconds)
    return context.prepared(0, COUNT, pace.eta_seconds)


def _taken(context: Context, stage: str, count: int, seconds: float) -> Message:
    taken = round(seconds, 1)
    text = f"{context.record.id} made {count} samples of its own in {taken:.0f} s."
    return Message(stage, text, data={"samples": count, "seconds": taken}, code=EventCode.OWN_SAMPLES_MADE)


def held_out(context: Context, made: pools.Pool) -> list[int]:
    """Return the places of samples that are the probe and protect nothing; none where the pool has one."""
    return [] if context.pool is not None and context.pool.probe else quarter(made)


def noted(context: Context) -> Json:
    """Return what the prepare stage notes of the samples: which they are, how many protect, and which do not.

    So later stages know whether they find the same, and go on with the same ones.
    """
    found = samples(context)
    if found is None:
        return {"own": None, "count": 0, "held_out": []}
    held = held_out(context, found)
    return {"own": found.sha256, "count": len(found.candidates) - len(held), "held_out": held}


def as_begun(context: Context) -> Generator[Line, None, None]:
    """See to it that a job which goes on finds the samples that it began with, or does not go on from a save.

    Raises TransientFailure where they are gone and could not be made again.
    """
    began, found = context.read("prepare", "protection.json")["own"], samples(context)
    if began is None or (found is not None and found.sha256 == began):
        return
    if found is None:
        raise TransientFailure(GONE.format(context.record.id), code="internal_error")
    context.folder.forget_saves()
    yield Message("prepare", OTHERS, "warn", code=EventCode.OWN_SAMPLES_CHANGED)


def _may_keep(context: Context) -> bool:
    spec = context.spec
    return str(spec.get("own_pools", spec["pools"])) == str(spec["pools"])


def _asked(context: Context) -> list[str]:
    """Return what samples are made for, each in turn."""
    if context.record.kind == "images":
        return prompts_of(context.record, context.pool)
    return [*own.OPENINGS, *own.plain_questions()]


def _round(context: Context, so_far: Samples) -> tuple[list[Json], dict[str, bytes]]:
    backbone = context.backbone
    if isinstance(backbone, DiffusionBackbone):
        return _pictures(context, backbone, so_far)
    assert isinstance(backbone, LanguageBackbone)
    first = len(so_far.rows)
    items = own.write_round(backbone, so_far.rounds, SEED)
    return [_row(context, first + number) | dict(item) for number, item in enumerate(items, 1)], {}


def _pictures(context: Context, backbone: DiffusionBackbone, so_far: Samples) -> tuple[list[Json], dict[str, bytes]]:
    first, asked = len(so_far.rows), _asked(context)
    places = range(first, min(first + DRAWN_AT_ONCE, COUNT))
    prompts = [asked[place % len(asked)] for place in places]
    rows, pictures = list[Json](), dict[str, bytes]()
    drawn = own.draw_pictures(backbone, prompts, SEED + first)
    for place, prompt, picture in zip(places, prompts, drawn, strict=True):
        content = io.BytesIO()
        picture.save(content, "PNG")
        pictures[f"{place + 1:04d}.png"] = content.getvalue()
        rows.append(_row(context, place + 1) | {"caption": prompt, "file": f"{place + 1:04d}.png"})
    return rows, pictures


def _row(context: Context, number: int) -> Json:
    record = context.record
    return {"id": f"own-{number:04d}", "source": record.id, "licence": record.licence, "split": "candidate"}
