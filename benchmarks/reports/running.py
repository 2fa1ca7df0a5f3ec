"""A job run here, from an order to the folder that `albatross train` leaves, with what it said on its way."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from benchmarks.reports.material import MATERIAL
from benchmarks.reports.orders import Order
from core.disk import write_json
from core.settings import Settings
from worker.commands.train import Training, prepare
from worker.protocol import Message

MESSAGES = "messages.json"


def run(order: Order, place: Path, settings: Settings) -> Path:
    """Run the job to its end, where it has not ended before; return its output folder."""
    from worker.stages import run as stages  # imports torch

    out, made = place / "jobs" / order.name, place / "orders" / f"{order.name}.json"
    if (out / MESSAGES).is_file() and made.is_file() and json.loads(made.read_text()) == asdict(order):
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    lines = list(stages(prepare(_training(order, out, place / "references"), settings)))
    for file in (out / "work" / "export").iterdir():
        if file.is_file() and file.name != "done.json":
            shutil.copyfile(file, out / file.name)
    write_json(out / MESSAGES, [asdict(line) for line in lines if isinstance(line, Message)])
    made.parent.mkdir(exist_ok=True)
    write_json(made, asdict(order))
    return out


def _training(order: Order, out: Path, place: Path) -> Training:
    """Write the material and say what is trained on it."""
    place.mkdir(exist_ok=True)
    write, last = MATERIAL[order.material], order.count + order.validation
    references = write(place / order.name, range(order.count))
    held_out = write(place / f"{order.name}-validation", range(order.count, last)) if order.validation else None
    return Training(order.backbone, references, held_out, out, order.seed, order.bat)
