"""A trainer that learns nothing in two seconds, and leaves what a real one leaves: curve, checkpoints, adapter.

A job with the suffix `fail` ends with an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path

from core.errors import JobFailure
from core.parameters.schedule import STAGES
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, Metrics, Progress, Saved, StageDone
from worker.trainer.__main__ import serve

STEPS, STEP_SECONDS = 40, 0.05
KEPT = (20, 40)
CURVE = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,cosine_similarity\n" + "".join(
    f"{step},{1 / step},,{2 / step},,0.5\n" for step in range(1, STEPS + 1)
)
FILES = {"metrics.csv": CURVE, "adapter-peft.zip": "adapter", "card.json": "{}"}
FORMATS = {"adapter-peft.zip": "peft", "card.json": "card"}


def work(folder: JobFolder) -> Generator[Line, None, None]:
    """Do the stages that are not done; training goes on from the step that it has saved."""
    for stage in STAGES:
        if folder.done(stage):
            continue
        with folder.writing(stage) as draft:
            yield Message(stage, f"Doing {stage}")
            if stage == "train":
                yield from train(folder)
            write(stage, draft)
        folder.forget_saves()
        yield StageDone(stage)


def train(folder: JobFolder) -> Generator[Line, None, None]:
    if folder.spec()["suffix"] == "fail":
        raise JobFailure("The loss was no longer a number. Lower the learning rate.", code="diverged")
    before = folder.saved("train")
    done = int((before / "step").read_text()) if before else 0
    for step in range(done + 1, STEPS + 1):
        time.sleep(STEP_SECONDS)
        with folder.saving("train") as save:
            (save / "step").write_text(str(step))
        yield Saved("train")
        yield Progress("train", step, STEPS, (STEPS - step) * STEP_SECONDS)
        yield Metrics("train", [{"step": step, "loss": 1 / step}])


def write(stage: str, draft: Path) -> None:
    if stage == "train":
        (draft / "snapshots").mkdir()
        for step in KEPT:
            (draft / f"snapshots/step-{step:05d}.safetensors").write_bytes(b"weights of %d" % step)
    elif stage == "export":
        for name, content in FILES.items():
            (draft / name).write_text(content)
        results = [{"file": name} | ({"format": FORMATS[name]} if name in FORMATS else {}) for name in FILES]
        checkpoints = [
            {
                "file": f"train/snapshots/step-{step:05d}.safetensors",
                "step": step,
                "labels": ["published"],
                "metrics": {"train_loss": 1 / step, "cosine_similarity": 0.5},
            }
            for step in KEPT
        ]
        manifest = {"results": results, "checkpoints": checkpoints, "outcome": {"published_step": 20}}
        (draft / "manifest.json").write_text(json.dumps(manifest))
    else:
        (draft / f"{stage}.json").write_text("{}")


if __name__ == "__main__":
    serve(work)
