"""Measure a backbone on this machine: two short jobs on its own data, from which the time of long ones follows."""

from __future__ import annotations

import io
import shutil
import sys
import time
from typing import Annotated

import typer
from PIL import Image

from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.database.engine import connect, sessions
from core.database.migrations import migrate
from core.errors import JobFailure
from core.estimates import measurements
from core.estimates.measurements import Measured
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary
from core.references import captions, packing
from core.references.items import ImageItem, References, TextItem
from core.runtime.command_line import CommandLine, Data, read_settings
from core.settings import Settings
from worker import device
from worker.device import hardware
from worker.job_folder import JobFolder
from worker.protocol import Failed, Finished, Json, StageDone
from worker.supervision import inputs
from worker.supervision.job_measurement import JobMeasurement
from worker.trainer import gpu_check
from worker.trainer.probe import probe
from worker.trainer.process import Trainer, TrainerDied
from worker.trainer.sandbox import Cage

REFERENCES = 6  # of each job
SCORED_CANDIDATES = 64
SHORT_JOB: Json = {"max_steps": 16, "surrogate_steps": 12, "stop": "max_steps", "sample_prompts": ["one", "two"]}
POLL_SECONDS = 0.2
BUSY_SLOWDOWN = 1.3
BUSY_NOTE = "note: other processes made this {:.1f} times slower; calibrate again when the machine has less to do."
SENTENCES = (
    "The harbour lay still under the morning fog.",
    "Bread rises slowly in a cold kitchen.",
    "A letter came from the far side of the river.",
    "Nobody had wound the clock for a year.",
    "She counted the steps down to the cellar door.",
    "The road bends where the old mill stood.",
)


COMMANDS = CommandLine()


@COMMANDS.explained("calibrate", "albatross calibrate --backbone emoji-ldm")
def command(
    backbone: Annotated[str, typer.Option(metavar="ID", help="one of `albatross backbones list`")], data: Data = None
) -> None:
    """Measure a backbone on this machine: two short jobs on its own data, from which the time of long ones follows."""
    settings = read_settings(data=data)
    record = Registry.load(settings).get(backbone)
    found = calibrate(record, settings)
    migrate(settings.database)
    with sessions(connect(settings.database)).begin() as session:
        for measured in reversed(found):
            measurements.add(session, record.id, record.measured_as, measured)
    if (slowed := max(measured.slowed for measured in found)) > BUSY_SLOWDOWN:
        print(BUSY_NOTE.format(slowed), file=sys.stderr)
    print(f"Measured {record.id} on {found[0].device}; estimates and running jobs go by it from now on.")


def calibrate(record: BackboneRecord, settings: Settings) -> list[Measured]:
    """Run both jobs in one trainer, as a worker would; raises JobFailure where one fails."""
    read = captions.captioned(examples(record), record, record.trigger_hint)
    gpu_check.refuse(probe(settings))
    cage = Cage.of_process(settings, "calibration", pools=True)
    trainer = Trainer(settings, cage)
    try:
        plan = plans(record, settings, len(read.items))
        return [_run(trainer, record, settings, read, bat, JobFolder(cage.work / "job")) for bat in plan]
    except TrainerDied as error:
        raise JobFailure(f"Calibrating ended early: {error}.", code="worker_crashed") from error
    finally:
        trainer.kill()
        shutil.rmtree(cage.work, ignore_errors=True)


def plans(record: BackboneRecord, settings: Settings, count: int) -> list[Json]:
    """Return what the two jobs ask for: the usual sizes, and others, so that it shows what each of them costs."""
    from worker.stages import pool as pools  # it loads torch, which the command's help needs not

    pool = pools.load(record)
    # so that passes over a pool are measured, whatever a preset protects on; what a backbone makes itself takes long
    short = SHORT_JOB | ({"protect_on": "pool"} if pool else {"augment": False})
    usual = _parameters(record, settings, count, short)
    share = min(1.0, max(SCORED_CANDIDATES / len(pool.candidates), 1e-3)) if pool and pool.candidates else 1.0
    first = short | {"sample_ratio": share}
    other: Json = {
        "rank": min(256, 4 * usual.rank),
        "batch_size": max(1, usual.batch_size // 2),
        "folds": 2,
        "sample_ratio": share / 2,
    }
    return [first, short | other | ({"gamma": 0.5} if usual.augment else {})]


def examples(record: BackboneRecord) -> References:
    """Return references from the backbone's own pool, or made-up ones where it has none."""
    from worker.stages import pool as pools

    pool = pools.load(record)
    candidates = pool.candidates if pool else ()
    spread = [candidates[at * len(candidates) // REFERENCES] for at in range(REFERENCES)] if candidates else []
    if record.kind == "images":
        pictures = [candidate.png for candidate in spread if candidate.png] or _stripes(record.resolution or 64)
        items = [_image(number, png) for number, png in enumerate(pictures)]
        return References("images", tuple(items))
    texts = [candidate.words for candidate in spread] or list(SENTENCES)
    return References("texts", tuple(TextItem(text=text) for text in texts))


def _image(number: int, png: bytes) -> ImageItem:
    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
    return ImageItem(f"{number}.png", f"picture {number}", png, width, height, str(number))


def _stripes(side: int) -> list[bytes]:
    """Draw as many different pictures as a calibration needs."""
    pictures = []
    for number in range(REFERENCES):
        image = Image.new("RGB", (side, side), (40 * number, 255 - 30 * number, 90))
        image.paste((250, 40 * number, 10), (0, side * number // REFERENCES, side, side * (number + 1) // REFERENCES))
        content = io.BytesIO()
        image.save(content, "PNG")
        pictures.append(content.getvalue())
    return pictures


def _parameters(record: BackboneRecord, settings: Settings, count: int, bat: Json) -> Parameters:
    return resolve(
        BatRequest.model_validate(bat),
        None,
        backbone=record,
        summary=ReferenceSummary(kind=record.kind, count=count),
        device_class=device.device_class(settings),
        seed=0,
    )


def _run(
    trainer: Trainer, record: BackboneRecord, settings: Settings, read: References, bat: Json, folder: JobFolder
) -> Measured:
    """Run one short job to its end and return what it took."""
    began, parameters = time.monotonic(), _parameters(record, settings, len(read.items), bat)
    folder.write_spec(inputs.specification(record, parameters, settings, None))
    packing.write_folder(read, folder.references)
    gauge = JobMeasurement(hardware(settings), parameters, read)
    try:
        _drive(trainer, folder, gauge)
        measured = gauge.measured("calibration", time.monotonic() - began, folder)
    finally:
        folder.remove()
    if measured is None:
        raise JobFailure("The trainer did not say what its stages took; use the built-in one.", code="internal_error")
    return measured


def _drive(trainer: Trainer, folder: JobFolder, gauge: JobMeasurement) -> None:
    """Follow the trainer to the job's end."""
    trainer.run(folder.path)
    while True:
        match trainer.receive(POLL_SECONDS):
            case StageDone(stage, work) as line:
                gauge.note(line)
                print(f"{stage:<10} {(work or {}).get('seconds', 0):7.1f} s", file=sys.stderr)
            case Failed(code, message):
                raise JobFailure(message, code=code)
            case Finished():
                return


if __name__ == "__main__":
    sys.exit(COMMANDS.run("albatross calibrate"))
