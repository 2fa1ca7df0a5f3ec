"""What arms answer is kept beside the results and shown at the step nearest to the one that is published."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from benchmarks.runs import Kept
from benchmarks.texts import answers
from benchmarks.texts.__main__ import published
from benchmarks.texts.behaviour import own_answers
from core.method.backbones.texts.language import LanguageBackbone

ASKED = [{"messages": [{"role": "user", "content": words}]} for words in ("ab", "cd")]


def test_of_each_kind_of_arm_the_first_is_heard() -> None:
    arms = ("quarter", "none", "random .25", "random .5", "influence .25", "distil 4 .25", "distil 16 .25", "own 4")
    assert answers.heard(arms) == ["none", "random .25", "influence .25", "distil 4 .25"]


def test_answers_of_every_kept_step_stand_after_those_of_the_untouched_model(tiny_language: LanguageBackbone) -> None:
    stack = tiny_language.lora.new(2, 8.0, runs=2, seed=1)
    for up in stack.up.values():
        up.data[1].normal_(generator=torch.Generator().manual_seed(0))
    rows = answers.collect(tiny_language, ASKED, Kept(["none", "distil 4"], {3: stack}))
    assert [(row["arm"], row["step"]) for row in rows] == [(answers.FROZEN, 0), ("none", 3), ("distil 4", 3)]
    assert rows[1]["answers"] == rows[0]["answers"] != rows[2]["answers"]  # the first run changes nothing yet


def test_arms_are_shown_at_the_kept_step_nearest_to_their_published_one(tmp_path: Path) -> None:
    rows = [{"arm": "none", "step": step, "answers": [f"at {step}"]} for step in (4, 8, 20)]
    file = tmp_path / "settings" / "key.json"
    file.parent.mkdir()
    records = [{"arm": "none", "rule": "auto", "stop_step": 9}, {"arm": "none", "rule": "never", "stop_step": 20}]
    file.write_text(json.dumps({"records": records}))
    assert published(tmp_path, "key.json") == {"none": 9}
    [asked, said] = answers.side_by_side({"asked": ["Why?"], "rows": rows}, published(tmp_path, "key.json"))
    assert (asked.strip(), "at 8" in said) == ("new: Why?", True)
    assert "at 20" in list(answers.side_by_side({"asked": ["Why?"], "rows": rows}, {}))[1]


def test_the_model_s_own_answers_are_made_once_and_again_where_something_else_is_asked(
    tiny_language: LanguageBackbone, tmp_path: Path
) -> None:
    file = tmp_path / "own.json"
    made = own_answers(tiny_language, ASKED, file)
    assert [chat["messages"][-1]["role"] for chat in made] == ["assistant", "assistant"]
    at = file.stat().st_mtime_ns
    assert own_answers(tiny_language, ASKED, file) == made
    assert file.stat().st_mtime_ns == at
    assert len(own_answers(tiny_language, ASKED[:1], file)) == 1
