"""Repeat the experiment of the early-stopping paper on your own references."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from core.backbones.registry import Registry
from core.disk import write_json
from core.errors import InvalidInput
from core.runtime.command_line import INTERRUPTED, CommandLine, Data, read_settings
from core.runtime.progress import ProgressLine
from core.settings import Settings
from worker.commands import train
from worker.device import device
from worker.trainer import gpu_check
from worker.trainer.process import fixed

COMMANDS = CommandLine()
RECORD, FIGURE = "record.json", "figure.png"
WORDS = """Repeat the experiment of the early-stopping paper on your own references.

An adapter trains at the paper's settings (the presets paper-image and paper-text, without replay) to its last step.
CS-Fluctuation is followed on the way, and adapters along the curve are judged: by questions in MMLU's form, by
drawings for captions that are held out, and by the loss on held-out references. A figure shows both, and a sentence
says how far the turning point is from the step that was best.

Questions are a CSV with the columns question,A,B,C,D,answer, with a header or without; such a CSV may be the
references too. Which letter is the likeliest answer is asked as MMLU's harness does, without examples, through the
backbone's chat template where it has one.

Ctrl-C stops it after a step; the same command goes on from there. What is done is not done again."""


@COMMANDS.explained(
    "paper",
    "python -m benchmarks.paper --backbone emoji-ldm --references demo/emoji_ldm/references/cat --validation "
    "demo/emoji_ldm/heldout/cat",
    "python -m benchmarks.paper --backbone smollm2-135m --references physics_dev.csv --questions physics_test.csv",
    "python -m benchmarks.paper --backbone smollm2-135m --references talk.jsonl --seeds 3 --bat '{\"batch_size\": 4}'",
    words=WORDS,
)
def paper(
    backbone: train.Backbone,
    references: train.References,
    validation: Annotated[
        Path | None, typer.Option(metavar="PATH", help="what runs are judged by; else a part of the references is")
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="references that are held out; else a quarter, and 2 at least"),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(metavar="CSV", help="multiple-choice questions in MMLU's form, for texts")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="runs, each with draws of its own")] = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="where runs, record and figure go")] = Path(
        "benchmark-work/paper"
    ),
    points: Annotated[
        int, typer.Option(min=2, max=1000, metavar="N", help="steps of a run that are judged, about")
    ] = 30,
    bat: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=train.bat_settings, help="other settings than the paper's, as in the API"),
    ] = None,
    data: Data = None,
) -> None:
    settings = read_settings(data=data)
    record = Registry.load(settings).get(backbone)
    _check_places(out, references, validation)
    os.environ |= fixed(settings)
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    gpu_check.require(device(settings))
    from benchmarks.paper.running import Experiment, Stopped  # after the environment is set: it imports torch

    material = _material(record, references, validation, questions, settings)
    experiment = Experiment(backbone, record.kind, material, held_out, bat or {}, points, seeds, out, settings)
    try:
        _report(experiment, _runs(experiment), out)
    except Stopped:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _material(
    record: Any, references: Path, validation: Path | None, questions: Path | None, settings: Settings
) -> Any:
    from benchmarks.paper import measuring
    from benchmarks.paper.material import Material

    measuring.check(record.kind)
    return Material.read(record, references, validation, questions, settings)


def _check_places(out: Path, *read: Path | None) -> None:
    """Raise InvalidInput where there is nothing to read, or where what is written would be read."""
    for place in filter(None, read):
        if not place.exists():
            message = f"{place} is not there; name a folder or a file."
            raise InvalidInput(message, code="file_not_found", param="references")
        if out.resolve().is_relative_to(place.resolve()):
            message = f"--out lies in {place}, which is read as references; choose a folder outside of it."
            raise InvalidInput(message, code="out_in_references", param="out")


def _runs(experiment: Any) -> list[dict[str, Any]]:
    from benchmarks.paper.running import run

    shown = ProgressLine()
    found = [run(experiment, seed, shown) for seed in range(experiment.seeds)]
    shown.close()
    return found


def _report(experiment: Any, found: list[dict[str, Any]], out: Path) -> None:
    """Write record and figure, and say what they come to."""
    from benchmarks.paper import figure
    from benchmarks.paper.findings import Run, overall, sentence, summary

    runs, asked = [Run.of(one) for one in found], experiment.material.questions
    told = [*map(sentence, runs), *overall(runs, len(asked.rows) if asked else None)]
    first = json.loads((out / "seed-0" / "work" / "spec.json").read_text())["parameters"]
    settings = {name: first[name] for name in TOLD}
    record = {
        "backbone": experiment.backbone,
        "references": found[0]["references"],
        "questions": len(asked.rows) if asked else 0,
        "settings": settings,
        "sentences": told,
        "runs": [summary(run) | {"curves": curves(run)} for run in runs],
    }
    write_json(out / RECORD, record)
    figure.draw(runs, title(experiment, settings), out / FIGURE)
    print("\n".join(told))
    print(f"The figure is {out / FIGURE}, the record {out / RECORD}.")


TOLD = ("preset", "rank", "alpha", "learning_rate", "batch_size", "max_steps", "window", "interval", "cs_semantics")


def curves(run: Any) -> dict[str, Any]:
    """Return a run's curves, by step."""
    told = asdict(run)
    return {"fluctuation": told["fluctuation"], **told["measured"]}


def title(experiment: Any, settings: dict[str, Any]) -> str:
    """Say above the figure what was trained."""
    return (
        f"{experiment.backbone}: rank {settings['rank']}, learning rate {settings['learning_rate']:g}, batch "
        f"{settings['batch_size']}, M = {settings['window']} x {settings['interval']} steps"
    )


if __name__ == "__main__":
    sys.exit(COMMANDS.run("python -m benchmarks.paper"))
