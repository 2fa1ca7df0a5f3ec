"""The few lines that load each file of an adapter: what a person copies who has just downloaded it.

They are run in a folder with the file. Where the backbone has no hub name, its folder has to be put in.
"""

from __future__ import annotations

from core.adapters.card import Format
from core.backbones.families import PROCESSOR, family
from core.backbones.record import BackboneRecord

BASE = "base.gguf"  # the backbone itself, for llama.cpp
PROCESSED = "# its prompts are read by a processor that needs torchvision, which diffusers does not install"


def usage(form: Format, file: str, record: BackboneRecord, root: str) -> str:
    """Return the lines for a file of this format; `root` is the class of the backbone's network."""
    lines = _of_pictures(form, file, record, root) if record.kind == "images" else _of_texts(form, file, record, root)
    noted = [PROCESSED] if family(record.family).parts.get("tokenizer") == PROCESSOR else []
    return "\n".join([*noted, *lines]) + "\n"


def text_loader(record: BackboneRecord, root: str) -> str:
    """Return the class of transformers that loads a backbone of texts so that its adapters find their places."""
    return "AutoModelForImageTextToText" if root in family(record.family).towers else "AutoModelForCausalLM"


def base_model(record: BackboneRecord) -> str:
    """Return what other programs are to load: the hub's name, or what to put in its place."""
    return record.hub_name or f"/path/to/{record.id}"


def adapted(record: BackboneRecord, root: str, folder: str) -> list[str]:
    """Return the lines that load a backbone of texts with the PEFT folder."""
    loader = text_loader(record, root)
    return [f'model = {loader}.from_pretrained("{base_model(record)}")', f'model.load_adapter("{folder}")']


def _of_texts(form: Format, file: str, record: BackboneRecord, root: str) -> list[str]:
    loader = f"from transformers import {text_loader(record, root)}"
    if form == "gguf":
        return [
            f"# {BASE} is the backbone itself: llama.cpp's script convert_hf_to_gguf makes it of its folder",
            f"llama-server -m {BASE} --lora {file}",
        ]
    if form == "peft":
        return ["import zipfile", loader, "", _unpacked(file, "peft"), *adapted(record, root, "peft")]
    return [
        "import zipfile",
        loader,
        "",
        _unpacked(file, "merged"),
        f'model = {text_loader(record, root)}.from_pretrained("merged", dtype="auto")',
    ]


def _of_pictures(form: Format, file: str, record: BackboneRecord, root: str) -> list[str]:
    pipeline, part = family(record.family).roots[0], family(record.family).adapted
    if form == "kohya":
        comfy = f"cp {file} ComfyUI/models/loras/  # then choose it in a node Load LoRA"
        page = f"cp {file} stable-diffusion-webui/models/Lora/  # then write <lora:{file.rpartition('.')[0]}:1>"
        return [comfy, page] if part == "unet" else [comfy]
    if form == "diffusers":
        imports = ["import torch", f"from diffusers import {pipeline}", ""]
        if part == "transformer":
            imports.insert(0, f"# ComfyUI takes {file} as it is: cp {file} ComfyUI/models/loras/")
        return [*imports, _pipeline(record, pipeline), f'pipe.load_lora_weights(".", weight_name="{file}")']
    if form == "peft":
        imports = [
            "import zipfile",
            "import torch",
            f"from diffusers import {pipeline}",
            "from peft import PeftModel",
            "",
        ]
        load = f'PeftModel.from_pretrained(pipe.{part}, "peft")  # changes it where it is'
        return [*imports, _unpacked(file, "peft"), _pipeline(record, pipeline), load]
    imports = ["import zipfile", "import torch", f"from diffusers import {pipeline}, {root}", ""]
    more = ", dtype=torch.bfloat16" if part == "transformer" else ""
    network = f'{part} = {root}.from_pretrained("merged"{more})'
    return [*imports, _unpacked(file, "merged"), network, _pipeline(record, pipeline, f"{part}={part}, ")]


def _unpacked(file: str, folder: str) -> str:
    return f'zipfile.ZipFile("{file}").extractall("{folder}")'


def _pipeline(record: BackboneRecord, pipeline: str, more: str = "") -> str:
    row = family(record.family)
    floats = "float32" if row.adapted == "unet" else "bfloat16"  # in 32 bits a transformer fills most machines
    none = ["safety_checker"] if pipeline == "StableDiffusionPipeline" else []
    none += sorted(part for part in row.optional if not any(name.startswith(f"{part}/") for name in record.sha256))
    absent = "".join(f", {part}=None" for part in none)
    return f'pipe = {pipeline}.from_pretrained("{base_model(record)}", {more}dtype=torch.{floats}{absent})'
