"""The trial as a stage: a share that harms is tried again smaller, and its steps are counted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.method.mixing.trial import Trial
from core.method.protection.protection import NONE
from core.method.stopping.evidence import SurrogateCurves
from tests.worker.stages.conftest import MakeJob
from worker.job_folder import write_json
from worker.protocol import Metrics, Progress
from worker.stages import run, trial
from worker.stages.context import Context
from worker.stages.protection import protection


@pytest.mark.slow
def test_what_harms_is_tried_once_more_with_half_and_then_left_out(
    make_image_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []
    real = trial.try_mixture

    def found_to_harm(backbone, references, offered, *others):
        shares.append(offered.gamma)
        found = yield from real(backbone, references, offered, *others)
        return replace(found, gain=-0.2, error=0.01)

    monkeypatch.setattr(trial, "try_mixture", found_to_harm)
    folder = make_image_job()
    lines = list(run(folder))
    assert shares == [0.5, 0.25]
    context = Context(folder)
    assert context.read("trial", "mixture.json")["gamma"] == 0.0
    assert context.read("trial", "mixture.json")["verdict"] == "harms"
    assert protection.protection(context) is NONE
    assert trial.followed_curves(context).gamma == 0.0  # the final run goes by the plain surrogates
    told = [line for line in lines if isinstance(line, Progress) and line.stage == "trial"]
    assert [line.step for line in told] == sorted(line.step for line in told)
    rows = [row for line in lines if isinstance(line, Metrics) and line.stage == "trial" for row in line.rows]
    assert {row["gamma"] for row in rows} == {0.5, 0.25}


def test_what_was_tried_on_near_duplicates_alone_is_written_without_an_interval(tmp_path: Path) -> None:
    found = Trial(0.5, 0.01, float("inf"), SurrogateCurves(((0,), (1,))), clusters=1)
    mixture = trial.mixture({"selection_reason": "4 were kept."}, found)
    write_json(tmp_path / "mixture.json", mixture)  # which takes no number that JSON does not know
    assert (mixture["trial"]["error"], mixture["trial"]["interval"]) == (None, None)
