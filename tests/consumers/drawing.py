"""Draw with every file of an adapter by diffusers and peft alone. Run as a program, without our code.

`python -I drawing.py BACKBONE EXPORT CASE` prints by how many grey levels, at most, each file's pictures are off those
of CASE (.npz beside .json: what the pipeline is asked); "none" is the bare backbone.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from peft import PeftModel

torch.set_num_threads(1)
backbone, export, case = sys.argv[1:]
asked = json.loads(Path(f"{case}.json").read_text())
wanted = np.load(f"{case}.npz")["pictures"].astype(int)


def pipeline() -> Any:
    made = DiffusionPipeline.from_pretrained(backbone, **dict.fromkeys(asked["absent"]))
    made.set_progress_bar_config(disable=True)
    return made


def with_diffusers() -> Any:
    made = pipeline()
    made.load_lora_weights(export, weight_name="pytorch_lora_weights.safetensors")
    return made


def with_peft() -> Any:
    made = pipeline()
    PeftModel.from_pretrained(made.transformer, f"{export}/peft")  # changes it where it is
    return made


def with_merged() -> Any:
    made = pipeline()
    made.transformer = type(made.transformer).from_pretrained(f"{export}/merged")
    return made


def off(made: Any) -> int:
    generators = [torch.Generator().manual_seed(asked["seed"] + place) for place in range(len(wanted))]
    prompts = list(asked["prompts"])  # Z-Image's pipeline writes into the list that it is given
    pictures = made(prompt=prompts, **asked["call"], generator=generators).images
    return int(abs(np.stack([np.asarray(picture, int) for picture in pictures]) - wanted).max())


made = {"none": pipeline, "diffusers": with_diffusers, "peft": with_peft, "merged": with_merged}
found = {form: off(make()) for form, make in made.items()}
assert not any(name.partition(".")[0] in {"core", "worker", "api"} for name in sys.modules)
print(json.dumps(found))
