"""Write a checkpoint that comes as one file as a diffusers folder: a program of its own, without network."""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_VERBOSITY": "error"}

import diffusers
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from core.backbones.single_files.clip_vocabulary import END, clip_vocabulary
from core.backbones.single_files.transformer_files import PREFIX

PADDING = {"sd1": {"tokenizer": END}, "sd2": {"tokenizer": "!"}, "sdxl": {"tokenizer": END, "tokenizer_2": "!"}}
FULL_DISK = ("No space left on device", "Disk quota exceeded")  # what safetensors' own errors say of it
SHOWN = 200  # characters of an error
LENGTH = 77  # tokens that CLIP reads
OLD_ENCODER = "cond_stage_model.transformer."  # NovelAI's files have no `text_model.` behind it, diffusers asks for one
TRANSFORMER = "transformer"
UNUSED = ("norm_final.weight",)  # Z-Image's files have it, and nothing reads it
UNFIT, NO_ROOM = 3, 4  # exit statuses: the file's tensors are not those of its configuration; the disk is full


def convert(file: Path, layout: Path, family: str, dtype: str, target: Path) -> None:
    """Write the folder; raise an error where the file's tensors are not those that the layout asks for."""
    _write_tokenizers(layout, family)
    pipeline: Any = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    options: dict[str, object] = {} if family == "sdxl" else {"safety_checker": None, "requires_safety_checker": False}
    if family == "sd1" and (old := dict(_old_encoder(file))):
        options["text_encoder"] = _encoder(old, layout, getattr(torch, dtype))
    loaded = pipeline.from_single_file(
        str(file), config=str(layout), local_files_only=True, torch_dtype=getattr(torch, dtype), **options
    )
    _check_complete(loaded)
    loaded.save_pretrained(target, safe_serialization=True)


def convert_transformer(file: Path, base: Path, made: str, dtype: str, target: Path) -> None:
    """Write the part `transformer` of a folder from a file that holds nothing else of use, in the sizes of a base."""
    loaded = getattr(diffusers, made).from_single_file(
        str(file), config=str(base), subfolder=TRANSFORMER, local_files_only=True, torch_dtype=getattr(torch, dtype)
    )
    missing = [name for name, number in loaded.named_parameters() if number.is_meta]
    if missing:
        raise ValueError(f"it lacks {missing[0]}")
    held = sum(tensor.numel() for tensor in loaded.state_dict().values())
    if (over := _numbers(file) - held) != 0:
        raise ValueError(f"{over:,} of its numbers have no place in a transformer of that size")
    loaded.register_to_config(_name_or_path="")  # its base's, which may say that it is distilled, or edits
    loaded.save_pretrained(target / TRANSFORMER, safe_serialization=True)


def _numbers(file: Path) -> int:
    """Count the numbers of the transformer in a file."""
    with safe_open(file, "pt") as opened:
        names = list(opened.keys())
        own = [name for name in names if name.startswith(PREFIX)] or names
        return sum(math.prod(opened.get_slice(name).get_shape()) for name in own if not name.endswith(UNUSED))


def _write_tokenizers(layout: Path, family: str) -> None:
    vocabulary, merges = clip_vocabulary()
    for part, padding in PADDING[family].items():
        if not (layout / part).is_dir():
            tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH, pad_token=padding)
            tokenizer.save_pretrained(layout / part)


def _old_encoder(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield a text encoder's tensors as transformers calls them, of a file that calls them as NovelAI does."""
    with safe_open(file, "pt") as opened:
        names = list(opened.keys())
        if any(name.startswith(f"{OLD_ENCODER}text_model.") for name in names):
            return
        for name in filter(lambda name: name.startswith(OLD_ENCODER), names):
            yield name.removeprefix(OLD_ENCODER), opened.get_tensor(name)


def _encoder(tensors: dict[str, Tensor], layout: Path, dtype: torch.dtype) -> CLIPTextModel:
    encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(layout / "text_encoder")).to(dtype)
    missing, _ = encoder.load_state_dict(tensors, strict=False)
    if missing:
        raise ValueError(f"text_encoder lacks {missing[0]}")
    return encoder


def _check_complete(pipeline: DiffusionPipeline) -> None:
    """Raise ValueError where a part has numbers that the file did not give."""
    for part, network in pipeline.components.items():
        if isinstance(network, torch.nn.Module):
            missing = [name for name, number in network.named_parameters() if number.is_meta]
            if missing:
                raise ValueError(f"{part} lacks {missing[0]}")


def main(arguments: list[str]) -> int:
    """Convert FILE with the configuration in LAYOUT; an error's one line says what does not fit.

    In place of a family it may be the class of a transformer, of which alone there is something in FILE.
    """
    file, layout, family, dtype, target = arguments
    try:
        (convert_transformer if hasattr(diffusers, family) else convert)(
            Path(file), Path(layout), family, dtype, Path(target)
        )
    except Exception as error:  # each library has its own for a file that is not what it expects
        words = " ".join(str(error).split()) or type(error).__name__
        print(words[:SHOWN], file=sys.stderr)
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        return NO_ROOM if full or any(said in words for said in FULL_DISK) else UNFIT
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
