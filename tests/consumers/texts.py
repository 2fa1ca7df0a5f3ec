"""Load every file of a text adapter with transformers and peft alone. Run as a program, without our code.

`python -I texts.py BACKBONE EXPORT CASE.safetensors` prints errors relative to the adapter's effect, by format.
"""

import json
import sys
import zipfile
from pathlib import Path

import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

backbone, export, case_file = sys.argv[1:]
case = load_file(case_file)


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model.eval()(input_ids=case["ids"]).logits[0]


def base() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(backbone, dtype=torch.float32)


def unpacked(name: str) -> str:
    zipfile.ZipFile(Path(export) / name).extractall(name.removesuffix(".zip"))
    return name.removesuffix(".zip")


folder = unpacked("adapter-peft.zip")
by_transformers = base()
by_transformers.load_adapter(folder)
networks = {
    "none": base(),
    "peft": PeftModel.from_pretrained(base(), folder),
    "transformers": by_transformers,
    "peft alone": AutoPeftModelForCausalLM.from_pretrained(folder),  # both find the backbone by its hub name
    "transformers alone": AutoModelForCausalLM.from_pretrained(folder),
    "merged": AutoModelForCausalLM.from_pretrained(unpacked("merged.zip"), dtype=torch.float32),
}
AutoTokenizer.from_pretrained("merged")
effect = (case["wanted"] - case["bare"]).norm()
assert not any(name.partition(".")[0] in {"core", "worker", "api"} for name in sys.modules)
print(json.dumps({form: float((logits(model) - case["wanted"]).norm() / effect) for form, model in networks.items()}))
