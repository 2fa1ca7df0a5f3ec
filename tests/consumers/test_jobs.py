"""What a job publishes, loaded by each consumer in a process without our code: equal outputs, not only equal keys."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from core.adapters import card as cards
from core.adapters import tensor_files
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from tests.consumers.bases import write_base
from tests.consumers.conftest import TEXT_HUB_NAME
from tests.consumers.page import put_on_the_hub
from tests.consumers.strangers import run_stranger
from worker.job_folder import JobFolder
from worker.stages.context import Context

POSITIONS = 50
KEYS_OF_THE_BASE = ("base_model_name_or_path", "general.base_model.0.name", "ss_sd_model_name")


def manifest(job: JobFolder) -> dict:
    return json.loads((job.stage("export") / "manifest.json").read_text())


@torch.no_grad()
def image_case(job: JobFolder, file: Path) -> None:
    context = Context(job)
    backbone, generator = context.backbone, torch.Generator().manual_seed(7)
    assert isinstance(backbone, DiffusionBackbone)
    case = {
        "noisy": torch.randn(3, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([20, 400, 900]),
        **backbone.conditions(["sks cat", "a dog", ""]),
    }
    adapters = {"wanted": context.checkpoint(manifest(job)["outcome"]["published_step"]), "bare": None}
    for name, adapter in adapters.items():
        with backbone.lora.use(adapter):
            case[name] = backbone.network(case["noisy"], case["timestep"], case["text"]).sample
    save_file(case, file)


@torch.no_grad()
def text_case(job: JobFolder, file: Path) -> dict[str, torch.Tensor]:
    context = Context(job)
    backbone, generator = context.backbone, torch.Generator().manual_seed(7)
    assert isinstance(backbone, LanguageBackbone)
    case = {"ids": torch.randint(2, backbone.model.config.vocab_size, (1, POSITIONS), generator=generator)}
    adapters = {"wanted": context.checkpoint(manifest(job)["outcome"]["published_step"]), "bare": None}
    for name, adapter in adapters.items():
        with backbone.lora.use(adapter):
            case[name] = backbone.model(input_ids=case["ids"], use_cache=False).logits[0]
    save_file(case, file)
    return case


def test_every_file_of_an_image_job_draws_what_the_trainer_drew(
    image_job: JobFolder, tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    image_case(image_job, tmp_path / "case.safetensors")
    printed = run_stranger(
        "images.py", tiny_diffusion_folder, image_job.stage("export"), tmp_path / "case.safetensors", cwd=tmp_path
    )
    errors = json.loads(printed.splitlines()[-1])
    print(errors)
    assert errors.pop("none") == pytest.approx(1)  # the adapter does something, and without it that is missing
    assert errors.keys() == {"diffusers", "kohya", "peft", "merged"}
    assert max(errors.values()) <= 1e-3


def test_every_file_of_a_text_job_says_what_the_trainer_said(
    text_job: JobFolder, tiny_language_folder: Path, tmp_path: Path
) -> None:
    text_case(text_job, tmp_path / "case.safetensors")
    put_on_the_hub(TEXT_HUB_NAME, tiny_language_folder, tmp_path)
    printed = run_stranger(
        "texts.py", tiny_language_folder, text_job.stage("export"), tmp_path / "case.safetensors", cwd=tmp_path
    )
    errors = json.loads(printed.splitlines()[-1])
    print(errors)
    assert errors.pop("none") == pytest.approx(1)
    assert errors.keys() == {"peft", "transformers", "peft alone", "transformers alone", "merged"}
    assert max(errors.values()) <= 1e-3


def test_the_gguf_file_of_a_text_job_gives_the_trainers_logits_in_llama_cpp(
    text_job: JobFolder, tiny_language_folder: Path, tmp_path: Path
) -> None:
    case = text_case(text_job, tmp_path / "case.safetensors")
    write_base(AutoModelForCausalLM.from_pretrained(tiny_language_folder, dtype=torch.float32), tmp_path / "base.gguf")
    ids = ",".join(str(number) for number in case["ids"][0].tolist())
    adapter = text_job.stage("export") / "adapter.gguf"
    run_stranger("llama.py", tmp_path / "base.gguf", adapter, tmp_path / "out.npy", ids, cwd=tmp_path)
    found, wanted, bare = np.load(tmp_path / "out.npy"), case["wanted"].numpy(), case["bare"].numpy()
    error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted - bare))
    print(f"gguf: {error:.1e}, largest difference {np.abs(found - wanted).max():.1e}")
    assert error <= 1e-3
    assert np.abs(found - wanted).max() <= 1e-3
    assert (found.argmax(1) == wanted.argmax(1)).all()
    assert np.abs(wanted - bare).max() > 0.05


@pytest.mark.parametrize("kind", ["image_job", "text_job"])
def test_results_come_in_the_order_that_they_are_offered_in(kind: str, request: pytest.FixtureRequest) -> None:
    job = request.getfixturevalue(kind)
    forms = [row.get("format") for row in manifest(job)["results"]]
    own = ["diffusers", "kohya"] if kind == "image_job" else ["gguf"]
    papers = ["influence.json", "report.json", *(["Modelfile"] if kind == "text_job" else [])]
    assert forms == [None, "peft", *own, "merged", "card", *[None] * len(papers)]
    assert [row["file"] for row in manifest(job)["results"]][-len(papers) :] == papers
    assert manifest(job)["outcome"]["formats_left_out"] == {}


@pytest.mark.parametrize("kind", ["image_job", "text_job"])
def test_every_published_file_carries_the_card_and_no_path_or_caption(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    job = request.getfixturevalue(kind)
    export = job.stage("export")
    card = (export / "card.json").read_bytes()
    told = json.loads(card)
    assert told["backbone"]["id"] == "tiny"
    assert told["data"]["references"]["count"] == 4
    assert {row["licence"] for row in told["replayed"]["candidates"]} <= {"CC0"}
    for row in manifest(job)["results"]:
        if row.get("format") is None:
            continue
        for name, content in members(export / row["file"]):
            for private in (str(job.path).encode(), b"/tmp", b"cat 1", b"say 1", b"arr 1", b".png"):
                assert private not in content, f"{row['file']} {name}"
    for file in (*export.glob("*.safetensors"), *unpacked_weights(export / "adapter-peft.zip", tmp_path)):
        with safe_open(file, "np") as opened:
            metadata = opened.metadata()
        assert metadata[cards.CARD_HASH] == cards.digest(card)
        assert json.loads(metadata[cards.CARD]) == cards.shortened(told)
        assert sum(map(len, metadata.values())) < 16_000


def test_every_file_of_a_job_names_the_backbone_alike(
    image_job: JobFolder, text_job: JobFolder, tmp_path: Path
) -> None:
    for job, name, task in ((image_job, "tiny", None), (text_job, TEXT_HUB_NAME, "CAUSAL_LM")):
        assert set(names_of_the_base(job)) == {name}
        config = json.loads(dict(members(job.stage("export") / "adapter-peft.zip"))["adapter_config.json"])
        assert (config["base_model_name_or_path"], config["task_type"]) == (name, task)
        told = json.loads((job.stage("export") / "card.json").read_bytes())["backbone"]
        assert (told["hub_name"] is None) == (name == "tiny") == ("say tiny, its id" in told.get("warning", ""))


def names_of_the_base(job: JobFolder) -> Iterator[str]:
    """What every file that a consumer loads calls the backbone, but for the card."""
    for file in (*job.stage("export").glob("adapter*.gguf"), *job.path.rglob("*.safetensors")):
        facts = tensor_files.read(memoryview(file.read_bytes()), file.name).facts
        if "lora_adapter_metadata" in facts:
            yield json.loads(facts["lora_adapter_metadata"])["unet.base_model_name_or_path"]
        yield from (str(facts[key]) for key in KEYS_OF_THE_BASE if key in facts)


def members(file: Path) -> list[tuple[str, bytes]]:
    if file.suffix != ".zip":
        return [("", file.read_bytes())]
    with zipfile.ZipFile(file) as archive:
        # what a tokenizer knows may be anything
        return [(name, archive.read(name)) for name in archive.namelist() if "tokenizer" not in name]


def unpacked_weights(file: Path, folder: Path) -> list[Path]:
    with zipfile.ZipFile(file) as archive:
        return [Path(archive.extract("adapter_model.safetensors", folder))]


def test_a_card_with_thousands_of_candidates_leaves_the_head_small() -> None:
    rows = [{"id": f"emoji/{n}", "source": "faces", "licence": "Apache-2.0"} for n in range(4096)]
    curves = {"columns": ["step", "loss"], "rows": [[n, 0.12345] for n in range(3000)]}
    card = {"replayed": {"count": 4096, "candidates": rows}, "curves": curves}
    head = cards.header(card)
    assert sum(map(len, head.values())) < 10_000
    assert json.loads(head[cards.CARD])["replayed"]["count"] == 4096
    assert head[cards.CARD_HASH] == cards.digest(cards.content(card))
