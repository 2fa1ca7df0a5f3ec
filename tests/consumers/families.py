"""Load what jobs on many families published, with transformers, diffusers and peft alone. Run as a program.

For each line of standard input, {"kind", "backbone", "export"}, `python -I families.py` prints a line: how far every
file is from peft's reading of the peft folder, relative to what the adapter changes; "none" is the bare backbone.
"""

import json
import sys
import zipfile
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

torch.set_num_threads(1)
QUESTION = "Where is the sea?"


def unpacked(export: Path, name: str) -> Path:
    folder = export / name.removesuffix(".zip")
    zipfile.ZipFile(export / name).extractall(folder)
    return folder


@torch.no_grad()
def texts(backbone: str, export: Path) -> dict[str, torch.Tensor]:
    ids = AutoTokenizer.from_pretrained(backbone)(QUESTION, return_tensors="pt").input_ids
    folder = unpacked(export, "adapter-peft.zip")
    sees = "AutoModelForImageTextToText" in (folder / "README.md").read_text()
    loader = AutoModelForImageTextToText if sees else AutoModelForCausalLM

    def base() -> torch.nn.Module:
        return loader.from_pretrained(backbone, dtype=torch.float32)

    by_transformers = base()
    by_transformers.load_adapter(folder)
    merged = loader.from_pretrained(unpacked(export, "merged.zip"), dtype=torch.float32)
    networks = {
        "none": base(),
        "peft": PeftModel.from_pretrained(base(), folder),
        "transformers": by_transformers,
        "merged": merged,
    }
    return {form: model.eval()(input_ids=ids).logits for form, model in networks.items()}


@torch.no_grad()
def images(backbone: str, export: Path) -> dict[str, torch.Tensor]:
    def pipeline() -> DiffusionPipeline:
        return DiffusionPipeline.from_pretrained(backbone, safety_checker=None)

    def loaded(file: str) -> torch.nn.Module:
        pipe = pipeline()
        pipe.load_lora_weights(export, weight_name=file)
        return pipe.unet

    networks = {
        "none": pipeline().unet,
        "peft": PeftModel.from_pretrained(pipeline().unet, unpacked(export, "adapter-peft.zip")),
        "diffusers": loaded("pytorch_lora_weights.safetensors"),
        "kohya": loaded("adapter-kohya.safetensors"),
        "merged": UNet2DConditionModel.from_pretrained(unpacked(export, "merged.zip")),
    }
    settings = networks["none"].config
    side, words = settings.sample_size, settings.cross_attention_dim
    generator = torch.Generator().manual_seed(7)
    inputs = {
        "sample": torch.randn(2, settings.in_channels, side, side, generator=generator),
        "timestep": torch.tensor([20, 700]),
        "encoder_hidden_states": torch.randn(2, 24, words, generator=generator),
    }
    if settings.addition_embed_type == "text_time":
        sizes = torch.tensor([[16.0, 16, 0, 0, 16, 16]]).repeat(2, 1)
        pooled = settings.projection_class_embeddings_input_dim - sizes.shape[1] * settings.addition_time_embed_dim
        words_of_all = torch.randn(2, pooled, generator=generator)
        inputs["added_cond_kwargs"] = {"text_embeds": words_of_all, "time_ids": sizes}
    return {form: unet.eval()(**inputs).sample for form, unet in networks.items()}


def errors(case: dict[str, str]) -> dict[str, float]:
    found = (texts if case["kind"] == "texts" else images)(case["backbone"], Path(case["export"]))
    wanted = found.pop("peft")
    effect = (wanted - found["none"]).norm()
    return {form: float((answer - wanted).norm() / effect) for form, answer in found.items()}


for line in sys.stdin:
    told = errors(json.loads(line))
    assert not any(name.partition(".")[0] in {"core", "worker", "api"} for name in sys.modules)
    print(json.dumps(told), flush=True)
