"""Train one adapter without a server: the same six stages, with a progress bar: `albatross train`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

from core.backbones.registry import Registry
from core.errors import AlbatrossError
from core.parameters.request import BatRequest
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import summarise
from core.references import packing
from core.settings import Settings
from core.uploads import reading
from core.uploads.reading import JudgedReferences
from worker.device import device_class
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, Progress
from worker.supervision import inputs
from worker.trainer.process import FIXED

WIDTH = 24
KEPT_APART = {"adapter-peft.zip": "peft"}  # unpacked, so that peft can load the folder as it is


def main() -> int:
    """Run the command; returns its exit status."""
    arguments = parse()
    settings = Settings()
    try:
        folder = prepare(arguments, settings)
        show(folder, arguments.out, settings)
    except AlbatrossError as error:
        print(f"albatross: {error.message}", file=sys.stderr)
        return 2
    report = json.loads((arguments.out / "report.json").read_text())
    print(report["stop_reason"])
    print(f"The adapter is in {arguments.out}.")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="albatross train",
        description="Train one adapter here and now. A second run with the same --out goes on where the first ended.",
    )
    add = parser.add_argument
    add("--backbone", required=True, metavar="ID", help="one of `albatross backbones list`")
    add("--references", required=True, type=Path, metavar="PATH", help="folder, image, zip, JSONL or text file")
    add("--validation", type=Path, metavar="PATH", help="more of the same, never trained on: its loss is shown")
    add("--out", required=True, type=Path, metavar="DIR", help="where the adapter, samples and report go")
    add("--seed", type=int, default=0)
    add(
        "--bat", type=json.loads, default={}, metavar="JSON", help="settings as in the API, e.g. '{\"max_steps\": 100}'"
    )
    return parser.parse_args()


def prepare(arguments: argparse.Namespace, settings: Settings) -> JobFolder:
    """Read the references, resolve the parameters, and make the job folder that the stages work in."""
    record = Registry.load(settings).get(arguments.backbone)
    bat = BatRequest.model_validate(arguments.bat)
    given = read_path(arguments.references, settings)
    for finding in given.findings:
        print(f"note: {finding.message} {finding.fix}", file=sys.stderr)
    defaults = ServiceDefaults.load(settings, device_class(settings))
    parameters = defaults.resolve(bat, None, backbone=record, summary=summarise(given), seed=arguments.seed)
    folder = JobFolder(arguments.out.absolute() / "work")
    spec = inputs.specification(record, parameters, settings, None)
    if (folder.path / "spec.json").exists() and folder.spec() != json.loads(json.dumps(spec)):
        folder.remove()  # stages of other settings are of no use
    folder.write_spec(spec)
    packing.write_folder(inputs.caption_references(given, record, parameters), folder.references)
    if arguments.validation:
        heldout = read_path(arguments.validation, settings)
        packing.write_folder(inputs.caption_references(heldout, record, parameters), folder.validation)
    return folder


def read_path(path: Path, settings: Settings) -> JudgedReferences:
    """Read a file as the API would; a folder is read as the zip that it could be."""
    if path.is_file():
        return reading.read(path, path.name, settings)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / f"{path.name}.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(path.iterdir()):
                archive.write(file, file.name)
        return reading.read(packed, packed.name, settings)


def show(folder: JobFolder, out: Path, settings: Settings) -> None:
    """Run the stages with a progress bar, then copy what they exported out of the job folder."""
    os.environ |= FIXED
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    from worker.stages import run  # after the environment is set: it imports torch

    draw(run(folder))
    for file in folder.stage("export").iterdir():
        if file.name in KEPT_APART:
            shutil.unpack_archive(file, out / KEPT_APART[file.name])
        elif file.name != "done.json":
            shutil.copyfile(file, out / file.name)


def draw(lines: Iterable[Line]) -> None:
    """Show messages and progress on standard error: one line a stage that redraws itself, or a line a tenth."""
    live, stage, shown, began = sys.stderr.isatty(), "", -1, time.monotonic()
    for line in lines:
        if isinstance(line, Message):
            print(f"{chr(13) if live else ''}{line.text:<100}", file=sys.stderr)
        elif isinstance(line, Progress):
            tenth = 10 * line.step // max(1, line.total)
            if live or (line.stage, tenth) != (stage, shown):
                print(bar(line), end="\r" if live else "\n", file=sys.stderr, flush=True)
            stage, shown = line.stage, tenth
    print(f"{'done':<10} after {time.monotonic() - began:.0f} s{'':<60}", file=sys.stderr)


def bar(line: Progress) -> str:
    """Return one line that says how far the stage is and how long it will take."""
    share = min(1.0, line.step / max(1, line.total))
    filled = round(share * WIDTH)
    left = "" if line.eta_seconds is None else f"  about {line.eta_seconds:.0f} s left"
    return f"{line.stage:<10} [{'#' * filled}{'.' * (WIDTH - filled)}] {line.step}/{line.total}{left:<24}"


if __name__ == "__main__":
    sys.exit(main())
