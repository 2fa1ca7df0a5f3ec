"""One knob of the method, turned: a job for every value on your own references, and a picture of what it changed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from core.parameters.protection.means import GENERATE
from core.runtime.command_line import CommandLine, Data, read_settings
from core.settings import Settings
from worker.commands import train
from worker.device import device
from worker.job_folder import JobFolder
from worker.protocol import Line, StageDone
from worker.trainer import gpu_check
from worker.trainer.process import fixed

LAST_STAGE = "train"  # the export would only cost time
OF_PROTECTION = ("augment", "gamma", "selected_count", "protect_weight", "protect_on")
OFF: Mapping[str, object] = {"protect": "none", "gamma": 0}  # the value of either at which nothing is protected
COLUMNS = ("published_step", "best_step", "heldout_change", "heldout_best_change", "forgetting", "gamma", "reliability")
TITLES = ("loss on held-out references", "loss on backbone data that is never replayed")


@dataclass(frozen=True)
class Ablation:
    """Say which parameter is turned, through which values, and which stages do not depend on it."""

    parameter: str
    values: Sequence[float | int | str]
    same: Sequence[str]
    asks: str
    besides: Mapping[str, object]  # what else a job needs for the parameter to matter


Which = Literal["surrogate-steps", "gamma", "protect", "protect-weight", "sample-ratio", "window", "folds"]
ABLATIONS: Mapping[Which, Ablation] = {
    "surrogate-steps": Ablation(
        "surrogate_steps", (200, 400, 800), ("prepare",), "How long must surrogates train for useful scores?", {}
    ),
    "gamma": Ablation(
        "gamma", (0.0, 0.25, 0.5, 0.75, 0.9, 0.95), ("prepare", "surrogate"), "How much backbone data is too much?", {}
    ),
    "protect": Ablation(
        "protect",
        ("none", "replay", "distil", "both"),
        ("prepare", "surrogate"),
        "By what means is the backbone protected best?",
        {},
    ),
    "protect-weight": Ablation(
        "protect_weight",
        (1, 4, 16),
        ("prepare", "surrogate", "score"),
        "How much may an example that protects count?",
        {},
    ),
    "sample-ratio": Ablation(
        "sample_ratio", (0.1, 0.25, 0.5, 1.0), ("prepare", "surrogate"), "How much of the pool must be scored?", {}
    ),
    "window": Ablation(
        "window",
        (5, 10, 20, 40),
        ("prepare", "surrogate", "score", "trial"),
        "What does the window M of CS-Fluctuation do to its turning point?",
        {"stop": "cs_fluctuation", "interval": 1},
    ),
    "folds": Ablation("folds", (2, 4, 8), ("prepare",), "How many surrogates are enough?", {}),
}


QUESTIONS = "\n".join(f"  {name:16} {one.asks}" for name, one in ABLATIONS.items())
COMMANDS = CommandLine()


def json_list(text: str) -> list[float | int | str]:
    """Read the JSON of --values; raises BadParameter."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"it is not JSON ({error})") from None
    if not isinstance(values, list) or not all(isinstance(value, int | float | str) for value in values):
        raise typer.BadParameter('it is a list of numbers or words, e.g. [0, 0.5] or ["none", "distil"]')
    return values


@COMMANDS.explained(
    "ablate",
    "albatross ablate gamma --backbone emoji-ldm --references cats/ --validation other-cats/ --out gamma/",
    "albatross ablate window --backbone emoji-ldm --references cats/ --validation other-cats/ --out window/",
    words=f"{__doc__}\n\n\b\n{QUESTIONS}\n\nA second run with the same --out goes on.",
)
def ablate(
    which: Annotated[Which, typer.Argument(metavar="WHICH", help="what is turned")],
    backbone: train.Backbone,
    references: train.References,
    validation: Annotated[Path, typer.Option(metavar="PATH", help="more of the same, never trained on: the truth")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="where jobs, figures and picture go")],
    values: Annotated[
        Sequence[float | str] | None,
        typer.Option(metavar="JSON", parser=json_list, help="other values than the usual, e.g. '[0, 0.5]'"),
    ] = None,
    seed: train.Seed = 0,
    bat: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=train.bat_settings, help="settings of every job, as in the API"),
    ] = None,
    data: Data = None,
) -> None:
    settings, ablation = read_settings(data=data), ABLATIONS[which]
    told = train.Training(backbone, references, validation, out, seed, bat or {})
    rows = [run(which, told, value, settings) for value in values or ablation.values]
    (out / "ablation.json").write_text(json.dumps({"ablation": which, "rows": rows}, indent=1) + "\n")
    print(table(ablation, rows))
    draw(ablation, rows, out / "ablation.png")
    print(f"The curves are in {out / 'ablation.png'}, the figures in {out / 'ablation.json'}.")


