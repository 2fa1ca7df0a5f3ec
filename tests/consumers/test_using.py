"""What the commands of docs/using-your-adapter.md do, on small stand-ins for backbones."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, CLIPTextModel

from core.settings import Settings
from tests.api.outcome import publish
from tests.api.server import serving
from tests.consumers.page import BLOCKS, PAGE, put_on_the_hub, work
from tests.worker.commands.test_smollm2 import write_gguf
from tests.worker.stages.conftest import text_jobs
from worker.commands import smollm2
from worker.job_folder import JobFolder, checkpoint_file
from worker.stages import run

HUB_NAME = "example/spoken-llama"
NAMES = {
    "adapter-peft.zip": "-peft.zip",
    "pytorch_lora_weights.safetensors": None,
    "adapter-kohya.safetensors": ".safetensors",
    "adapter.gguf": ".gguf",
    "merged.zip": None,
}


def lay_out(job: JobFolder, folder: Path, name: str) -> None:
    """Lay the files of a job out as they are downloaded, and the published step's as a checkpoint."""
    export = job.stage("export")
    step = json.loads((export / "manifest.json").read_text())["outcome"]["published_step"]
    shutil.copy(job.stage("train") / checkpoint_file(step), folder / "step.safetensors")
    for file, ending in NAMES.items():
        if (export / file).exists():
            shutil.copy(export / file, folder / (f"{name}{ending}" if ending else file))


def check_same_configuration(folder: Path, zipped: Path) -> None:
    """Hold what the page makes of a checkpoint against the folder that was published."""
    with zipfile.ZipFile(zipped) as archive:
        published = json.loads(archive.read("adapter_config.json"))
    made = json.loads((folder / "adapter_config.json").read_text())
    for key in ("base_model_name_or_path", "task_type", "r", "lora_alpha", "peft_type"):
        assert made[key] == published[key], key


def check_checkpoint(folder: Path, bare: torch.nn.Module, merged: torch.nn.Module) -> None:
    """Hold a network with the checkpoint's folder against the merged weights, which the export has verified.

    They are in the backbone's own type: each number is rounded once, which is little beside what the adapter changes.
    """
    before = {name: tensor.clone() for name, tensor in bare.state_dict().items()}
    changed = PeftModel.from_pretrained(bare, folder).merge_and_unload().state_dict()
    assert changed.keys() == before.keys() == merged.state_dict().keys()
    assert any(not torch.equal(changed[name], tensor) for name, tensor in before.items())
    error = effect = 0.0
    for name, tensor in merged.state_dict().items():
        last_digit = max(1e-6, torch.finfo(tensor.dtype).eps)
        torch.testing.assert_close(changed[name], tensor.float(), rtol=last_digit, atol=1e-5)
        error += float((changed[name] - tensor.float()).square().sum())
        effect += float((changed[name] - before[name]).square().sum())
    assert error < 0.1**2 * effect


def test_every_command_of_the_page_is_run_or_named_as_not_run() -> None:
    assert all(what for what, *_ in BLOCKS)
    assert {where for what, where, *_ in BLOCKS if what == "run"} == {"service", "images", "texts", "images texts"}
    left_out = {where for what, where, *_ in BLOCKS if what == "not run"}
    said = PAGE.partition("Not run by the tests:")[2]
    assert left_out == {"ComfyUI", "A1111", "vLLM", "llama-cli", "Ollama"}
    assert all(f"**{name}**" in said for name in left_out)


def in_halves(text_encoder: Path) -> None:
    """Store a text encoder in float16, as many backbones have it, and let its configuration say so."""
    CLIPTextModel.from_pretrained(text_encoder).to(torch.float16).save_pretrained(text_encoder)
    assert json.loads((text_encoder / "config.json").read_text())["dtype"] == "float16"


@pytest.mark.long
def test_the_commands_for_images_draw_with_the_adapter(
    image_job: JobFolder, tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    in_halves(Path(shutil.copytree(tiny_diffusion_folder, tmp_path / "backbone")) / "text_encoder")
    lay_out(image_job, tmp_path, "cat")
    printed = work("images", tmp_path)
    assert (tmp_path / "cat.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "merged.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")
    bare = UNet2DConditionModel.from_pretrained(tmp_path / "backbone/unet")
    check_same_configuration(tmp_path / "step", tmp_path / "cat-peft.zip")
    check_checkpoint(tmp_path / "step", bare, UNet2DConditionModel.from_pretrained(tmp_path / "merged"))
    assert printed[-1].startswith("cat.safetensors: kohya (ComfyUI, A1111)")
    assert "trigger sks" in printed[-1]


@pytest.fixture(scope="module")
def spoken_job(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A text job on a LLaMA with a vocabulary, that llama.cpp knows too: base.gguf lies beside it."""
    place = tmp_path_factory.mktemp("spoken")
    write_gguf(place / "base.gguf")
    smollm2.convert(place / "base.gguf", place / "backbone")
    folder = text_jobs(place / "backbone", place, hub_name=HUB_NAME)(merged=True)
    list(run(folder))
    return folder


@pytest.mark.long
def test_the_commands_for_texts_answer_with_the_adapter(spoken_job: JobFolder, tmp_path: Path) -> None:
    for name in ("backbone", "base.gguf"):
        (tmp_path / name).symlink_to(spoken_job.path.parent / name)
    put_on_the_hub(HUB_NAME, tmp_path / "backbone", tmp_path)
    lay_out(spoken_job, tmp_path, "pirate")
    _, answer, _, served, *_ = work("texts", tmp_path)
    assert "user: Where is the harbour?" in answer
    assert served.startswith("http://127.0.0.1:")
    assert len(served.splitlines()) > 1
    assert load_file(tmp_path / "merged/model.safetensors")
    bare = AutoModelForCausalLM.from_pretrained(tmp_path / "backbone", dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    check_same_configuration(tmp_path / "step", tmp_path / "pirate-peft.zip")
    check_checkpoint(tmp_path / "step", bare, merged)


def test_the_command_that_fetches_a_file_fetches_it(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path / "data", min_image_side=8)) as service:
        published = publish(service, service.openai())
        account = {
            "ALBATROSS_API_KEY": service.key(),
            "ALBATROSS_URL": service.address,
            "MODEL": published["model"],
            "CHECKPOINT": f"{published['model']}:ckpt-step-120",
        }
        work("service", tmp_path, account)
    assert (tmp_path / "cat.safetensors").read_bytes() == b"weights for ComfyUI"
    assert (tmp_path / "step.safetensors").read_bytes() == b"weights of 120"
