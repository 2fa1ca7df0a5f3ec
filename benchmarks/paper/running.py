"""One run at the papers' settings, from the references to its curves; what was done before is not done again."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.paper import material as materials
from benchmarks.paper import measuring
from benchmarks.paper.material import Material
from core.disk import write_json
from core.method.albat import train_adapter
from core.method.lora.adapter import Adapter
from core.method.protection.protection import NONE
from core.method.stopping.evidence import SurrogateCurves
from core.method.training.final_run import Outcome
from core.method.training.loop import Step
from core.runtime.progress import ProgressLine, bar, duration
from core.settings import Settings
from worker.commands import train
from worker.job_folder import JobFolder
from worker.protocol import Json, Line, StageDone
from worker.stages import run as stages
from worker.stages.context import Context, ProgressClock
from worker.stages.train import curve_row

# The paper replays nothing, and looks at the whole curve: where its rule would have ended the run is known afterwards.
SETTINGS = {"protect": "none", "stop": "max_steps"}
PRESETS = {"images": "paper-image", "texts": "paper-text"}
FIRST = "prepare"
RESULT = "result.json"


@dataclass(frozen=True)
class Experiment:
    """What is trained with which settings, on what it is judged, and where it goes."""

    backbone: str
    kind: str
    material: Material
    held_out: int | None
    bat: Json
    points: int  # of the curve that are judged, about
    seeds: int
    out: Path
    settings: Settings


class Stopped(Exception):
    """Somebody has asked the experiment to stop; what it has is kept."""


def run(experiment: Experiment, seed: int, shown: ProgressLine) -> Json:
    """Return what a run of one seed showed; raises Stopped between two steps when told to."""
    place = experiment.out / f"seed-{seed}"
    folder = _folder(experiment, seed, place)
    if (place / RESULT).is_file():
        return dict(json.loads((place / RESULT).read_text()))
    if not folder.done(FIRST):
        lines = stages(folder)
        train.draw(_until(lines))
        lines.close()
    context = Context(folder)
    found = Judged(context, experiment, seed, shown).train()
    write_json(place / RESULT, found)
    return found


def _folder(experiment: Experiment, seed: int, place: Path) -> JobFolder:
    """Write what the run learns from and return its job's folder; one of another experiment is begun anew."""
    learned, judging = experiment.material.parts(experiment.held_out, seed)
    references = materials.write(learned, place / "references")
    validation = materials.write(judging, place / "held-out") if judging else None
    bat = {"preset": PRESETS[experiment.kind], **SETTINGS, **experiment.bat}
    asked = experiment.material.questions
    files = materials.digest(references, validation)
    told = [experiment.backbone, bat, experiment.points, files, asdict(asked) if asked else None]
    note, plain = place / "asked.json", json.loads(json.dumps(told))
    known = note.is_file() and json.loads(note.read_text()) == plain
    if not known:
        shutil.rmtree(place / "work", ignore_errors=True)
        (place / RESULT).unlink(missing_ok=True)
        write_json(note, plain)
    # what there is to remark on the files was said when they were read, and when the job was made
    with contextlib.redirect_stderr(io.StringIO()) if known else contextlib.nullcontext():
        wanted = train.Training(experiment.backbone, references, validation, place, seed, bat)
        return train.prepare(wanted, experiment.settings)


def _until(lines: Iterator[Line]) -> Iterator[Line]:
    for line in lines:
        yield line
        if isinstance(line, StageDone) and line.stage == FIRST:
            return


def judged_at(budget: int, interval: int, points: int) -> set[int]:
    """Return the steps at which adapters are judged: among those that CS is evaluated at, the first and last too."""
    every = interval * max(1, round(budget / points / interval))
    return {*range(0, budget, every), budget}


class Judged:
    """A run whose adapters are judged on the way."""

    def __init__(self, context: Context, experiment: Experiment, seed: int, shown: ProgressLine) -> None:
        p = context.p
        self._context, self._experiment, self._seed, self._shown = context, experiment, seed, shown
        self._measures = measuring.measures_of(context, experiment.material, shown.say)
        self._judged = judged_at(p.max_steps, p.interval, experiment.points)
        self._keeper, self._copies = context.keeper("train"), dict[int, Adapter]()
        self._pace = ProgressClock("train", p.max_steps, keeper=self._keeper)

    def train(self) -> Json:
        """Train to the end; raises Stopped after a step where a signal has come, and what it has is saved."""
        self._keeper.beside["rows"] = list[Json]()
        steps = self._steps()
        with _signals() as came, contextlib.closing(steps):
            while True:
                try:
                    step = next(steps)
                except StopIteration as done:
                    outcome: Outcome = done.value
                    break
                self._take(step)
                if came:
                    raise Stopped  # closing the steps saves where they stand
        references = len(self._context.read(FIRST, "references.json"))
        told = {"seed": self._seed, "references": references, "outcome": asdict(outcome)}
        return told | {"rows": self._keeper.beside["rows"]}

    def _steps(self) -> Generator[Step, None, Outcome]:
        context = self._context
        return train_adapter(
            context.backbone,
            context.references(),
            NONE,
            context.p,
            SurrogateCurves(((),)),  # the paper holds nothing out: no surrogates, no matched loss
            None,
            self._copies,
            context.heldout(),
            self._keeper,
        )

    def _take(self, step: Step) -> None:
        """Note what a step showed, judge its adapter where it is time to, and say how far the run is."""
        if step.step == 0:
            self._keeper.beside["rows"] = []
        row = curve_row(step)
        if step.step in self._judged:
            adapter = self._copies[step.step].to(self._context.backbone.device) if step.step else None
            row["measured"] = self._measures.of(adapter)
        self._keeper.beside["rows"].append(row)
        self._tell(step.step)

    def _tell(self, step: int) -> None:
        pace, seeds = self._pace, self._experiment.seeds
        share, left = step / pace.total, pace.at(step).eta_seconds
        words = f"seed {self._seed + 1} of {seeds}  {bar(share)} step {step}/{pace.total}"
        if left is not None and share < 1:
            later = left / (1 - share) * (seeds - 1 - self._seed)  # the other seeds, at this one's pace
            words += f"  about {duration(left + later)} left"
        self._shown.show(words, share, f"seed {self._seed}")


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Note signals instead of breaking off in the middle of a step; a second one does."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