def run(which: Which, told: train.Training, value: float | int | str, settings: Settings) -> dict[str, Any]:
    """Do one job up to its training, or read it where it is done; returns what it showed."""
    ablation = ABLATIONS[which]
    print(f"{ablation.parameter} = {value}", file=sys.stderr)
    bat = {**_meant(told.bat, ablation, value), **ablation.besides, ablation.parameter: value}
    folder = train.prepare(replace(told, out=told.out / f"{which}-{value}", bat=bat), settings)
    _borrow(told.out, folder, ablation)
    os.environ |= fixed(settings)
    gpu_check.require(device(settings))
    from worker.stages import run as stages  # after the environment is set: it imports torch

    if not folder.done(LAST_STAGE):
        lines = stages(folder)
        train.draw(_until_trained(lines))
        lines.close()
    return {"value": value, **_shown(folder)}


def _meant(bat: Mapping[str, Any], ablation: Ablation, value: float | int | str) -> dict[str, Any]:
    """Return a job's settings without those that mean nothing at this value, and that a job refuses therefore."""
    off = value == OFF.get(ablation.parameter)
    return {name: one for name, one in bat.items() if not (off and name in ("protect", *OF_PROTECTION))}


def _until_trained(lines: Iterator[Line]) -> Iterator[Line]:
    for line in lines:
        yield line
        if isinstance(line, StageDone) and line.stage == LAST_STAGE:
            return


def _borrow(out: Path, folder: JobFolder, ablation: Ablation) -> None:
    """Take the stages that do not depend on the value from a job that differs in nothing but the value."""
    others = [JobFolder(path) for path in sorted(out.absolute().glob("*/work")) if path != folder.path]
    alike = [other for other in others if _besides(other, ablation) == _besides(folder, ablation)]
    for stage in ablation.same:
        lender = next((other for other in alike if other.done(stage) and _lends(other, folder, stage)), None)
        if not folder.done(stage) and lender is not None:
            shutil.copytree(lender.stage(stage), folder.stage(stage), dirs_exist_ok=True)


def _lends(lender: JobFolder, folder: JobFolder, stage: str) -> bool:
    return stage != "prepare" or _protects_on(lender) == _protects_on(folder)


def _protects_on(folder: JobFolder) -> str | None:
    """Return what is encoded beside references and the backbone's data for a job's protection, which is noted."""
    p = folder.spec()["parameters"]
    if p["augment"] and p["protect_on"] == "pool":
        return GENERATE if p["pool"] == GENERATE else None
    return p["protect_on"] if p["augment"] else None


def _besides(folder: JobFolder, ablation: Ablation) -> dict[str, Any]:
    """Return what a job was told, without the parameter that is turned and the reasons, which speak of it.

    Whether and with what weight the backbone is protected follows from by what means, and what the pool is for.
    """
    told = folder.spec()
    turned = {ablation.parameter, "reasons"}
    if ablation.parameter == "protect":
        turned |= {"pool", *OF_PROTECTION}
    kept = {name: value for name, value in told["parameters"].items() if name not in turned}
    return {**told, "parameters": kept}


def _shown(folder: JobFolder) -> dict[str, Any]:
    def read(name: str) -> Any:
        return json.loads((folder.path / name).read_text())

    curve, outcome = read("train/curve.json"), read("train/outcome.json")
    held = {row["step"]: row["heldout_loss"] for row in curve if "heldout_loss" in row}
    probe = {row["step"]: row["probe_loss"] for row in curve if "probe_loss" in row}
    published = outcome["published_step"]
    return {
        "published_step": published,
        "turning_point_step": outcome["turning_point_step"],
        "heldout_change": _change(held, published),
        "heldout_best_change": min(held.values()) / held[0] - 1,
        "best_step": min(held, key=held.__getitem__),
        "forgetting": _change(probe, published),
        "gamma": read("trial/mixture.json")["gamma"],
        "reliability": read("score/decision.json").get("reliability"),
        "heldout": held,
        "probe": probe,
    }


def _change(curve: Mapping[int, float], step: int) -> float | None:
    """Return the change of a loss from the start to the evaluation nearest to the step, relative."""
    return curve[min(curve, key=lambda at: abs(at - step))] / curve[0] - 1 if curve else None


def table(ablation: Ablation, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as lines to read."""
    lines = [f"{ablation.parameter:>16}" + "".join(f"{name:>21}" for name in COLUMNS)]
    for row in rows:
        lines.append(f"{row['value']:>16}" + "".join(f"{_word(name, row[name]):>21}" for name in COLUMNS))
    return "\n".join(lines)


def _word(name: str, value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.1%}" if name.endswith("change") or name == "forgetting" else f"{value:g}"


def _label(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def draw(ablation: Ablation, rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw held-out loss and forgetting over the steps, a line for every value, the published step marked."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for row in rows:
        for axis, name in zip(axes, ("heldout", "probe"), strict=True):
            steps, losses = [int(step) for step in row[name]], list(row[name].values())
            (line,) = axis.plot(steps, losses, label=_label(row["value"]))
            near = min(range(len(steps)), key=lambda at: abs(steps[at] - row["published_step"])) if steps else None
            if near is not None:
                axis.plot(steps[near], losses[near], "o", color=line.get_color())
    for axis, title in zip(axes, TITLES, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step; the dot is what is published")
    axes[0].legend(title=ablation.parameter, fontsize=8)
    figure.suptitle(ablation.asks)
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(COMMANDS.run("albatross ablate"))
