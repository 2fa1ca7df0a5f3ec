"""`albatross inspect`: what a person reads of a file, and what it warns of."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from api.cli.__main__ import main
from api.cli.inspect import lines
from core.adapters import inspection, tensor_files
from core.errors import InvalidInput
from tests.consumers.conftest import TEXT_HUB_NAME
from worker.job_folder import JobFolder

IMAGE_FILES = {
    "adapter-peft.zip": "PEFT",
    "pytorch_lora_weights.safetensors": "diffusers",
    "adapter-kohya.safetensors": "kohya (ComfyUI, A1111)",
}


def told(file: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    assert main(["inspect", str(file)]) == status
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGE_FILES)
def test_a_file_of_an_image_adapter_says_what_it_is_and_where_from(
    name: str, image_job: JobFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(image_job.stage("export") / name, capsys)
    said = " ".join(said.split())
    card = json.loads((image_job.stage("export") / "card.json").read_text())
    assert said.startswith(f"{name}: {IMAGE_FILES[name]}")
    assert "modules 48: 4 attn1.to_k, 4 attn1.to_out, 4 attn1.to_q," in said
    assert "rank 2, alpha 2, scale 1" in said
    assert "in float32" in said
    assert f"tiny, revision {card['backbone']['revision']}, licence CC0" in said
    assert f"step {card['outcome']['published_step']} of " in said
    assert card["outcome"]["stop_reason"] in said
    assert f"4 images, sha256 {card['data']['references']['sha256']}" in said
    assert "seed 3" in said
    assert "checked every number is finite" in said
    assert "note The backbone had no hub name when this adapter was made, so files that name it say tiny" in said


@pytest.mark.slow
def test_a_gguf_adapter_says_the_same(text_job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(text_job.stage("export") / "adapter.gguf", capsys)
    said = " ".join(said.split())
    assert said.startswith("adapter.gguf: GGUF (llama.cpp)")
    assert "14: 2 attn_k, 2 attn_output, 2 attn_q, 2 attn_v, 2 ffn_down, 2 ffn_gate, 2 ffn_up" in said
    assert "rank 2, alpha 2, scale 1" in said
    assert "4 texts" in said
    assert f"backbone tiny, known as {TEXT_HUB_NAME}, revision" in said
    assert "had no hub name" not in said


@pytest.mark.slow
def test_merged_weights_and_a_card_say_where_they_come_from(
    text_job: JobFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, form in (("merged.zip", "merged weights"), ("card.json", "provenance card")):
        said = told(text_job.stage("export") / name, capsys)
        assert f"{name}: {form}" in said
        assert "4 texts" in said


def damaged(job: JobFolder, folder: Path, change) -> Path:
    source = job.stage("export") / "adapter-kohya.safetensors"
    with safe_open(source, "np") as opened:
        metadata = opened.metadata()
    tensors = load_file(source)
    change(tensors)
    save_file(tensors, folder / "damaged.safetensors", metadata=metadata)
    return folder / "damaged.safetensors"


def ups(tensors: dict) -> list[str]:
    return sorted(name for name in tensors if name.endswith("lora_up.weight"))


@pytest.mark.slow
def test_what_is_wrong_with_a_file_is_said(
    image_job: JobFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(tensors: dict) -> None:
        names = ups(tensors)
        tensors[names[0]][0] = np.nan
        tensors[names[1]][:] = 0
        del tensors[names[2]]
        tensors[names[3].replace("lora_up.weight", "alpha")] = np.array(7, np.float32)

    file = damaged(image_job, tmp_path, change)
    names = ups(load_file(image_job.stage("export") / "adapter-kohya.safetensors"))
    said = told(file, capsys, status=1)
    said = " ".join(said.split())
    assert f"WARNING It holds numbers that are not finite: {names[0]}." in said
    assert f"B is all zero, so nothing is changed: {names[1].removesuffix('.lora_up.weight')}." in said
    assert f"A half is missing: {names[2].removesuffix('.lora_up.weight')}." in said
    assert "different alphas" in said
    assert "checked" not in said


@pytest.mark.slow
def test_what_a_file_lacks_and_a_card_of_another_adapter_are_told(
    image_job: JobFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(image_job.stage("export") / "adapter-kohya.safetensors", tmp_path / "cat.safetensors")
    (tmp_path / "card.json").write_text('{"backbone": {}}')
    assert "The card.json beside it is of another adapter." in told(tmp_path / "cat.safetensors", capsys, status=1)
    shutil.copytree(image_job.stage("train") / "snapshots", tmp_path / "snapshots")
    [first, *_] = sorted((tmp_path / "snapshots").iterdir())
    said = told(first, capsys)
    assert "alpha 2, scale 1" in said
    assert "card       none" in said
    save_file(load_file(first), first)  # without its head
    assert "It does not say alpha" in told(first, capsys, status=1)


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF", b"\x10" + bytes(7) + b"{}", b"PK\x03\x04 no zip"])
def test_what_is_no_adapter_is_one_sentence(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file.safetensors").write_bytes(content)
    assert main(["inspect", str(tmp_path / "file.safetensors")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("albatross: file.safetensors is ")
    assert said.count("\n") == 1


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "none.gguf")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.slow
@given(strategies.data())
def test_any_damage_is_taken_or_refused(image_job: JobFolder, text_job: JobFolder, data: strategies.DataObject) -> None:
    names = {"adapter-kohya.safetensors": image_job, "adapter.gguf": text_job}
    name = data.draw(strategies.sampled_from(sorted(names)))
    content = bytearray((names[name].stage("export") / name).read_bytes())
    for _ in range(data.draw(strategies.integers(1, 4))):
        place = data.draw(strategies.integers(0, min(len(content) - 1, 12_000)))
        content[place] = data.draw(strategies.integers(0, 255))
    cut = data.draw(strategies.integers(0, len(content)))
    whole = memoryview(bytes(content[:cut] if data.draw(strategies.booleans()) else content))
    with suppress(InvalidInput):
        found = inspection.examined(name, len(whole), tensor_files.read(whole, name), None)
        assert found.bytes == len(whole)
        assert all(line.isprintable() for line in lines(found))
