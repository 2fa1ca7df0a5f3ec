"""Load every file of an image adapter with diffusers and peft alone. Run as a program, without our code.

`python -I images.py BACKBONE EXPORT CASE.safetensors` prints errors relative to the adapter's effect, by format.
"""

import json
import sys
import zipfile
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import PeftModel
from safetensors.torch import load_file

backbone, export, case_file = sys.argv[1:]
case = load_file(case_file)


def pipeline() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(backbone, safety_checker=None)


@torch.no_grad()
def noise(unet: torch.nn.Module) -> torch.Tensor:
    return unet.eval()(case["noisy"], case["timestep"], case["text"]).sample


def unpacked(name: str) -> str:
    zipfile.ZipFile(Path(export) / name).extractall(name.removesuffix(".zip"))
    return name.removesuffix(".zip")


def loaded(file: str) -> torch.nn.Module:
    pipe = pipeline()
    pipe.load_lora_weights(export, weight_name=file)
    return pipe.unet


networks = {
    "none": pipeline().unet,
    "diffusers": loaded("pytorch_lora_weights.safetensors"),
    "kohya": loaded("adapter-kohya.safetensors"),
    "peft": PeftModel.from_pretrained(pipeline().unet, unpacked("adapter-peft.zip")),
    "merged": UNet2DConditionModel.from_pretrained(unpacked("merged.zip")),
}
effect = (case["wanted"] - case["bare"]).norm()
assert not any(name.partition(".")[0] in {"core", "worker", "api"} for name in sys.modules)
print(json.dumps({form: float((noise(unet) - case["wanted"]).norm() / effect) for form, unet in networks.items()}))
