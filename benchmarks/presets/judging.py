"""Ask a backbone with an adapter for what a set asks for, and judge what comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from benchmarks.presets import answers
from benchmarks.presets.conversions import PREFIX, convert, pool_pictures
from benchmarks.presets.pictures import KeptJudge, StyleJudge, SubjectJudge
from benchmarks.presets.sets import PresetSet
from benchmarks.presets.verdicts import Verdict, accepted, error, mean_checks, mean_score, worth
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter

ASKED_SEEDS, UNRELATED_SEED = (100, 200, 300), 900  # everything is asked three times: eight pictures tell too little
ANSWER_TOKENS = 64  # the longest reference has fewer
TEMPERATURE = 0.7  # a voice is asked as chats are usually held; a format as programs ask, for the most likely answer
Phrase = Callable[[str], str]  # from a content to the prompt that a user of the adapter writes


@dataclass(frozen=True)
class Judged:
    """What one step made of all that was asked, and what that came to."""

    asked: list[Verdict]
    unrelated: list[Verdict]
    shown: list[Any]  # pictures or answers, first those asked for, then the unrelated ones
    everywhere: bool

    def row(self) -> dict[str, Any]:
        """Return the numbers that are kept of it."""
        return {
            "accepted": accepted(self.asked),
            "asked": len(self.asked),
            "score": round(mean_score(self.asked), 4),
            "error": round(error(self.asked), 4),
            "kept": accepted(self.unrelated),
            "unrelated": len(self.unrelated),
            "worth": round(worth(self.asked, self.unrelated, self.everywhere), 4),
            "checks": {name: round(value, 3) for name, value in mean_checks(self.asked).items()},
        }


class PictureBench:
    """The judge of an image set on one backbone; the untouched backbone's pictures are drawn once."""

    def __init__(self, chosen: PresetSet, backbone: DiffusionBackbone) -> None:
        self.set, self.backbone = chosen, backbone
        references = [picture.resize((backbone.resolution,) * 2) for picture in chosen.pictures()]
        self._judges = [self._judge(seed, references) for seed in ASKED_SEEDS]

    def judged(self, adapter: Adapter | None, phrase: Phrase) -> Judged:
        """Draw with the adapter and judge; the pictures of the first noise are shown."""
        count, asked, others, shown = len(self.set.asked), list[Verdict](), list[Verdict](), list[Any]()
        for seed, (own, kept) in zip(ASKED_SEEDS, self._judges, strict=True):
            drawn = self._drawn(adapter, phrase, seed)
            asked += own.asked(drawn[:count])
            others += kept.unrelated(drawn[count:])
            shown = shown or drawn
        return Judged(asked, others, shown, self.set.everywhere)

    def _judge(self, seed: int, references: Sequence[Image.Image]) -> tuple[SubjectJudge | StyleJudge, KeptJudge]:
        """Return the judges of one noise: all compare with what it became before training."""
        chosen, before = self.set, self._drawn(None, untouched, seed)
        asked, unrelated = before[: len(chosen.asked)], before[len(chosen.asked) :]
        if chosen.preset == "subject":
            known = list(pool_pictures().values())
            return SubjectJudge(chosen.name, references, asked, known), KeptJudge(unrelated, references, asked)
        taken = [convert(chosen.name, picture) for picture in unrelated]
        return StyleJudge(chosen.name, references, asked), KeptJudge(unrelated, references, taken)

    @torch.no_grad()
    def _drawn(self, adapter: Adapter | None, phrase: Phrase, seed: int) -> list[Image.Image]:
        with self.backbone.lora.use(adapter):
            asked = self.backbone.sample([phrase(content) for content in self.set.asked], seed=seed)
            others = [untouched(content) for content in self.set.unrelated]
            return [*asked, *self.backbone.sample(others, seed=UNRELATED_SEED + seed)]


class TextBench:
    """The judge of a text set."""

    def __init__(self, chosen: PresetSet, backbone: LanguageBackbone) -> None:
        self.set, self.backbone = chosen, backbone

    @torch.no_grad()
    def judged(self, adapter: Adapter | None, phrase: Phrase) -> Judged:
        """Ask with the adapter and judge; an unrelated answer is kept where it has neither voice nor format.

        The first answer to each question is shown.
        """
        with self.backbone.lora.use(adapter):
            said = [self._answered(questions) for questions in (self.set.asked, self.set.unrelated)]
        asked, others = (answers.judge(self.set.name, [one for time in part for one in time]) for part in said)
        kept = [Verdict(1.0 - one.score, not one.accepted, one.checks) for one in others]
        return Judged(asked, kept, [*said[0][0], *said[1][0]], self.set.everywhere)

    def _answered(self, questions: Sequence[str]) -> list[list[str]]:
        """Return the answers to all questions, as often as they are asked."""
        chats = [{"messages": [{"role": "user", "content": question}]} for question in questions]
        if self.set.preset == "format":
            return [self.backbone.answer(chats, max_new_tokens=ANSWER_TOKENS)]
        return [
            self.backbone.answer(chats, max_new_tokens=ANSWER_TOKENS, temperature=TEMPERATURE, seed=seed)
            for seed in ASKED_SEEDS
        ]


Bench = PictureBench | TextBench


def untouched(content: str) -> str:
    """Return the prompt for a content without any trigger word."""
    return f"{PREFIX}{content}"


def bench_of(chosen: PresetSet, backbone: DiffusionBackbone | LanguageBackbone) -> Bench:
    """Return the judge of a set on its backbone."""
    if isinstance(backbone, DiffusionBackbone):
        return PictureBench(chosen, backbone)
    return TextBench(chosen, backbone)
