"""The rows of what was scored: which of them can be looked at, and how large they get."""

from __future__ import annotations

import base64
import io
import json
import random
from typing import Any

import pytest
import torch
from PIL import Image

from core.method.influence.pool_scoring import Scoring
from core.method.influence.ranking import Ranking
from core.method.influence.selection import Selection
from core.method.mixing.gamma import GammaChoice
from worker.stages.pool import Candidate
from worker.stages.score import SHOWN, candidate_rows, decision

COUNT = 400
UNSCORED = 50  # at the end of the pool


def png(side: int) -> bytes:
    noise = random.Random(side).randbytes(3 * side * side)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(side: int) -> tuple[Candidate, ...]:
    picture = png(side)
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    item = {"caption": "a red house " * 100, "image": image}
    return tuple(Candidate(f"p{n}", "photos", "CC0", item, picture) for n in range(COUNT))


def scoring(selected: tuple[int, ...], rule: Any) -> Scoring:
    scores = torch.linspace(1, -1, COUNT).index_fill(0, torch.arange(COUNT - UNSCORED, COUNT), float("nan"))
    return Scoring(
        sampled=COUNT,
        scored=COUNT - UNSCORED,
        scores=scores,
        per_fold=scores.unsqueeze(0),
        ranking=Ranking(scores, 0.0, None, None),
        selection=Selection(selected, rule, None, 0.0, 0, "Some were kept."),
        blind=(),
        gamma=GammaChoice(0.25, "A quarter."),
        notes=(),
    )


@pytest.mark.parametrize("side", [32, 512])
def test_selected_best_and_worst_pictures_can_be_looked_at_and_the_file_stays_small(side: int) -> None:
    selected = (200, COUNT - 1)  # of the middle, and not scored
    rows = candidate_rows(pictures(side), scoring(selected, "random"), by_chance=False)
    shown = [row["id"] for row in rows if row["thumbnail"]]
    last = COUNT - UNSCORED
    expected = [*range(SHOWN), 200, *range(last - SHOWN, last), COUNT - 1]
    assert shown == [f"p{n}" for n in expected]
    assert (rows[-1]["id"], rows[-1]["score"], rows[-1]["rank"], rows[-1]["selected"]) == ("p399", None, None, True)
    assert [row["rank"] for row in rows[:-1]] == list(range(1, last + 1))
    kind, _, content = rows[0]["thumbnail"].partition(";base64,")
    with Image.open(io.BytesIO(base64.b64decode(content))) as small:
        assert (kind, small.size) == (("data:image/png", (32, 32)) if side == 32 else ("data:image/jpeg", (96, 96)))
    assert max(len(row["thumbnail"] or "") for row in rows) < 12_000  # noise, which nothing makes smaller
    assert all(len(row["caption"]) == 300 for row in rows)


def test_a_long_text_is_shown_in_part_and_one_that_nobody_looks_at_only_begins() -> None:
    texts = tuple(Candidate(f"t{n}", "talk", "CC0", {"text": "x" * 5000}) for n in range(COUNT))
    rows = candidate_rows(texts, scoring((0,), "top"), by_chance=False)
    assert [len(rows[n]["text"]) for n in (0, SHOWN - 1, SHOWN, -1)] == [1000, 1000, 100, 1000]
    assert {row["characters"] for row in rows} == {5000}
    assert len(json.dumps(rows)) < 200_000


@pytest.mark.parametrize(
    ("selected", "rule", "by_chance", "told"),
    [
        ((1,), "top", False, "ranked"),
        ((1,), "threshold", False, "ranked"),
        ((1,), "random", False, "random"),
        ((1,), "top", True, "random"),
        ((), "top", False, "none"),
    ],
)
def test_it_is_told_how_the_examples_were_chosen(
    selected: tuple[int, ...], rule: str, by_chance: bool, told: str
) -> None:
    found = scoring(selected, rule)
    assert decision(found, by_chance=by_chance)["selection"] == told


def test_a_draw_that_was_asked_for_shows_no_scores() -> None:
    rows = candidate_rows(pictures(8), scoring((3, 5), "top"), by_chance=True)
    assert [(row["id"], row["score"], row["rank"], row["selected"]) for row in rows] == [
        ("p3", None, None, True),
        ("p5", None, None, True),
    ]
