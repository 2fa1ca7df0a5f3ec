"""What an experiment learns from and is judged by: references, those that are held out of them, and questions."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.paper import questions
from benchmarks.paper.questions import Questions
from core.backbones.record import BackboneRecord
from core.errors import InvalidInput
from core.references import packing
from core.references.items import References
from core.settings import Settings
from core.uploads import reading

HELD_OUT = 0.25  # of the references, where nothing else says on what a run is judged
LEAST = 2  # references to learn from, and to be judged by


@dataclass(frozen=True)
class Material:
    """The references of an experiment, those that it is judged by where they are told apart, and its questions."""

    references: References
    validation: References | None
    questions: Questions | None

    @classmethod
    def read(
        cls, record: BackboneRecord, references: Path, validation: Path | None, asked: Path | None, settings: Settings
    ) -> Material:
        """Read it from where it lies; raises InvalidInput that says what to do."""
        if asked and record.kind != "texts":
            raise InvalidInput(
                f"{record.id} learns from {record.kind}, and questions are for texts. Leave --questions out, or name "
                "a backbone of texts.",
                code="invalid_questions",
                param="questions",
            )
        found = [_read(path, record, settings) if path else None for path in (references, validation)]
        assert found[0] is not None
        return cls(found[0], found[1], questions.read(asked) if asked else None)

    def parts(self, held_out: int | None, seed: int) -> tuple[References, References | None]:
        """Return what a run learns from and what is held out: what was given for that, or a draw of references."""
        items, given = self.references.items, self.validation
        if given is not None:
            return self.references, given
        count = max(LEAST, round(HELD_OUT * len(items))) if held_out is None else held_out
        if count == 0 and self.questions:
            return self.references, None
        if count < LEAST or len(items) - count < LEAST:
            raise InvalidInput(
                f"There are {len(items)} references, and {count} of them can't be held out: {LEAST} are needed to "
                f"learn from, and {LEAST} to judge by. Add references, or name others with --validation.",
                code="too_few_references",
                param="references",
            )
        kept = sorted(random.Random(seed).sample(range(len(items)), len(items) - count))
        left = [place for place in range(len(items)) if place not in kept]
        learned, judging = (tuple(items[place] for place in places) for places in (kept, left))
        return References(self.references.kind, learned), References(self.references.kind, judging)


def _read(path: Path, record: BackboneRecord, settings: Settings) -> References:
    if record.kind == "texts" and questions.is_form(path):
        return questions.read(path).references(framed=bool(record.chat and record.chat.template))
    return reading.read(path, path.name, settings)


def write(references: References, file: Path) -> Path:
    """Write references as one file that a job reads; returns it with its ending."""
    file = file.with_suffix(".zip" if references.kind == "images" else ".jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    packing.pack(references, file)
    return file


def digest(*files: Path | None) -> list[str | None]:
    """Return what tells whether an experiment learns from the same files as before."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() if file else None for file in files]
