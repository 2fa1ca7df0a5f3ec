"""What a backbone makes itself: once for all jobs of a backbone and size, bounded in time, and encoded as a pool is.

They depend on nothing that an owner has sent.
"""

from __future__ import annotations

import io
import time
from collections.abc import Generator
from pathlib import Path

from core.errors import TransientFailure
from core.jobs.event_codes import EventCode
from core.method.backbones.backbone import Batch
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.protection import own
from core.parameters.schedule import DRAWN_AT_ONCE, STAGES
from worker.protocol import Json, Line, Message, Progress
from worker.stages import pool as pools
from worker.stages.context import Context, ProgressClock
from worker.stages.likeness.sieve import Sieve
from worker.stages.protection import lots
from worker.stages.protection.lots import OWN, Lot
from worker.stages.protection.samples import SampleFile, Samples, quarter

SPLIT = "own"  # as the files are called
TOO_SLOW = (
    "Only {} of the {} samples of {}'s own that protection needs were made within {:.0f} s. The job goes on without; "
    "the next one goes on with making them."
)
NONE_CAME = "{} makes no samples of its own that could be learned from, so the job goes on without protection."
GONE = "The samples that {} had made are gone, and could not be made again in time."
OTHERS = (
    "The samples of the backbone's own are others than those that this job began with: the stage in work begins anew."
)


def file_of(context: Context, lot: Lot = OWN) -> SampleFile:
    """Return where they lie."""
    return lots.file_of(lot, Path(str(context.spec["pools"])), context.p, context.record, context.data)


def samples(context: Context, lot: Lot = OWN) -> pools.Pool | None:
    """Return the backbone's own samples; None where there are too few."""
    return file_of(context, lot).read()


def encoded(context: Context, made: pools.Pool) -> Batch:
    """Return their encoding, made once for all jobs as that of a pool is."""
    return pools.encode(context.backbone, made.candidates, context.encoding_file(made, SPLIT))


def ready(context: Context) -> Generator[Line, None, None]:
    """See to it that the samples are there before the stages that need them, and that a job goes on with its own."""
    left = [stage for stage in STAGES[: STAGES.index("export")] if not context.folder.done(stage)]
    if lots.lot_of(context.p) is None or not left:
        return
    yield from made(context, left[0])
    if left[0] != "prepare":
        yield from as_begun(context)


def made(context: Context, stage: str) -> Generator[Line, None, None]:
    """Make what is missing of the samples, round by round; each is kept, so that whoever comes next goes on with it.

    It ends when all are there, or enough and no time is left, when too many rounds gave nothing, or when another
    trainer has made them meanwhile.
    """
    lot = lots.lot_of(context.p) or OWN
    file, limit = file_of(context, lot), float(context.spec["own_seconds"])
    if file.ready:
        return
    if not _may_keep(context):  # another trainer has tried
        words = TOO_SLOW.format(len(file.so_far().rows), lot.fewest, context.record.id, limit)
        yield Message(stage, words, "warn", code=EventCode.OWN_SAMPLES_FEW)
        return
    words = lot.telling[context.record.kind].format(context.record.id)
    yield Message(stage, words, code=EventCode.OWN_SAMPLES_STARTED)
    with context.encoding():
        so_far = yield from _rounds(context, lot, limit, stage)
    others = file.ready
    if others or so_far.over or so_far.enough:
        file.finish(so_far)
    if not others and not so_far.enough:
        told = NONE_CAME.format(context.record.id)
        if not so_far.over:
            told = TOO_SLOW.format(len(so_far.rows), lot.fewest, context.record.id, limit)
        yield Message(stage, told, "warn", code=EventCode.OWN_SAMPLES_FEW)


