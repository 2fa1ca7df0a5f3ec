"""Write a checkpoint that comes as one file as a diffusers folder: a program of its own, without network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_VERBOSITY": "error"}

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from core.backbones.single_files.clip_vocabulary import END, clip_vocabulary

PADDING = {"sd1": {"tokenizer": END}, "sd2": {"tokenizer": "!"}, "sdxl": {"tokenizer": END, "tokenizer_2": "!"}}
LENGTH = 77  # tokens that CLIP reads
UNFIT = 3  # the exit status where the file's tensors are not those of its configuration


def convert(file: Path, layout: Path, family: str, dtype: str, target: Path) -> None:
    """Write the folder; raise ValueError where the file's tensors are not those that the layout asks for."""
    _write_tokenizers(layout, family)
    pipeline: Any = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    options: dict[str, object] = {} if family == "sdxl" else {"safety_checker": None, "requires_safety_checker": False}
    loaded = pipeline.from_single_file(
        str(file), config=str(layout), local_files_only=True, torch_dtype=getattr(torch, dtype), **options
    )
    _check_complete(loaded)
    loaded.save_pretrained(target, safe_serialization=True)


def _write_tokenizers(layout: Path, family: str) -> None:
    vocabulary, merges = clip_vocabulary()
    for part, padding in PADDING[family].items():
        if not (layout / part).is_dir():
            tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH, pad_token=padding)
            tokenizer.save_pretrained(layout / part)


def _check_complete(pipeline: DiffusionPipeline) -> None:
    """Raise ValueError where a part has numbers that the file did not give."""
    for part, network in pipeline.components.items():
        if isinstance(network, torch.nn.Module):
            missing = [name for name, number in network.named_parameters() if number.is_meta]
            if missing:
                raise ValueError(f"{part} lacks {missing[0]}")


def main(arguments: list[str]) -> int:
    """Convert FILE with the configuration in LAYOUT; the last line of an error says what does not fit."""
    file, layout, family, dtype, target = arguments
    try:
        convert(Path(file), Path(layout), family, dtype, Path(target))
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        print(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, file=sys.stderr)
        return UNFIT
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
