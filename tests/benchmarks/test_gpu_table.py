"""The table of what only a GPU can tell: of the record, of a part of one, and of none."""

from __future__ import annotations

import json

from benchmarks.tables.gpu import NOT_RUN, gpu_table
from benchmarks.tables.page import FOLDER

RECORD = json.loads((FOLDER / "gpu.json").read_text())


def test_without_a_record_it_says_that_no_gpu_has_run_it() -> None:
    assert gpu_table({}) == NOT_RUN


def test_it_names_the_card_and_holds_ours_beside_the_alternative_of_the_same_run() -> None:
    head, *rows = gpu_table(RECORD).splitlines()
    steps = RECORD["parts"]["steps_images"]["step b=1 runs=1"], RECORD["parts"]["against_diffusers"]
    assert RECORD["device"] in head
    assert any(f"{steps[0]['ms']:.0f} ms" in row and "diffusers + peft" in row for row in rows)


def test_what_a_run_had_no_time_for_has_no_row() -> None:
    few = {name: RECORD["parts"][name] for name in ("environment", "whole_texts")}
    _, _, *rows = gpu_table({**RECORD, "parts": few}).splitlines()
    assert [row.split(",")[0] for row in rows] == ["| stopped and resumed"]
