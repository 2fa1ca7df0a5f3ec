"""The whole network with the adapter in it: in the backbone's own type, in several files where it is large."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from core.errors import JobFailure
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import merged, weight_files
from core.method.formats.weight_files import stored_tensors
from core.method.formats.witness import Witness
from core.method.lora.adapter import Adapter
from tests.core.method.formats.test_formats import drawn, image_witness, text_witness
from tests.core.method.peak import peak_bytes
from tests.tiny_backbones import LLAMA_TARGETS, UNET_TARGETS, random_diffusion, write_language

TYPES = [torch.float32, torch.bfloat16, torch.float16]


def language_folder(folder: Path, dtype: torch.dtype, *, tied: bool = False) -> Path:
    """A LLaMA whose files are of a type, as a hub's are, with what a folder there has beside them."""
    write_language(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.to(dtype).save_pretrained(folder)
    told = json.loads((folder / "config.json").read_text()) | {"_name_or_path": "/a/folder/of/ours"}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "README.md").write_text("not a part of the network")
    return folder


def witness_of(folder: Path) -> Witness:
    backbone = LanguageBackbone.load(folder, max_tokens=48, target_modules=LLAMA_TARGETS)
    return text_witness(backbone, drawn(backbone))


def expected(tensors: dict[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """The same tensors with the adapter added in float32, and rounded once."""
    found = dict(tensors)
    for path, down in adapter.down.items():
        weight = tensors[f"{path}.weight"]
        change = adapter.scale * (adapter.up[path][0] @ down[0]).detach()
        found[f"{path}.weight"] = (weight.float() + change.reshape(weight.shape)).to(weight.dtype)
    return found


def check_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Hold tensors against others of the same type, to one rounding of their products' order of summation."""
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        eps = torch.finfo(tensor.dtype).eps
        torch.testing.assert_close(found[name], tensor, rtol=eps, atol=1e-7)


@pytest.mark.parametrize("dtype", TYPES)
def test_texts_are_merged_in_the_type_of_their_files(tmp_path: Path, dtype: torch.dtype) -> None:
    source = language_folder(tmp_path / "source", dtype)
    witness = witness_of(source)
    merged.write(witness, source, tmp_path / "merged")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "merged"))
    check_equal(after, expected(before, witness.adapter))
    same = [name for name in before if not name.endswith(tuple(f"{target}.weight" for target in LLAMA_TARGETS))]
    assert same
    assert all(torch.equal(after[name], before[name]) for name in same)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert {part.dtype for part in loaded.parameters()} == {dtype}
    error = merged.verify(witness, source, tmp_path / "merged")
    assert error < (1e-3 if dtype == torch.float32 else 0.3)


def test_a_folder_has_what_a_stranger_needs_and_no_path_of_ours(tmp_path: Path) -> None:
    source = language_folder(tmp_path / "source", torch.bfloat16)
    merged.write(witness_of(source), source, tmp_path / "merged")
    config = json.loads((tmp_path / "merged/config.json").read_text())
    assert "_name_or_path" not in config
    assert config == {n: v for n, v in json.loads((source / "config.json").read_text()).items() if n != "_name_or_path"}
    names = {file.name for file in (tmp_path / "merged").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= names
    assert "README.md" not in names
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "merged").iterdir())


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    source = language_folder(tmp_path / "source", torch.bfloat16, tied=True)
    witness = witness_of(source)
    merged.write(witness, source, tmp_path / "merged")
    assert "lm_head.weight" not in load_file(tmp_path / "merged/model.safetensors")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    merged.verify(witness, source, tmp_path / "merged")


