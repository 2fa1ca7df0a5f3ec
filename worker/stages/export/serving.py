"""What others need to serve a text adapter: the line for vLLM beside PEFT's files, and a Modelfile beside the GGUF."""

from __future__ import annotations

from core.adapters.card import only_known_here
from core.backbones.record import BackboneRecord
from core.method.formats import gguf
from worker.stages.export.usage import BASE, adapted, base_model, text_loader

README, MODELFILE = "README.md", "Modelfile"
NAME = "adapter"  # which requests to vLLM name
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank may be


def vllm_line(record: BackboneRecord, rank: int) -> str:
    """Return the command that serves a PEFT folder, in it; the rank is the least that vLLM has room for it in."""
    room = next(allowed for allowed in VLLM_RANKS if allowed >= rank)
    return f"vllm serve {base_model(record)} --enable-lora --max-lora-rank {room} --lora-modules {NAME}=."


def readme(record: BackboneRecord, rank: int, root: str) -> str:
    """Return what lies beside the adapter in PEFT's format: what it belongs to, and how it is loaded and served.

    `root` is the class of the backbone's network.
    """
    *load, adapt = adapted(record, root, ".")
    return "\n".join(
        [
            f"# A LoRA adapter for {record.public_name}",
            "",
            *([] if record.hub_name else [only_known_here(record.id), ""]),
            "In Python, with peft installed:",
            "",
            f"    from transformers import {text_loader(record, root)}",
            "",
            *(f"    {line}" for line in load),
            f"    {adapt}  # this folder",
            "",
            "With vLLM, in this folder:",
            "",
            f"    {vllm_line(record, rank)}",
            "",
            f"Then `{NAME}` is the `model` of a request. vLLM has to take adapters for the backbone's family.",
            "",
        ]
    )


def modelfile(record: BackboneRecord) -> str:
    """Return the Modelfile beside the GGUF file: Ollama wants the same backbone in GGUF, which is not ours to ship."""
    told = [
        f"For Ollama: `ollama create NAME -f {MODELFILE}`, in a folder with {BASE} and {gguf.FILE}.",
        f"{BASE} has to be {record.public_name} itself: llama.cpp's script convert_hf_to_gguf makes it of its folder.",
        *([] if record.hub_name else [only_known_here(record.id)]),
        "On any other model the adapter means nothing, if it loads at all.",
        "Ollama was not run on this file. From 0.34.1 on it is reported to refuse ADAPTER: then leave that line out",
        "and let FROM name a GGUF file of the merged weights, which a job with bat.merged has.",
    ]
    return "\n".join([*(f"# {line}" for line in told), f"FROM ./{BASE}", f"ADAPTER ./{gguf.FILE}", ""])
