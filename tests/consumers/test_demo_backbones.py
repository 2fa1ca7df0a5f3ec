"""The commands of docs/using-your-adapter.md on the backbones of the demo, as their weights lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from core.backbones.record import BackboneRecord, read_record
from core.backbones.registry import BUILT_IN, Registry
from core.method.lora.adapter import Adapter
from core.settings import Settings
from tests.consumers.page import put_on_the_hub, work
from tests.consumers.test_using import NAMES
from tests.worker.stages.conftest import maker, picture
from worker.commands import smollm2
from worker.job_folder import checkpoint_file
from worker.protocol import Line
from worker.stages.context import Context, ProgressClock
from worker.stages.export.card import backbone_facts
from worker.stages.export.formats import Made, write_formats
from worker.stages.prepare import prepare

STEP = 8


def drawn(context: Context) -> Adapter:
    """An adapter of random numbers, small enough to leave the backbone's words and pictures alone."""
    adapter = context.backbone.lora.new(context.p.rank, context.p.alpha, seed=1)
    for matrix in adapter.up.values():
        matrix.data.normal_(0, 1e-3)
    return adapter.clone()


def returned(lines: Generator[Line, None, Made]) -> Made:
    while True:
        try:
            next(lines)
        except StopIteration as ended:
            return ended.value


def run_usage(folder: Path, form: str, more: str, backbone: Path) -> str:
    """Run the lines that the API shows for a format where its file lies, then some more; returns what these print."""
    lines = json.loads((folder / "usage.json").read_text())[form].replace("/path/to/emoji-ldm", str(backbone))
    done = subprocess.run(
        [sys.executable, "-I", "-c", lines + more],
        cwd=folder / "downloaded",
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, f"{lines}\n{done.stderr[-3000:]}"
    return done.stdout


def published(record: BackboneRecord, packed: Path, folder: Path, name: str) -> Context:
    """Lay out what a job on the backbone publishes, without its training: all formats, and a kept step."""
    context = Context(maker(record.model_copy(update={"pool": None}), packed, folder / "made")(merged=True))
    list(prepare(context))
    adapter, written = drawn(context), folder / "written"
    written.mkdir()
    card = {"card": 1, "backbone": backbone_facts(record), "parameters": {"trigger": context.p.trigger}}
    made = returned(write_formats(context, adapter, card, written, ProgressClock("export", 4), 0))
    if record.kind == "images":  # a merged network of texts is too large to lie here twice
        shutil.copytree(written, folder / "downloaded")
        (folder / "usage.json").write_text(json.dumps(made.usage))
    context.keep({STEP: adapter}, written)
    (written / checkpoint_file(STEP)).rename(folder / "step.safetensors")
    for file, ending in NAMES.items():
        if (written / file).exists():
            (written / file).rename(folder / (f"{name}{ending}" if ending else file))
    (folder / "backbone").symlink_to(record.path)
    return context


@pytest.mark.parametrize("id", sorted(BUILT_IN))
def test_a_pipeline_that_is_told_no_dtype_draws_with_what_comes_along(id: str) -> None:
    record = read_record(BUILT_IN[id])
    index = json.loads((record.path / "model_index.json").read_text())
    left_out = {name: None for name, part in index.items() if part == [None, None]}
    pipe = DiffusionPipeline.from_pretrained(record.path, **left_out)
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert len(parts) >= 3
    assert {part.dtype for part in parts} == {torch.float32}
    side = record.resolution
    drawn = pipe("cat on a boat, sks", height=side, width=side, num_inference_steps=1, output_type="np").images
    assert drawn.shape == (1, side, side, 3)


@pytest.mark.long
def test_the_commands_for_images_draw_on_the_weights_of_emoji_ldm(tmp_path: Path) -> None:
    packed = tmp_path / "cat.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(2):
            archive.writestr(f"{number}.png", picture(number))
            archive.writestr(f"{number}.txt", f"cat face {number}")
    published(Registry.load(Settings(data=tmp_path / "data")).get("emoji-ldm"), packed, tmp_path, "cat")
    *_, said = work("images", tmp_path)
    for name in ("cat.png", "merged.png", "step.png"):
        assert max(high - low for low, high in Image.open(tmp_path / name).getextrema()) > 50, "it is of one colour"
    assert "backbone emoji-ldm, revision" in " ".join(said.split())
    assert "files that name it say emoji-ldm" in " ".join(said.split())


@pytest.mark.long
def test_the_lines_that_the_api_shows_load_every_file_onto_emoji_ldm(tmp_path: Path) -> None:
    packed = tmp_path / "cat.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(2):
            archive.writestr(f"{number}.png", picture(number))
            archive.writestr(f"{number}.txt", f"cat face {number}")
    record = Registry.load(Settings(data=tmp_path / "data")).get("emoji-ldm")
    published(record, packed, tmp_path, "cat")
    draw = """
with torch.no_grad():
    torch.manual_seed(0)
    noise, words = torch.randn(1, 4, 16, 16), torch.randn(1, 77, pipe.unet.config.cross_attention_dim)
    print(float(pipe.unet(noise[:, : pipe.unet.config.in_channels], 500, words).sample.double().abs().sum()))
"""
    bare = f"""
pipe = StableDiffusionPipeline.from_pretrained({str(record.path)!r}, dtype=torch.float32, safety_checker=None)
"""
    drawn = {form: float(run_usage(tmp_path, form, draw, record.path)) for form in ("diffusers", "peft", "merged")}
    unchanged = float(run_usage(tmp_path, "diffusers", bare + draw, record.path))
    effect = abs(drawn["diffusers"] - unchanged)
    assert effect > 0
    for form, most in (("peft", 1e-3), ("merged", 0.2)):  # merged weights are rounded
        assert abs(drawn[form] - drawn["diffusers"]) < most * effect, form


@pytest.mark.long
def test_the_commands_for_texts_answer_on_the_weights_of_smollm2(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    smollm2.prepare(settings)
    record = Registry.load(settings).get(smollm2.ID)
    packed = tmp_path / "pirate.jsonl"
    rows = ({"prompt": f"Where is the {place}?", "completion": "Arr, past the mill."} for place in ("harbour", "inn"))
    packed.write_text("\n".join(map(json.dumps, rows)))
    published(record, packed, tmp_path, "pirate")
    (tmp_path / "base.gguf").symlink_to(smollm2.source())
    assert record.hub_name is not None
    put_on_the_hub(record.hub_name, record.path, tmp_path)
    _, answer, _, served, *_ = work("texts", tmp_path)
    for said in (answer, served):
        assert len(said.split("assistant")[-1].split()) > 5
    config = json.loads((tmp_path / "step/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["task_type"]) == (record.hub_name, "CAUSAL_LM")
    for folder in ("merged", "data", "made"):
        shutil.rmtree(tmp_path / folder)  # a gigabyte that pytest would keep
