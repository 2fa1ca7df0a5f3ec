"""A captioning model's folder, as `albatross taggers add` takes it."""

from __future__ import annotations

import os
from pathlib import Path

from core.backbones.folders.files import CODE, PICKLES, all_files, check_configs, json_object, opened, weight_files
from core.backbones.folders.refusal import refused
from core.backbones.folders.weights import check_safetensors

TAGGER_CLASSES = frozenset(
    {"BlipForConditionalGeneration", "Blip2ForConditionalGeneration", "GitForCausalLM", "VisionEncoderDecoderModel"}
)


def inspect_tagger(folder: Path) -> tuple[str, ...]:
    """Return the files that are loaded of a captioning model, sorted; raise InvalidInput for what must not be."""
    everything = all_files(folder)
    for name in everything:
        ending = os.path.splitext(name)[1].lower()
        if ending in CODE:
            raise refused(f"{name} is code; remove it: a tagger is weights and configuration only", "tagger")
        if ending in PICKLES:
            raise refused(f"{name} may run code when loaded; remove it and keep the .safetensors files", "tagger")
    named = json_object(folder, "config.json", "tagger").get("architectures")
    if not isinstance(named, list) or not named or named[0] not in TAGGER_CLASSES:
        words = f"config.json names {named!r}; only {', '.join(sorted(TAGGER_CLASSES))} is taken"
        raise refused(words, "tagger")
    files = [name for name in opened(folder, everything, ("",)) if ".index." not in name]
    if not {"preprocessor_config.json", "processor_config.json"} & set(files):
        raise refused("preprocessor_config.json is missing", "tagger")
    if "tokenizer.json" not in files:
        raise refused("tokenizer.json is missing; save the tokenizer in the fast format", "tagger")
    files += weight_files(folder, "model", use="tagger")
    check_configs(folder, files, "tagger")
    for name in files:
        if name.endswith(".safetensors"):
            check_safetensors(folder / name)
    return tuple(sorted(files))
