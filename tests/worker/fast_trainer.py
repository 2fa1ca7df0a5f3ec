"""A trainer that speaks the real protocol and learns nothing: short stages, with a fault where the suffix asks.

It saves its step after every step, and when it is stopped, and goes on from there.

The suffix of a job is ACTION-STAGE: die, hang, stall, kill (its supervisor), diverge, pass (once), memory, slow,
quote, fault and ecc (of a GPU), glitch (of one, once), gpu (says what it takes of one), tell or babble, which say
what stages took, or show, which shows a sample at every step of training and waits at half of them. Actions other than
diverge, memory, kill, fault and ecc happen only at the first attempt. Without a stage, crawl takes its time over every
step, and trip kills its supervisor once in every stage.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from core.errors import JobFailure, TransientFailure
from core.parameters.schedule import STAGES
from core.runtime.launcher import LAUNCHED_AS
from worker.job_folder import JobFolder, checkpoint_file, seal, write_json
from worker.protocol import Checked, DeviceUse, Json, Kept, Line, Message, Metrics, Progress, Sampled, Saved, StageDone
from worker.trainer.__main__ import serve

STEPS = 10
KEPT_STEPS = (3, 5, 10)
STEP_SECONDS, CRAWL_SECONDS = 0.02, 0.5
EVERY_TIME = {"diverge", "memory", "kill", "fault", "ecc"}
USE = DeviceUse(allocated=3 << 30, peak=5 << 30, reserved=6 << 30, used=7 << 30, total=80 << 30, utilization=97)
GPU = Checked(name="GPU", total=80 << 30, free=79 << 30)
BROKEN = Checked("gpu_broken", "The GPU fails at the simplest of computations.")


def work(folder: JobFolder) -> Generator[Line, None, None]:
    spec = folder.spec()
    action, _, where = (spec["suffix"] or "").partition("-")
    diary = Path(spec["pools"])
    diary.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        if folder.done(stage):
            continue
        fault = action if stage == where and (action in EVERY_TIME or first_time(diary, action)) else ""
        if action == "trip" and first_time(diary, f"trip {stage}"):
            fault = "kill"
        note(diary / "stages", f"{stage} {os.environ[LAUNCHED_AS]} {folder.path.name}")
        with folder.writing(stage) as draft:
            before = folder.saved(stage)
            done = json.loads((before / "step.json").read_text()) if before else 0
            yield Message(stage, f"Doing {stage}: {done} of {STEPS}")
            for step in range(done + 1, STEPS + 1):
                time.sleep(CRAWL_SECONDS if action == "crawl" else STEP_SECONDS)
                note(diary / "steps", f"{folder.path.name} {stage} {step}")
                if step == STEPS // 2:
                    act(fault, folder)
                with folder.saving(stage) as save:
                    (save / "step.json").write_text(str(step))
                yield Saved(stage)
                yield Progress(stage, step, STEPS, (STEPS - step) * STEP_SECONDS)
                yield Metrics(stage, [{"step": step, "loss": 1 / step}])
                if action == "show" and stage == "train":
                    yield from kept(folder, step)
                    yield shown(folder, step)
                if fault == "gpu":
                    yield USE
                while fault == "slow" or (fault == "show" and step == STEPS // 2):
                    time.sleep(0.05)
                    yield Progress(stage, step, STEPS, 60.0)
            write(stage, draft)
        folder.forget_saves()
        yield StageDone(stage, told(action, stage))


def kept(folder: JobFolder, step: int) -> Iterator[Kept]:
    """Keep steps of which the end will drop one."""
    if step == 1:
        yield Kept("train", 0)
    if step in KEPT_STEPS:
        file = folder.kept / checkpoint_file(step)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights of %d" % step)
        yield Kept("train", step, {"step": step, "train_loss": 1 / step})


def shown(folder: JobFolder, step: int) -> Sampled:
    """Show a sample of the step beside those before."""
    folder.live.mkdir(exist_ok=True)
    rows = [*json.loads((folder.live / "samples.json").read_text())] if (folder.live / "samples.json").exists() else []
    name = f"sample-{step}.png"
    (folder.live / name).write_bytes(name.encode())
    write_json(folder.live / "samples.json", [*rows, {"id": f"{step}-0", "step": step, "prompt": "sks", "image": name}])
    seal(folder.live)
    return Sampled("train")


def told(action: str, stage: str) -> Json | None:
    """What the stage took, where the suffix asks for it: tell, or babble for nonsense."""
    if action == "babble":
        return {"seconds": "long", "kinds": [1, None]}
    kinds = {"step": {"calls": STEPS, "units": 4 * STEPS, "seconds": 0.1, "cpu": 0.1}}
    report = {
        "seconds": 0.2,
        "cpu": 0.1,
        "kinds": kinds,
        "memory": {"host": 10**8, "device": None},
        "facts": {"references": 4, "candidates": 0, "probe": 0},
    }
    return report if action == "tell" else None


def first_time(diary: Path, action: str) -> bool:
    seen = action in read(diary / "acted")
    note(diary / "acted", action)
    return not seen


def act(fault: str, folder: JobFolder) -> None:
    match fault:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang" | "stall":
            time.sleep(600)
        case "kill":
            os.kill(os.getppid(), signal.SIGKILL)
        case "diverge":
            raise JobFailure("The loss was no longer a number. Lower the learning rate.", code="diverged")
        case "pass":
            raise TransientFailure("The scratch disk hiccuped.", code="disk_full")
        case "memory":
            raise MemoryError
        case "fault" | "glitch":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        case "ecc":
            import torch  # which no other action needs

            raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")
        case "quote":
            words = (folder.references / "items.jsonl").read_text()
            print(words, f"KeyError: {words}", f'  File "{words}", line 1 in {words}', sep="\n", file=sys.stderr)
            logging.getLogger("diffusers").warning("%s was cut off", words)
            warnings.warn(words, stacklevel=2)
            raise ValueError(words)


def write(stage: str, draft: Path) -> None:
    if stage == "train":
        (draft / "snapshots").mkdir()
        for step in (5, 10):
            (draft / f"snapshots/step-{step:05d}.safetensors").write_bytes(b"weights of %d" % step)
    elif stage == "export":
        for name in ("metrics.csv", "adapter-peft.zip", "card.json"):
            (draft / name).write_bytes(name.encode())
        write_json(draft / "samples.json", [])
        checkpoints = [
            {"file": f"train/snapshots/step-{step:05d}.safetensors", "step": step, "labels": labels, "metrics": {}}
            for step, labels in ((5, ["published"]), (10, ["last"]))
        ]
        spec = JobFolder(draft.parent).spec()
        step = spec.get("publish_step")
        if step is not None:  # another job's kept step: a copy of it is this job's own
            [kept] = [row for row in checkpoints if row["step"] == step]
            (draft / "kept.safetensors").write_bytes((draft.parent / kept["file"]).read_bytes())
            checkpoints = [kept | {"file": "export/kept.safetensors", "labels": ["published"]}]
        results = [
            {"file": "metrics.csv"},
            {"file": "adapter-peft.zip", "format": "peft"},
            {"file": "card.json", "format": "card"},
        ]
        outcome = {**spec.get("outcome", {}), "published_step": step or 5, "gamma": 0.25}
        manifest = {"results": results, "checkpoints": checkpoints, "outcome": outcome}
        (draft / "manifest.json").write_text(json.dumps(manifest))
    else:
        (draft / f"{stage}.json").write_text("{}")


def note(file: Path, line: str) -> None:
    """Write into the diary, which a trainer can only where it is shared, or in no sandbox."""
    with suppress(OSError), file.open("a") as opened:
        opened.write(line + "\n")


def read(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def check(device: str) -> Checked:
    """Find a GPU; a broken one as long as there is the file that the command names."""
    assert device == "cuda"
    return BROKEN if any(Path(path).exists() for path in sys.argv[1:]) else GPU


if __name__ == "__main__":
    serve(work, check)