def test_what_is_large_is_dealt_to_several_files_from_one_or_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = language_folder(tmp_path / "source", torch.float32)
    witness = witness_of(source)
    merged.write(witness, source, tmp_path / "one")
    monkeypatch.setattr(weight_files, "SHARD_BYTES", 100_000)
    merged.write(witness, source, tmp_path / "several")
    shards = sorted((tmp_path / "several").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    assert max(file.stat().st_size for file in shards) < 110_000
    index = json.loads((tmp_path / "several/model.safetensors.index.json").read_text())
    whole = load_file(tmp_path / "one/model.safetensors")
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())
    parts = {name: tensor for file in shards for name, tensor in load_file(file).items()}
    assert index["weight_map"].keys() == parts.keys() == whole.keys()
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())
    assert merged.verify(witness, source, tmp_path / "several") < 1e-3
    LlamaForCausalLM.from_pretrained(source).save_pretrained(tmp_path / "sharded", max_shard_size=100_000)
    for file in source.glob("*token*"):
        (tmp_path / "sharded" / file.name).write_bytes(file.read_bytes())
    monkeypatch.undo()
    merged.write(witness, tmp_path / "sharded", tmp_path / "again")
    again = load_file(tmp_path / "again/model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_pictures_are_merged_from_files_of_half_precision_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    random_diffusion().to(torch.float16).save_pretrained(source, variant="fp16")
    backbone = DiffusionBackbone.load(source, resolution=16, target_modules=UNET_TARGETS, variant="fp16")
    witness = image_witness(backbone, drawn(backbone))
    merged.write(witness, source, tmp_path / "merged")
    before = load_file(source / "unet/diffusion_pytorch_model.fp16.safetensors")
    after = load_file(tmp_path / "merged/diffusion_pytorch_model.safetensors")
    check_equal(after, expected(before, witness.adapter))
    loaded = UNet2DConditionModel.from_pretrained(tmp_path / "merged", torch_dtype=torch.float16)
    assert loaded.dtype == torch.float16
    assert merged.verify(witness, source, tmp_path / "merged") < 0.3


Damage = Callable[[dict[str, Tensor]], None]


def adapted_by_one_digit(tensors: dict[str, Tensor]) -> None:
    weight = tensors["model.layers.1.mlp.down_proj.weight"].view(-1)
    weight[0] = (
        torch.nextafter(weight[0].float(), torch.tensor(2.0)) if weight.dtype == torch.float32 else weight[0] * 1.01
    )


def norm(tensors: dict[str, Tensor]) -> None:
    tensors["model.norm.weight"][0] += 0.5


def missing(tensors: dict[str, Tensor]) -> None:
    del tensors["model.layers.0.self_attn.q_proj.weight"]


def not_a_number(tensors: dict[str, Tensor]) -> None:
    tensors["lm_head.weight"][0, 0] = torch.nan


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", TYPES[:2])
@pytest.mark.parametrize("damage", [adapted_by_one_digit, norm, missing, not_a_number])
def test_whatever_is_wrong_in_a_merged_file_is_caught(tmp_path: Path, damage: Damage, dtype: torch.dtype) -> None:
    source = language_folder(tmp_path / "source", dtype)
    witness = witness_of(source)
    merged.write(witness, source, tmp_path / "merged")
    file = tmp_path / "merged/model.safetensors"
    tensors = load_file(file)
    damage(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(JobFailure, match="in merged format") as failure:
        merged.verify(witness, source, tmp_path / "merged")
    assert failure.value.code == "export_verification_failed"


def test_a_backbone_whose_files_lack_an_adapted_weight_is_refused(tmp_path: Path) -> None:
    source = language_folder(tmp_path / "source", torch.float32)
    witness = witness_of(source)
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(JobFailure, match=r"don't hold the weight of model\.layers\.0\.mlp\.up_proj by itself"):
        merged.write(witness, source, tmp_path / "merged")


def test_a_network_is_not_in_memory_to_be_written(tmp_path: Path) -> None:
    source = language_folder(tmp_path / "source", torch.bfloat16)
    witness = witness_of(source)
    stored = stored_tensors(source, "model")
    largest, whole = max(tensor.size for tensor in stored), sum(tensor.size for tensor in stored)
    peak = peak_bytes(lambda: merged.write(witness, source, tmp_path / "merged"))
    assert peak <= 4 * largest < whole / 2  # one matrix as it is stored, in float32, and rounded
