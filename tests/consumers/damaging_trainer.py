"""The real trainer, but for one format whose file is damaged between writing and checking.

`python damaging_trainer.py FORMAT`
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from core.method.formats import diffusers, gguf, kohya, merged, peft
from worker.stages import run
from worker.trainer.__main__ import serve

WEIGHTS = {"peft": "adapter_model.safetensors", "merged": "diffusion_pytorch_model.safetensors"}


def damaging(write: Callable[..., None], form: str) -> Callable[..., None]:
    """Write as before, then turn the last hundred bytes into other numbers."""

    def damaged(*given: object) -> None:
        write(*given)
        place = next(part for part in reversed(given) if isinstance(part, Path))  # where it is written to
        file = place / WEIGHTS[form] if place.is_dir() else place
        content = bytearray(file.read_bytes())
        content[-100:] = b"\x3f" * 100  # 0.747 in float32
        file.write_bytes(content)

    return damaged


def main() -> None:
    form = sys.argv[1]
    module = {"peft": peft, "diffusers": diffusers, "kohya": kohya, "gguf": gguf, "merged": merged}[form]
    module.write = damaging(module.write, form)  # type: ignore[assignment]
    serve(run)


if __name__ == "__main__":
    main()
