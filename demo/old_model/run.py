"""Leave a closed service, in small: a stand-in for the old model is recorded, replaced by an adapter, and compared.

The old model is SmolLM2-135M that a first adapter makes talk like a pirate, behind an endpoint that limits, fails and
cuts as a busy one does. The recording is killed in the middle and goes on. The new adapter learns from half of the
answers, as they were recorded, in a job of the service over HTTP; the other half is what it is compared on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import openai

from core.disk import keep_private
from core.runtime.progress import duration
from demo.old_model.endpoint import Body, ChatEndpoint, Said, Trouble, serving
from demo.run import download, follow
from demo.service import albatross, create_key, running_service

HERE = Path(__file__).parent
BACKBONE = "smollm2-135m"
OLD = "ft:gpt-4o-mini-2024-07-18:pirates::A1b2C3d4"
PIRATES = HERE.parent / "texts/references/pirate.jsonl"
OLD_SETTINGS = (
    '{"preset": "tone", "augment": false, "stop": "max_steps", "max_steps": 40, "surrogate_steps": 10, "folds": 2, '
    '"rank": 8}'
)
LONGEST = 64  # tokens of an answer
TROUBLES = (Trouble.LIMIT, Trouble.FAIL, Trouble.CUT)


class OldModel:
    """Answers calls with the first adapter, one at a time."""

    def __init__(self, data: Path, adapter: Path) -> None:
        from core.backbones.registry import Registry
        from core.settings import Settings
        from worker.comparison.model import AdaptedModel

        self._model = AdaptedModel(Registry.load(Settings(data=data)).get(BACKBONE), adapter, "cpu")
        self._lock = threading.Lock()

    def answer(self, body: Body) -> Said:
        with self._lock:
            limit = int(body.get("max_tokens") or LONGEST)
            ((said, cut),) = self._model.replies([body["messages"]], limit, adapted=True)
        return Said(said, "length" if cut else "stop")


def main() -> None:
    keep_private()
    parser = argparse.ArgumentParser(prog="python -m demo.old_model.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("albatross-data/demo"), help="data folder of the service")
    parser.add_argument("--out", type=Path, default=Path("demo-report-record"), help="folder of answers and report")
    parser.add_argument("--prompts", type=Path, default=HERE / "prompts.txt")
    chosen = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    began = time.monotonic()
    chosen.out.mkdir(parents=True, exist_ok=True)
    command("backbones", "prepare", BACKBONE, data=chosen.data)
    old, answers = chosen.out / "old-adapter", chosen.out / "answers.jsonl"
    if not (old / "peft/adapter_config.json").is_file():
        print("Training the old model ...", flush=True)
        command(
            "train",
            "--backbone",
            BACKBONE,
            "--references",
            PIRATES,
            "--out",
            old,
            "--bat",
            OLD_SETTINGS,
            data=chosen.data,
        )
    record(chosen.data, old / "peft", chosen.prompts, answers)
    adapter = train(chosen.data, answers, chosen.out)
    command(
        "compare",
        answers,
        "--model",
        adapter,
        "--backbone",
        BACKBONE,
        "--out",
        chosen.out / "comparison",
        data=chosen.data,
    )
    print(f"Done in {duration(time.monotonic() - began)}. Open {chosen.out / 'comparison/index.html'}")


def record(data: Path, adapter: Path, prompts: Path, answers: Path) -> None:
    """Record all prompts in two runs, the first of which is killed in the middle."""
    total = len(prompts.read_text().splitlines())
    words: tuple[object, ...] = (
        "record",
        "--model",
        OLD,
        "--prompts",
        prompts,
        "--out",
        answers,
        "--held-out",
        0.5,
        "--max-tokens",
        LONGEST,
    )
    with serving(ChatEndpoint(OLD, OldModel(data, adapter).answer, troubles=TROUBLES, share=0.25)) as endpoint:
        where = {"OPENAI_BASE_URL": endpoint.address, "OPENAI_API_KEY": "none"}
        first = subprocess.Popen(line(words, data), env={**os.environ, **where})
        while first.poll() is None and recorded(answers) < total // 2:
            time.sleep(0.2)
        if first.poll() is None:
            first.kill()
            print(f"The recording was killed after {recorded(answers)} answers; the same command goes on:", flush=True)
        first.wait()
        subprocess.run(line(words, data), env={**os.environ, **where}, check=True)
        met = ", ".join(f"{count} x {trouble}" for trouble, count in endpoint.met.items())
        print(
            f"The endpoint had {len(endpoint.calls)} calls for {total} answers; troubles: {met or 'none'}", flush=True
        )


def train(data: Path, answers: Path, out: Path) -> Path:
    """Train on the file of answers as it stands, over HTTP with the stock client; returns the adapter's folder."""
    with running_service(data, data / "serve.log") as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=create_key(data, "demo"))
        file = client.files.create(file=answers, purpose="fine-tune")
        for finding in ((file.model_extra or {}).get("bat") or {}).get("findings") or []:
            print(f"  note: {finding['message']}")
        job = client.fine_tuning.jobs.create(
            model=BACKBONE, training_file=file.id, suffix="pirates", seed=7, extra_body={"bat": {"preset": "tone"}}
        )
        job = follow(client, job.id)
        if job.status != "succeeded":
            raise SystemExit(f"The job ended as {job.status}: {job.error.message if job.error else 'no reason given'}")
        print((job.model_extra or {}).get("bat", {}).get("stop_reason"))
        return download(client, str(job.fine_tuned_model), "peft", out)


def recorded(answers: Path) -> int:
    return answers.read_bytes().count(b"\n") if answers.is_file() else 0


def line(words: Sequence[object], data: Path) -> list[str]:
    return albatross(*map(str, words), "--data", str(data))


def command(*words: object, data: Path) -> None:
    """Run a command of albatross; its words are shown."""
    if subprocess.run(line(words, data), env={**os.environ, "ALBATROSS_DATA": str(data)}, check=False).returncode:
        sys.exit(1)


if __name__ == "__main__":
    main()
