"""What people also have and bring: models, and files beside models, that are refused by name, with what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.backbones.families import ROWS

LEFT = {
    "Masked": "it fills gaps and writes no text",
    "SequenceClassification": "it has a head that classifies and writes no text",
    "TokenClassification": "it has a head that classifies and writes no text",
    "QuestionAnswering": "it has a head that marks answers and writes no text",
    "MultipleChoice": "it has a head that classifies and writes no text",
    "RewardModel": "it judges texts and writes none",
}
ENCODER_DECODERS = re.compile(
    r"(M?T5|UMT5|MT5|T5Gemma2?|Bart|MBart|Pegasus\w*|Marian|M2M100|Blenderbot\w*|Prophet\w*|LED|LongT5|Whisper)"
    r"(For|MT|LM)\w*"
)


def other_architecture(named: object, config: Mapping[str, object]) -> str:
    """Say why a model of this class is not taken."""
    root = str(named[0]) if isinstance(named, list) and named else ""
    taken = ", ".join(sorted({each for row in ROWS if row.kind == "texts" for each in row.roots}))
    says = f"config.json names {named!r}" if named else "config.json names no class (architectures)"
    for part, why in LEFT.items():
        if part in root:
            return f"{says}: {why}; take the model that answers ({taken})"
    if config.get("is_encoder_decoder") or ENCODER_DECODERS.fullmatch(root):
        return f"{says}, which reads with an encoder and writes with a decoder; take one that only continues ({taken})"
    if root.endswith("Model"):
        return f"{says}, an encoder without a head that writes, as embeddings are made with; only {taken} is taken"
    if "vision_config" in config or "audio_config" in config:
        return f"{says}, a multimodal model whose language part is not known here; only {taken} is taken"
    return f"{says}; only {taken} is taken"


def quantised(config: Mapping[str, object]) -> str | None:
    """Say how a config's weights are packed, and what to take instead; None where they are plain."""
    packing = config.get("quantization_config")
    if not packing:
        return None
    method = str(packing.get("quant_method", "")) if isinstance(packing, Mapping) else ""
    if method == "mxfp4":
        return (
            "config.json describes quantised weights (mxfp4, 4 bits, as gpt-oss comes); load it once with "
            "transformers' Mxfp4Config(dequantize=True), save it with save_pretrained and add that folder"
        )
    how = f" ({method})" if method else ""
    return (
        f"config.json describes quantised weights{how}; take the original in bfloat16 or float16: where memory is "
        "short, bat.precision packs it for the job"
    )


def other_folder(files: Sequence[str]) -> str:
    """Say what a folder is that has neither model_index.json nor config.json."""
    names = {os.path.basename(name) for name in files}
    endings = {os.path.splitext(name)[1].lower() for name in files}
    neither = "neither model_index.json (diffusers) nor config.json (transformers) is in it"
    if not files:
        return "it is empty"
    if "adapter_config.json" in names:
        return "it is an adapter (adapter_config.json); add the model that it was trained on"
    if "params.json" in names and "consolidated.safetensors" in names:
        return f"{neither}: these are Mistral's own files; take the model in transformers' layout"
    if words := _elsewhere(files):
        return f"{neither}; {words}"
    if ".gguf" in endings:
        return "it holds a GGUF file, which is made for inference; take the model's folder with safetensors"
    if ".onnx" in endings:
        return "it holds an ONNX model, which can't be trained; take the model's folder with safetensors"
    if ".safetensors" in endings:
        return f"{neither}; if a checkpoint in one file is meant, give that .safetensors file itself"
    if endings & {".ckpt", ".pt", ".pth", ".bin"}:
        return f"{neither}, and pickles may run code when loaded; take the model as .safetensors"
    return neither


def _elsewhere(files: Sequence[str]) -> str | None:
    """Say which folder inside is a model, where one is: hub caches have theirs below snapshots."""
    if "unet/config.json" in files:
        return "parts of a pipeline are; fetch its model_index.json again"
    for name in ("model_index.json", "config.json"):
        inside = [os.path.dirname(file) for file in files if os.path.basename(file) == name]
        if inside:
            return f"it is in {min(inside, key=lambda place: (place.count('/'), place))}: give that folder"
    return None


def embedding_folder(files: Sequence[str]) -> str | None:
    """Say that a folder is a model for embeddings, where sentence-transformers' files say so."""
    if {"config_sentence_transformers.json", "modules.json"} & set(files):
        return "it makes embeddings (it has sentence-transformers' modules.json); take the model that answers"
    return None


def adapter_beside(files: Sequence[str]) -> str | None:
    """Say that an adapter lies beside a model: transformers would load it too, or another model that it names."""
    if "adapter_config.json" in files:
        return (
            "adapter_config.json lies beside the model, and what loads it would take that adapter too; move it out of "
            "the folder, or merge the adapter first"
        )
    return None


def other_file(path: Path) -> str | None:
    """Say why a file of this ending is not taken; None for a safetensors file."""
    ending = path.suffix.lower()
    if ending == ".gguf":
        return "a GGUF file is made for inference; take the model's folder with safetensors"
    if ending == ".onnx":
        return "an ONNX model can't be trained; take the model's folder with safetensors"
    if ending in {".ckpt", ".pt", ".pth", ".bin", ".pkl"}:
        return f"a {ending} file is a pickle, which may run code when loaded; take the same model as .safetensors"
    if ending in {".zip", ".tar", ".gz", ".7z", ".rar"}:
        return "it is an archive; unpack it first"
    return None if ending == ".safetensors" else "only a folder or a .safetensors file is taken"
