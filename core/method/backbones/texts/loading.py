"""Read a causal language model from its folder: of a model that also sees, the part that reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from core.errors import JobFailure

TOWER = "language_model"  # what transformers calls the part that reads and writes, where there are others


def read_model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Read a transformers-format folder, offline, from safetensors only.

    It becomes the class that its configuration names, so that its modules are called as others call them. Raises
    JobFailure where its files lack a weight, which the loader would draw anew.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    seeing = set(config.architectures or ()) & {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values()}
    loader = AutoModelForImageTextToText if seeing else AutoModelForCausalLM
    model, told = loader.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
    )
    assert isinstance(model, PreTrainedModel)
    if told["missing_keys"]:
        words = f"This backbone's files lack {min(told['missing_keys'])}; fetch them again, and add it again."
        raise JobFailure(words, code="backbone_unavailable")
    return model


def on_device(model: PreTrainedModel, device: torch.device | str) -> PreTrainedModel:
    """Move a model; what sees and hears stays in main memory, for no picture is ever shown."""
    with without_other_parts(model):
        model.to(device)
    return model


@contextmanager
def without_other_parts(model: PreTrainedModel) -> Iterator[None]:
    """Take what sees and hears out of a model while the block lasts."""
    body = model.base_model
    others: dict[str, nn.Module] = {}
    if hasattr(body, TOWER):
        others = {name: part for name, part in body.named_children() if name != TOWER}
    for name in others:
        setattr(body, name, None)
    try:
        yield
    finally:
        for name, part in others.items():
            setattr(body, name, part)


def text_config(model: PreTrainedModel) -> PreTrainedConfig:
    """Return the configuration of the part that reads and writes."""
    config: PreTrainedConfig = model.config.get_text_config(decoder=True)
    return config


def stops_of(model: PreTrainedModel) -> frozenset[int]:
    """Return the tokens at which the model's folder says that an answer ends."""
    found: set[int] = set()
    for told in (model.generation_config, model.config, text_config(model)):
        ends = getattr(told, "eos_token_id", None)
        found.update(ends if isinstance(ends, list | tuple) else [] if ends is None else [ends])
    return frozenset(found)
