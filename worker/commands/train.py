"""Train one adapter without a server: the same six stages, with a progress bar: `albatross train`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.errors import InvalidInput
from core.findings.finding import Finding
from core.findings.jobs import unknown_to_template
from core.parameters.known_names import meant
from core.parameters.request import BatRequest
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import summarise
from core.references import packing, templates
from core.references.items import References as Read
from core.references.items import TextItem
from core.runtime.command_line import CommandLine, Data, problems, read_settings
from core.runtime.progress import ProgressLine, bar, duration
from core.settings import Settings
from core.uploads import reading
from worker.device import device, device_class
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, Progress
from worker.supervision import inputs
from worker.trainer import gpu_check
from worker.trainer.process import fixed

KEPT_APART = {"adapter-peft.zip": "peft"}  # unpacked, so that peft can load the folder as it is
COMMANDS = CommandLine()


@dataclass(frozen=True)
class Training:
    """What is trained on which backbone, and where the result goes."""

    backbone: str
    references: Path
    validation: Path | None
    out: Path
    seed: int
    bat: dict[str, Any]  # settings as in the API


def bat_settings(text: str) -> dict[str, Any]:
    """Read the JSON of --bat; raises BadParameter, which names what can't be used."""
    try:
        given = json.loads(text)
        BatRequest.model_validate(given)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"it is not JSON ({error})") from None
    except ValidationError as error:
        raise typer.BadParameter(problems(error, BatRequest, partial(meant, BatRequest))) from None
    return dict(given)


Backbone = Annotated[str, typer.Option(metavar="ID", help="one of `albatross backbones list`")]
References = Annotated[Path, typer.Option(metavar="PATH", help="folder, image, zip, JSONL or text file")]
Seed = Annotated[int, typer.Option(metavar="S", help="of every draw")]


@COMMANDS.explained(
    "train",
    "albatross train --backbone emoji-ldm --references pictures/ --out adapter/",
    "albatross train --backbone smollm2-135m --references talk.jsonl --out adapter/ --bat '{\"max_steps\": 40}'",
)
def train(
    backbone: Backbone,
    references: References,
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the adapter, samples and report go")],
    validation: Annotated[
        Path | None, typer.Option(metavar="PATH", help="more of the same, never trained on: its loss is shown")
    ] = None,
    seed: Seed = 0,
    bat: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=bat_settings, help="settings as in the API, e.g. '{\"max_steps\": 100}'"),
    ] = None,
    data: Data = None,
) -> None:
    """Train one adapter here and now. A second run with the same --out goes on where the first ended."""
    settings = read_settings(data=data)
    folder = prepare(Training(backbone, references, validation, out, seed, bat or {}), settings)
    show(folder, out, settings)
    report = json.loads((out / "report.json").read_text())
    print(report["stop_reason"])
    print(f"The adapter is in {out}.")


def prepare(training: Training, settings: Settings) -> JobFolder:
    """Read the references, resolve the parameters, and make the job folder that the stages work in."""
    record = Registry.load(settings).get(training.backbone)
    bat = BatRequest.model_validate(training.bat)
    _check_apart(training)
    read = reading.read(training.references, training.references.name, settings)
    for finding in [*read.findings, *_of_template(read, record)]:
        print(f"note: {finding.message} {finding.fix}", file=sys.stderr)
    given = templates.writable(read, record)
    defaults = ServiceDefaults.load(settings, device_class(settings))
    parameters = defaults.resolve(bat, None, backbone=record, summary=summarise(given), seed=training.seed)
    folder = JobFolder(training.out.absolute() / "work")
    spec = inputs.specification(record, parameters, settings, None)
    if (folder.path / "spec.json").exists() and folder.spec() != json.loads(json.dumps(spec)):
        folder.remove()  # stages of other settings are of no use
    folder.write_spec(spec)
    packing.write_folder(inputs.caption_references(given, record, parameters), folder.references)
    if training.validation:
        heldout = reading.read(training.validation, training.validation.name, settings)
        if heldout.kind != given.kind:
            message = f"The references are {given.kind}, and the validation data is {heldout.kind}; send the same."
            raise InvalidInput(message, code="mixed_kinds", param="validation")
        usable = templates.writable(heldout, record, "validation")
        packing.write_folder(inputs.caption_references(usable, record, parameters), folder.validation)
    return folder


def _of_template(read: Read, record: BackboneRecord) -> Iterator[Finding]:
    texts = [item for item in read.items if isinstance(item, TextItem)]
    system, tools = sum(map(templates.begins_with_system, texts)), sum(item.uses_tools for item in texts)
    return unknown_to_template(record, len(texts), system, tools)


def _check_apart(training: Training) -> None:
    """Refuse to write into the references: a second run would learn from what the first has drawn."""
    for read in filter(None, (training.references, training.validation)):
        if training.out.resolve().is_relative_to(read.resolve()):
            message = f"--out lies in {read}, which is read as references; choose a folder outside of it."
            raise InvalidInput(message, code="out_in_references", param="out")


def show(folder: JobFolder, out: Path, settings: Settings) -> None:
    """Run the stages with a progress bar, then copy what they exported out of the job folder."""
    os.environ |= fixed(settings)
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    gpu_check.require(device(settings))
    from worker.stages import run  # after the environment is set: it imports torch

    draw(run(folder))
    for file in folder.stage("export").iterdir():
        if file.name in KEPT_APART:
            shutil.unpack_archive(file, out / KEPT_APART[file.name])
        elif file.name != "done.json":
            shutil.copyfile(file, out / file.name)


def draw(lines: Iterable[Line]) -> None:
    """Show messages and progress on standard error, a line for every stage."""
    shown = ProgressLine()
    for line in lines:
        if isinstance(line, Message):
            shown.say(line.text)
        elif isinstance(line, Progress):
            share = line.step / max(1, line.total)
            left = "" if line.eta_seconds is None else f"  about {duration(line.eta_seconds)} left"
            shown.show(f"{line.stage:<10} {bar(share)} {line.step}/{line.total}{left}", share, line.stage)
    shown.close(f"{'done':<10} after {duration(shown.seconds())}")


if __name__ == "__main__":
    sys.exit(COMMANDS.run("albatross train"))
