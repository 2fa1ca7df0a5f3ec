"""Load what jobs on many families published, with transformers, diffusers and peft alone. Run as a program.

For each line of standard input, {"kind", "backbone", "export"}, `python -I families.py` prints a line: how far every
file is from peft's reading of the peft folder, relative to what the adapter changes; "none" is the bare backbone.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
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
    index = json.loads((Path(backbone) / "model_index.json").read_text())
    part = "unet" if "unet" in index else "transformer"
    absent = {} if part == "unet" else dict.fromkeys(missing(index))

    def network() -> torch.nn.Module:
        return getattr(DiffusionPipeline.from_pretrained(backbone, **UNCHECKED[part], **absent), part)

    def loaded(file: str) -> torch.nn.Module:
        pipe = DiffusionPipeline.from_pretrained(backbone, **UNCHECKED[part], **absent)
        pipe.load_lora_weights(export, weight_name=file)
        return getattr(pipe, part)

    bare = network()
    networks = {
        "none": bare,
        "peft": PeftModel.from_pretrained(network(), unpacked(export, "adapter-peft.zip")),
        "diffusers": loaded("pytorch_lora_weights.safetensors"),
        "merged": type(bare).from_pretrained(unpacked(export, "merged.zip")),
    }
    if (export / "adapter-kohya.safetensors").is_file():
        networks["kohya"] = loaded("adapter-kohya.safetensors")
    inputs = TOLD[type(bare).__name__](bare.config, torch.Generator().manual_seed(7))
    return {form: whole(each.eval()(**inputs).sample) for form, each in networks.items()}


def whole(answer: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    return answer if isinstance(answer, torch.Tensor) else torch.stack(answer)


def missing(index: dict[str, Any]) -> list[str]:
    """The parts that a pipeline does without, which its loader wants to be told."""
    optional = ("text_encoder_3", "tokenizer_3") if index["_class_name"] == "StableDiffusion3Pipeline" else ()
    return [name for name in optional if index.get(name) in (None, [None, None])]


def unet(settings: Any, generator: torch.Generator) -> dict[str, Any]:
    side, words = settings.sample_size, settings.cross_attention_dim
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
    return inputs


def sd3(settings: Any, generator: torch.Generator) -> dict[str, Any]:
    return {
        "hidden_states": torch.randn(2, settings.in_channels, 8, 8, generator=generator),
        "timestep": torch.tensor([20.0, 700.0]),
        "encoder_hidden_states": torch.randn(2, 24, settings.joint_attention_dim, generator=generator),
        "pooled_projections": torch.randn(2, settings.pooled_projection_dim, generator=generator),
    }


def flux(settings: Any, generator: torch.Generator) -> dict[str, Any]:
    return {
        "hidden_states": torch.randn(2, 16, settings.in_channels, generator=generator),
        "timestep": torch.tensor([0.02, 0.7]),
        "guidance": torch.ones(2),
        "encoder_hidden_states": torch.randn(2, 24, settings.joint_attention_dim, generator=generator),
        "pooled_projections": torch.randn(2, settings.pooled_projection_dim, generator=generator),
        "txt_ids": torch.zeros(24, 3),
        "img_ids": torch.cartesian_prod(torch.zeros(1), torch.arange(4.0), torch.arange(4.0)),
    }


def flux2(settings: Any, generator: torch.Generator) -> dict[str, Any]:
    one = torch.arange(1)
    return {
        "hidden_states": torch.randn(2, 16, settings.in_channels, generator=generator),
        "timestep": torch.tensor([0.02, 0.7]),
        "guidance": torch.ones(2) if settings.guidance_embeds else None,
        "encoder_hidden_states": torch.randn(2, 24, settings.joint_attention_dim, generator=generator),
        "txt_ids": torch.cartesian_prod(one, one, one, torch.arange(24)),
        "img_ids": torch.cartesian_prod(one, torch.arange(4), torch.arange(4), one),
    }


def zimage(settings: Any, generator: torch.Generator) -> dict[str, Any]:
    return {
        "x": list(torch.randn(2, settings.in_channels, 1, 8, 8, generator=generator)),
        "t": torch.tensor([0.98, 0.3]),
        "cap_feats": [torch.randn(tokens, settings.cap_feat_dim, generator=generator) for tokens in (24, 40)],
    }


def qwen_image(settings: Any, generator: torch.Generator) -> dict[str, Any]:
    return {
        "hidden_states": torch.randn(2, 16, settings.in_channels, generator=generator),
        "timestep": torch.tensor([0.02, 0.7]),
        "encoder_hidden_states": torch.randn(2, 24, settings.joint_attention_dim, generator=generator),
        "encoder_hidden_states_mask": torch.arange(24) < torch.tensor([[24], [17]]),
        "img_shapes": [[(1, 4, 4)]] * 2,
    }


UNCHECKED: dict[str, dict[str, Any]] = {"unet": {"safety_checker": None}, "transformer": {}}
TOLD = {
    "UNet2DConditionModel": unet,
    "SD3Transformer2DModel": sd3,
    "FluxTransformer2DModel": flux,
    "Flux2Transformer2DModel": flux2,
    "ZImageTransformer2DModel": zimage,
    "QwenImageTransformer2DModel": qwen_image,
}


def errors(case: dict[str, str]) -> dict[str, float]:
    found = (texts if case["kind"] == "texts" else images)(case["backbone"], Path(case["export"]))
    wanted = found.pop("peft")
    effect = (wanted - found["none"]).norm()
    return {form: float((answer - wanted).norm() / effect) for form, answer in found.items()}


for line in sys.stdin:
    told = errors(json.loads(line))
    assert not any(name.partition(".")[0] in {"core", "worker", "api"} for name in sys.modules)
    print(json.dumps(told), flush=True)
