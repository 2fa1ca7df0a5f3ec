"""The study of ways to protect a backbone: one whole experiment on a text set, with a tiny model for the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import smollm2
from benchmarks.protection import auto, means
from benchmarks.protection.__main__ import once, stop
from benchmarks.protection.experiment import experiment
from benchmarks.texts import family
from benchmarks.world import Setting
from core.parameters.presets import built_in
from tests.word_backbones import write_words
from worker.commands.smollm2 import POOL

CHAT = "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }} . {% endfor %}"


SETTING = Setting("smollm2", "kettle", 8, 2e-3, 0)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny model stand where the family has a real one, for a few steps."""
    made = write_words(tmp_path / "words", template=CHAT)
    record = SimpleNamespace(id="words", kind="texts", pool=POOL)
    monkeypatch.setattr(family, "loaded", lambda *_: (record, made))
    monkeypatch.setattr(smollm2, "world", replace(smollm2.FAMILY, horizon=8, surrogate_steps=8, candidates=24).world)
    monkeypatch.setattr(smollm2, "PICTURED_STEPS", ())


@pytest.mark.slow
@pytest.mark.usefixtures("words")
def test_every_arm_of_texts_trains_from_one_start_and_says_what_protected_it(tmp_path: Path) -> None:
    found = experiment(SETTING, tmp_path, means.TEXTS)
    rows = {row["arm"]: row for row in found["records"]}
    assert list(rows) == [arm.name for arm in means.TEXTS]
    assert len({row["heldout"][0] for row in rows.values()}) == 1
    assert [row["protect_on"] for row in rows.values() if row["protect"] == "distil"] == ["pool", "pool", "own"]
    assert all(row["kept"]["unrelated"]["8"] > 0 for row in rows.values())
    named = {arm: row["published"] for arm, row in rows.items()}
    stop(found)  # from what is kept, the same steps are named again
    assert {arm: row["published"] for arm, row in rows.items()} == named


@pytest.mark.slow
@pytest.mark.usefixtures("words")
def test_what_auto_comes_to_is_a_trial_with_the_presets_protection_and_a_run_of_what_it_decided(tmp_path: Path) -> None:
    [row] = auto.experiment(SETTING, tmp_path)["auto"]
    tone = built_in()["tone"]
    assert row["trials"][0]["gamma"] == tone.gamma.start
    assert all(trial["interval"][0] < trial["gain"] < trial["interval"][1] for trial in row["trials"])
    assert row["gamma"] == (0.0 if row["trials"][-1]["verdict"] == "harms" else row["trials"][-1]["gamma"])
    assert set(row["runs"]) == ({"none", "auto"} if row["gamma"] else set())
    for run in row["runs"].values():
        assert 1 <= run["published"] <= run["steps"][-1] == 8
        assert run["heldout"][0] == row["runs"]["none"]["heldout"][0]


def test_a_run_that_two_studies_share_is_counted_once() -> None:
    run = {"family": "emoji", "set": "cat", "n": 6, "learning_rate": 1e-3, "seed": 0, "pool": "related"}
    arms = [{**run, "arm": arm} for arm in ("none", "replay 1 pool .5", "none", "none, rate 0.5")]
    drawn = [{**arms[0], "step": step} for step in (40, 80, 40)]
    assert [row["arm"] for row in once(arms)] == ["none", "replay 1 pool .5", "none, rate 0.5"]
    assert [row["step"] for row in once(drawn)] == [40, 80]
    assert once([*arms, {**arms[0], "seed": 1}])[-1]["seed"] == 1