def _rounds(context: Context, lot: Lot, limit: float, stage: str) -> Generator[Line, None, Samples]:
    file = file_of(context, lot)
    begun = so_far = file.so_far()
    sieve = Sieve(begun.candidates()) if lot.sieved else None
    pace = ProgressClock(stage, lot.count - len(begun.rows))  # what others have made says nothing of how fast it goes
    until = time.monotonic() + limit - (so_far.seconds if so_far.enough else 0.0)
    yield _told(context, so_far, pace.at(0))
    while not so_far.over and not file.ready and time.monotonic() < until:
        began, quarter = time.monotonic(), 4 * len(so_far.rows) // lot.count
        rows, pictures = _kept(context, lot, so_far, sieve)
        so_far = so_far.with_round(rows, pictures, time.monotonic() - began)
        file.keep(so_far)
        if quarter < 4 * len(so_far.rows) // lot.count < 4:
            words = f"{len(so_far.rows)} of {lot.count} samples of the backbone's own are made."
            yield Message(stage, words, code=EventCode.OWN_SAMPLES_PROGRESS)
        yield _told(context, so_far, pace.at(len(so_far.rows) - len(begun.rows)))
    if so_far.rounds > begun.rounds:
        yield _taken(context, stage, len(so_far.rows) - len(begun.rows), so_far.seconds - begun.seconds)
    return so_far


def _told(context: Context, so_far: Samples, pace: Progress) -> Progress:
    """Say how far preparing is by that; of another stage, which is gone on with, that none of it is done."""
    context.made = len(so_far.rows)
    if pace.stage != "prepare":
        return Progress(pace.stage, 0, so_far.count, pace.eta_seconds)
    return context.prepared(0, so_far.count, pace.eta_seconds)


def _taken(context: Context, stage: str, count: int, seconds: float) -> Message:
    taken = round(seconds, 1)
    text = f"{context.record.id} made {count} samples of its own in {taken:.0f} s."
    return Message(stage, text, data={"samples": count, "seconds": taken}, code=EventCode.OWN_SAMPLES_MADE)


def held_out(context: Context, made: pools.Pool) -> list[int]:
    """Return the places of samples that are the probe and protect nothing; none where the pool has one."""
    return [] if context.data is not None and context.data.probe else quarter(made)


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
    lot = lots.lot_of(context.p) or OWN
    began, found = context.read("prepare", "protection.json")[lot.name], samples(context, lot)
    if began is None or (found is not None and found.sha256 == began):
        return
    if found is None:
        raise TransientFailure(GONE.format(context.record.id), code="internal_error")
    context.folder.forget_saves()
    yield Message("prepare", OTHERS, "warn", code=EventCode.OWN_SAMPLES_CHANGED)


def _may_keep(context: Context) -> bool:
    spec = context.spec
    return str(spec.get("own_pools", spec["pools"])) == str(spec["pools"])


def _kept(context: Context, lot: Lot, so_far: Samples, sieve: Sieve | None) -> tuple[list[Json], dict[str, bytes]]:
    """Return what is kept of one more round, each row with its number."""
    record = context.record
    origin = {"source": lot.source(record), "licence": record.licence, "split": "candidate"}
    rows, pictures = _round(context, lot, so_far.rounds)
    if sieve is not None:
        rows = [row for row in rows if sieve.passes(pools.candidate({"id": ""} | row, pictures))]
        pictures = {row["file"]: pictures[row["file"]] for row in rows if "file" in row}
    first = len(so_far.rows) + 1
    numbered = [{"id": f"{lot.name}-{number:04d}"} | origin | row for number, row in enumerate(rows, first)]
    return numbered[: lot.count - len(so_far.rows)], pictures


def _round(context: Context, lot: Lot, number: int) -> tuple[list[Json], dict[str, bytes]]:
    backbone = context.backbone
    if isinstance(backbone, DiffusionBackbone):
        return _pictures(context, backbone, lot, number)
    assert isinstance(backbone, LanguageBackbone)
    return [dict(item) for item in own.write_round(backbone, number, lot.seed)], {}


def _pictures(
    context: Context, backbone: DiffusionBackbone, lot: Lot, number: int
) -> tuple[list[Json], dict[str, bytes]]:
    asked, first = lots.asked(lot, context.record, context.data), number * DRAWN_AT_ONCE
    places = range(first, first + DRAWN_AT_ONCE)
    prompts = [asked[place % len(asked)] for place in places]
    rows, pictures = list[Json](), dict[str, bytes]()
    drawn = own.draw_pictures(backbone, prompts, lot.seed + first)
    for place, prompt, picture in zip(places, prompts, drawn, strict=True):
        content, name = io.BytesIO(), f"{place + 1:04d}.png"
        picture.save(content, "PNG")
        pictures[name] = content.getvalue()
        rows.append({"caption": prompt, "file": name})
    return rows, pictures
