"""What some arms answer at a few steps, kept beside the results and set side by side for a person to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.runs import Kept
from benchmarks.texts.behaviour import ANSWER_TOKENS
from core.disk import write_whole
from core.method.backbones.backbone import Item
from core.method.backbones.texts.language import LanguageBackbone

NEW, UNRELATED_ASKED = 4, 4  # questions of each kind
HEARD = ("none", "random*", "replay*", "influence*", "distil*", "*own*")  # of each kind of arm the first
MOST_HEARD = 4
FROZEN = "before training"
Row = dict[str, Any]


def heard(arms: Sequence[str]) -> list[str]:
    """Return the arms whose answers are kept."""
    found = [next((arm for arm in arms if fnmatch(arm, like)), None) for like in HEARD]
    return [arm for arm in dict.fromkeys(found) if arm is not None][:MOST_HEARD]


def collect(backbone: LanguageBackbone, asked: Sequence[Item], kept: Kept) -> list[Row]:
    """Return the most likely answers of the frozen model, and of some arms at every kept step."""
    with backbone.lora.use(None):
        rows = [{"arm": FROZEN, "step": 0, "answers": backbone.answer(asked, max_new_tokens=ANSWER_TOKENS)}]
    for arm in heard(kept.names):
        for step in kept.copies:
            adapter = kept.adapter(arm, step).clone().to(backbone.device)
            with backbone.lora.use(adapter):
                answers = backbone.answer(asked, max_new_tokens=ANSWER_TOKENS)
            rows.append({"arm": arm, "step": step, "answers": answers})
    return rows


def file_of(folder: Path, key: str) -> Path:
    """Return where the answers of an experiment are kept."""
    return folder / "answers" / f"{key.replace(' ', '_')}.json"


def write(file: Path, prompts: Sequence[str], rows: Sequence[Row]) -> None:
    """Keep the answers with what was asked."""
    write_whole(file, (json.dumps({"asked": list(prompts), "rows": list(rows)}, indent=1) + "\n").encode())


def nearest(rows: Sequence[Row], arm: str, step: int | None) -> Row | None:
    """Return an arm's answers at the kept step that is nearest to the published one, or at the last; None: has none."""
    own = [row for row in rows if row["arm"] == arm]
    if not own:
        return None
    return own[-1] if step is None else min(own, key=lambda row: abs(row["step"] - step))


def side_by_side(kept: Row, published: dict[str, int]) -> Iterator[str]:
    """Yield lines that show, question by question, what each arm answers about where it is published."""
    arms = dict.fromkeys(row["arm"] for row in kept["rows"])
    for place, question in enumerate(kept["asked"]):
        yield f"\n{'new' if place < NEW else 'unrelated'}: {question}"
        for arm in arms:
            row = nearest(kept["rows"], arm, published.get(arm))
            if row is not None:
                yield f"  {arm + ' @' + str(row['step']):22} {row['answers'][place]!r}"
