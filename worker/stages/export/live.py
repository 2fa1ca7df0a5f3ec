"""Samples while it trains: what a kept step draws or writes is shown at once, and taken over when the steps are judged.

Export would draw the same in the same passes: so nothing is drawn twice, and the job takes no longer. How much of it
takes place in training is bounded by a share of the time that training has taken so far, with step 0 as a loan; a step
that there is no time for is left to export. Noise comes from generators of its own, so training is the same to the bit.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from core.disk import write_whole
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.lora.adapter import Adapter
from core.method.stopping.drawings import WATCHED, drawings, drawn, watched
from worker.job_folder import JobFolder, seal
from worker.protocol import Json, Known, Line, Sampled
from worker.stages.context import Context
from worker.stages.export.answers import Answer, Asking, asking_of, asks
from worker.stages.export.samples import cover_of, picture_file, row_of
from worker.stages.saves import fingerprint

SAMPLES, TAKEN = "samples.json", "taken.json"  # rows to show; of every step, what export takes over
Shown = tuple[int, tuple[str, str, Any]]  # its number among the step's samples; role, prompt, picture or text
Drawn = tuple[list[Shown], list[str] | list[Answer]]  # what is shown; files of all pictures, or all answers


class LiveSamples:
    """Draws while a job trains, at most `share` of the time that `clock` tells."""

    def __init__(self, context: Context, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._context, self._share, self._clock = context, share if asks(context) else 0.0, clock
        self._folder = context.folder.live
        self._began, self._spent, self._last = clock(), 0.0, 0.0  # seconds: drawing in all, and the last step
        self._steps = _taken(context.folder)
        self._rows: list[Json] = json.loads((self._folder / SAMPLES).read_text()) if self._steps else []

    def at(self, step: int, adapter: Adapter | None) -> Iterator[Line]:
        """Draw what a kept step is to show, if there is time for it; step 0 begins anew."""
        if step == 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._steps, self._rows = {}, []
        if str(step) in self._steps or not self._affordable(step):
            return
        began = self._clock()
        self._draw(step, adapter)
        self._last = self._clock() - began
        self._spent += self._last
        yield Sampled("train")
        if (picture := cover_of(self._rows, step, self._folder)) is not None:
            yield Known("train", {"cover": picture})

    def _affordable(self, step: int) -> bool:
        trained = self._clock() - self._began - self._spent
        allowed = self._spent + self._last <= self._share * trained
        return self._share > 0 and (step == 0 or allowed)

    def _draw(self, step: int, adapter: Adapter | None) -> None:
        self._folder.mkdir(exist_ok=True)
        backbone = self._context.backbone
        if isinstance(backbone, DiffusionBackbone):
            shown, taken = self._pictures(backbone, step, adapter)
        else:
            shown, taken = self._answers(adapter)
        labels = ["before"] if step == 0 else []
        self._rows += [row_of(number, step, labels, answer, self._folder) for number, answer in sorted(shown[:WATCHED])]
        self._steps[str(step)] = taken
        write_whole(self._folder / SAMPLES, json.dumps(self._rows).encode())
        write_whole(
            self._folder / TAKEN, json.dumps({"job": fingerprint(self._context.folder), **self._steps}).encode()
        )
        seal(self._folder)

    def _pictures(self, backbone: DiffusionBackbone, step: int, adapter: Adapter | None) -> Drawn:
        p, shown, files = self._context.p, list[Shown](), list[str]()
        asked = watched(drawings(p.sample_prompts, p.unrelated_prompts, p.seed))
        for place, (one, picture) in enumerate(zip(asked, drawn(backbone, adapter, asked), strict=True)):
            if one.number is not None and len(shown) < WATCHED:
                shown.append((one.number, ("unrelated" if one.unrelated else "subject", one.prompt, picture)))
                files.append(picture_file(step, one.number))
            else:
                files.append(f"drawn-{step:05d}-{place}.png")
                picture.save(self._folder / files[-1])
        return shown, files

    def _answers(self, adapter: Adapter | None) -> Drawn:
        with self._asking.backbone.lora.use(adapter):
            said = self._asking.answers()
        new = [place for place, (role, _, _) in enumerate(said) if role == "subject"]
        order = [*new[:1], *range(len(new), len(said))[:1], *new[1:]]
        return [(place, said[place]) for place in order], said

    @cached_property
    def _asking(self) -> Asking:
        return asking_of(self._context)


def known_pictures(folder: JobFolder) -> Callable[[int], Sequence[Image.Image]]:
    """Return what gives the first pictures of a step: those that were drawn while it trained, or none."""
    steps = _taken(folder)
    return lambda step: [_opened(folder.live / name) for name in steps.get(str(step), ())]


def known_answers(folder: JobFolder) -> dict[int, list[Answer]]:
    """Return all answers of the steps that were asked while it trained."""
    return {int(step): [(role, asked, said) for role, asked, said in rows] for step, rows in _taken(folder).items()}


def _taken(folder: JobFolder) -> dict[str, Any]:
    """Return what was drawn of every step, where it is whole and of this very job."""
    if not folder.done(folder.live.name):
        return {}
    found: dict[str, Any] = json.loads((folder.live / TAKEN).read_text())
    return found if found.pop("job") == fingerprint(folder) else {}


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")
