"""What an adapter says of its scale: its alphas, and what makes alpha / r not the whole truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from core.adapters.card_schema import parsed
from core.adapters.tensor_files import damaged
from core.tensors.table import Table

DIFFUSERS_CONFIG = "lora_adapter_metadata"
ALPHA = ".alpha"
UNEVEN = ("use_rslora", "use_dora", "alpha_pattern", "rank_pattern")
DORA_ENDINGS = (".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight")


def settings(table: Table, config: Mapping[str, Any] | None, name: str) -> list[tuple[str, Any]]:
    """List what peft's configuration sets, beside the file or in its head; diffusers keeps one for each network."""
    if config is not None:
        return list(config.items())
    if DIFFUSERS_CONFIG not in table.facts:
        return []
    stored = parsed(str(table.facts[DIFFUSERS_CONFIG]), name)
    return [(key.rpartition(".")[2], value) for key, value in stored.items()]


def alphas(table: Table, config: list[tuple[str, Any]], name: str) -> list[float]:
    """List the different alphas; none where the file does not say."""
    if table.kind == "gguf":
        alpha = _number(table.facts.get("adapter.lora.alpha", 0.0), name)
        return [alpha] if alpha else []  # llama.cpp takes 0 for not said
    if stored := [entry for key, entry in table.tensors.items() if key.endswith(ALPHA)]:
        values = [entry.read() for entry in stored if entry.read]
        if any(not value.size for value in values):
            raise damaged(name)
        return sorted({float(value.reshape(-1)[0]) for value in values})
    if said := {_number(value, name) for key, value in config if key == "lora_alpha"}:
        return sorted(said)
    try:
        return [_number(float(table.facts["alpha"]), name)] if "alpha" in table.facts else []  # a kept step
    except ValueError:
        raise damaged(name) from None


def uneven(table: Table, config: list[tuple[str, Any]]) -> list[str]:
    """List what is set that gives a module another scale than alpha / r."""
    found = {key for key, value in config if key in UNEVEN and value}
    if any(key.endswith(DORA_ENDINGS) for key in table.tensors):
        found.add("use_dora")
    return sorted(found)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise damaged(name)
    try:
        number = float(value)
    except OverflowError:
        raise damaged(name) from None
    if not math.isfinite(number):
        raise damaged(name)
    return number
