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
from benchmarks.presets.verdicts import Verdict, accepted, mean_checks, mean_score, worth
from core.method.backbones.diffusion import DiffusionBackbone
from core.method.backbones.language import LanguageBackbone
from core.method.backbones.lora import Adapter

ASKED_SEED, UNRELATED_SEED = 100, 900
ANSWER_TOKENS = 64  # the longest reference has fewer
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
            "kept": accepted(self.unrelated),
            "unrelated": len(self.unrelated),
            "worth": round(worth(self.asked, self.unrelated, self.everywhere), 4),
            "checks": {name: round(value, 3) for name, value in mean_checks(self.asked).items()},
        }


class PictureBench:
    """The judge of an image set on one backbone; the untouched backbone's pictures are drawn once."""

    def __init__(self, chosen: PresetSet, backbone: DiffusionBackbone) -> None:
        self.set, self.backbone = chosen, backbone
        self._before = self._drawn(None, untouched)
        asked, unrelated = self._before[: len(chosen.asked)], self._before[len(chosen.asked) :]
        references = [picture.resize((backbone.resolution,) * 2) for picture in chosen.pictures()]
        self._asked: SubjectJudge | StyleJudge
        if chosen.preset == "subject":
            self._asked = SubjectJudge(chosen.name, references, asked, list(pool_pictures().values()))
            taken: Sequence[Image.Image] = asked
        else:
            self._asked = StyleJudge(chosen.name, references, asked)
            taken = [convert(chosen.name, picture) for picture in unrelated]
        self._kept = KeptJudge(unrelated, references, taken)

    def judged(self, adapter: Adapter | None, phrase: Phrase) -> Judged:
        """Draw with the adapter and judge."""
        drawn = self._drawn(adapter, phrase)
        count = len(self.set.asked)
        asked, unrelated = self._asked.asked(drawn[:count]), self._kept.unrelated(drawn[count:])
        return Judged(asked, unrelated, drawn, self.set.everywhere)

    @torch.no_grad()
    def _drawn(self, adapter: Adapter | None, phrase: Phrase) -> list[Image.Image]:
        with self.backbone.lora.use(adapter):
            asked = self.backbone.sample([phrase(content) for content in self.set.asked], seed=ASKED_SEED)
            others = [untouched(content) for content in self.set.unrelated]
            return [*asked, *self.backbone.sample(others, seed=UNRELATED_SEED)]


class TextBench:
    """The judge of a text set."""

    def __init__(self, chosen: PresetSet, backbone: LanguageBackbone) -> None:
        self.set, self.backbone = chosen, backbone

    @torch.no_grad()
    def judged(self, adapter: Adapter | None, phrase: Phrase) -> Judged:
        """Ask with the adapter and judge; an unrelated answer is kept where it has neither voice nor format."""
        with self.backbone.lora.use(adapter):
            said = [self._answered(questions) for questions in (self.set.asked, self.set.unrelated)]
        asked, others = (answers.judge(self.set.name, part) for part in said)
        kept = [Verdict(1.0 - one.score, not one.accepted, one.checks) for one in others]
        return Judged(asked, kept, [*said[0], *said[1]], self.set.everywhere)

    def _answered(self, questions: Sequence[str]) -> list[str]:
        chats = [[{"role": "user", "content": question}] for question in questions]
        return self.backbone.reply(chats, max_new_tokens=ANSWER_TOKENS)


Bench = PictureBench | TextBench


def untouched(content: str) -> str:
    """Return the prompt for a content without any trigger word."""
    return f"{PREFIX}{content}"


def bench_of(chosen: PresetSet, backbone: DiffusionBackbone | LanguageBackbone) -> Bench:
    """Return the judge of a set on its backbone."""
    if isinstance(backbone, DiffusionBackbone):
        return PictureBench(chosen, backbone)
    return TextBench(chosen, backbone)
