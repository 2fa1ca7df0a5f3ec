"""Pictures of flows that a process without our code draws with each file, against those that are drawn here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.backbones.families import family
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.images.forms import FORMS
from core.method.formats import diffusers, merged, peft
from tests.consumers.strangers import run_stranger
from tests.core.method.formats.test_formats import HEADER, drawn, image_witness
from tests.families.images import FLOWS, IMAGES, SIDE, readable, write_images

pytestmark = pytest.mark.slow
PROMPTS, SEED, STEPS, GUIDANCE = ["a cat", "a round ball"], 3, 4, 2.5


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "z-image" else pytest.mark.long) for name in FLOWS]
)
def test_a_pipeline_draws_with_each_file_what_is_drawn_here(name: str, tmp_path: Path) -> None:
    folder, form = write_images(name, tmp_path / "backbone"), family(IMAGES[name].id).form
    assert form is not None
    targets = family(IMAGES[name].id).targets
    backbone = DiffusionBackbone.load(folder, form=form, resolution=SIDE, target_modules=targets)
    witness = image_witness(backbone, drawn(backbone))
    diffusers.write(backbone, witness.adapter, tmp_path / diffusers.FILE, "tiny", HEADER)
    peft.write(backbone, witness.adapter, tmp_path / "peft", "tiny", HEADER)
    merged.write(witness, folder, tmp_path / "merged")
    with backbone.lora.use(witness.adapter):
        pictures = backbone.sample(PROMPTS, seed=SEED, steps=STEPS, guidance=GUIDANCE)
    np.savez(tmp_path / "case.npz", pictures=np.stack([np.asarray(picture) for picture in pictures]))
    (tmp_path / "case.json").write_text(json.dumps(asked(name)))
    read = readable(folder, tmp_path / "read")
    off = json.loads(run_stranger("drawing.py", read, tmp_path, tmp_path / "case", cwd=tmp_path).splitlines()[-1])
    effect = off.pop("none")
    assert off.keys() == {"diffusers", "peft", "merged"}
    assert max(off.values()) <= 1
    assert effect > max(off.values())


def asked(name: str) -> dict[str, Any]:
    """What a pipeline is asked; that of Qwen-Image guides only where it is told what to steer away from."""
    form = family(IMAGES[name].id).form
    assert form is not None
    call = {"height": SIDE, "width": SIDE, "num_inference_steps": STEPS}
    guided = {FORMS[form].guided: GUIDANCE} | ({"negative_prompt": ""} if name == "qwen-image" else {})
    absent = ("text_encoder_3", "tokenizer_3") if name == "sd3-without-t5" else ()
    return {"seed": SEED, "prompts": PROMPTS, "call": call | guided, "absent": absent}
