"""What the presets say was measured of their protection, counted again on the records."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from core.disk import ROOT

WHOLE = json.loads((ROOT / "benchmarks/results/protection.json").read_text())
Runs = dict[str, dict[str, dict]]


def runs(kind: str) -> Runs:
    found: Runs = {}
    for row in WHOLE["records"]:
        if row["kind"] == kind:
            found.setdefault(f"{row['family']} {row['set']} {row['seed']}", {})[row["arm"]] = row
    return found


def forgotten(row: dict) -> float:
    at = min(range(len(row["steps"])), key=lambda place: abs(row["steps"][place] - row["published"]))
    return row["probe"][at] / row["probe"][0] - 1


def moved(row: dict, data: str) -> float:
    found = row["kept"][data]
    return found[min(found, key=lambda step: abs(int(step) - row["published"]))]


def test_what_is_not_the_subject_is_forgotten_about_half_as_much_and_the_subject_drawn_as_well() -> None:
    found = runs("subject").values()
    assert (
        0.4 < fmean(forgotten(arms["distil 4 pool .5"]) / forgotten(arms["replay 1 pool .5"]) for arms in found) < 0.6
    )
    assert drawn("distil 4 pool .5", "subject") > 0.95 * drawn("replay 1 pool .5", "subject")


def drawn(arm: str, kind: str) -> float:
    rows = [row for row in WHOLE["pictures"] if row["kind"] == kind and row["arm"] == arm]
    return fmean(row["similarity"] for row in rows)


@pytest.mark.parametrize(
    ("kind", "data", "low", "high"),
    [
        ("voice", "probe", 0.2, 0.3),
        ("voice", "unrelated", 0.4, 0.6),
        ("format", "probe", 0.2, 0.3),
        ("format", "unrelated", 0.55, 0.65),
    ],
)
def test_texts_move_other_texts_about_a_quarter_as_far_and_answers_half_or_three_fifths(
    kind: str, data: str, low: float, high: float
) -> None:
    found = [arms for name, arms in runs(kind).items() if name.startswith("smollm2")]
    ratios = [moved(arms["distil 4 pool .25"], data) / moved(arms["replay 1 pool .25"], data) for arms in found]
    assert len(ratios) >= 4
    assert low < fmean(ratios) < high


def test_drawings_of_five_of_seven_styles_go_further_without_backbone_data() -> None:
    styles = {row["set"] for row in WHOLE["records"] if row["kind"] == "style"}
    assert len(styles) == 7
    assert sum(gone("none", name) > gone("replay 1 pool .5", name) for name in styles) == 5
    assert all(gone("none", name) > gone("distil 4 pool .5", name) for name in styles)


def gone(arm: str, name: str) -> float:
    rows = [row for row in WHOLE["pictures"] if (row["set"], row["arm"]) == (name, arm)]
    return next(row["similarity"] for row in rows if row["step"] == max(row["step"] for row in rows))
