"""What a key that is not known may mean: one beside it, one that stands elsewhere, or what other trainers call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import get_args

from pydantic import BaseModel

ALIKE, ALIKE_ELSEWHERE = 0.75, 0.8  # of difflib's ratio; by eye
# What others call our parameters: OpenAI's older API, Azure's, kohya's scripts, ai-toolkit, diffusers, axolotl, TRL.
OTHER_NAMES: Mapping[str, str] = {
    "epochs": "n_epochs",
    "num_epochs": "n_epochs",
    "num_train_epochs": "n_epochs",
    "max_train_epochs": "n_epochs",
    "train_batch_size": "batch_size",
    "micro_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "lr": "learning_rate",
    "unet_lr": "learning_rate",
    "steps": "max_steps",
    "train_steps": "max_steps",
    "max_train_steps": "max_steps",
    "r": "rank",
    "lora_r": "rank",
    "lora_rank": "rank",
    "network_dim": "rank",
    "lora_alpha": "alpha",
    "network_alpha": "alpha",
    "enable_bucket": "shapes",
    "buckets": "shapes",
    "bucketing": "shapes",
    "aspect_ratio_bucketing": "shapes",
    "masked_loss": "masks",
    "mask": "masks",
    "alpha_mask": "masks",
    "masked_training": "masks",
    "max_seq_length": "max_tokens",
    "max_seq_len": "max_tokens",
    "max_length": "max_tokens",
    "sequence_len": "max_tokens",
    "cutoff_len": "max_tokens",
    "model_max_length": "max_tokens",
    "trigger_word": "trigger",
    "instance_prompt": "trigger",
    "caption_dropout_rate": "dropout_caption",
    "min_snr_gamma": "min_snr",
    "snr_gamma": "min_snr",
    "prior_preservation": "protect",
    "with_prior_preservation": "protect",
    "prior_loss_weight": "protect_weight",
    "prompts": "sample_prompts",
    "validation_prompt": "sample_prompts",
    "validation_prompts": "sample_prompts",
    "base_model": "model",
    "model_name": "model",
    "train_file": "training_file",
    "training_file_id": "training_file",
    "file_id": "training_file",
    "file": "training_file",
    "validation_file_id": "validation_file",
    "user_provided_suffix": "suffix",
}

# look like one of ours and mean something else: Azure's tier of the service
NO_NAMES = frozenset({"trainingType", "training_type"})


def meant(model: type[BaseModel], path: Sequence[str]) -> str | None:
    """Return the path of what is probably meant by the last key of `path`, which `model` does not know; else None."""
    *above, key = path
    prefix = tuple(part for part in above if not part.isdigit())  # places in lists have no names of their own
    places = _places(model)
    if key in NO_NAMES:
        return None
    wanted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    names = {place[-1] for place in places}
    beside = {place[-1] for place in places if place[:-1] == prefix}
    wanted = wanted if wanted in names else OTHER_NAMES.get(wanted, wanted)
    close = get_close_matches(wanted, beside, 1, ALIKE) or get_close_matches(wanted, names, 1, ALIKE_ELSEWHERE)
    name = wanted if wanted in names else close[0] if close else None
    if name is None:
        return None
    if name in beside:
        return ".".join([*above, name])
    # of several places, one below where it was put; else the highest
    elsewhere = [place for place in places if place[-1] == name]
    nearest = min(elsewhere, key=lambda place: (place[: len(prefix)] != prefix, len(place)))
    return ".".join(nearest)


@cache
def _places(model: type[BaseModel]) -> tuple[tuple[str, ...], ...]:
    return tuple(_walk(model))


def _walk(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield the path of every parameter of a model and of the models in it."""
    for name, field in model.model_fields.items():
        yield (name,)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from ((name, *place) for place in _walk(inner))
