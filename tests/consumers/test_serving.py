"""What lies beside a text adapter for those who serve it: the Modelfile, and the line for vLLM.

Neither Ollama nor vLLM is run here: the first is no package, the second one of gigabytes. The Modelfile is read by the
grammar of Ollama's reference, and what it names is loaded by llama.cpp, which Ollama runs. For vLLM the rules that its
source has for adapters are kept here and applied; that is all that these tests say about it.
"""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from core.backbones.record import BackboneRecord
from core.method.formats.peft import TEXT_TASK
from tests.consumers.bases import write_base
from tests.consumers.conftest import TEXT_HUB_NAME
from tests.consumers.modelfiles import parsed
from tests.consumers.strangers import run_stranger
from tests.consumers.test_jobs import text_case
from tests.consumers.tiny_texts import FAMILIES, tiny
from worker.job_folder import JobFolder
from worker.stages.export.serving import modelfile, readme, vllm_line

# vLLM's rules, from its source: the ranks that it has room for, and the last parts of the names of modules
VLLM_RANKS = {1, 8, 16, 32, 64, 128, 256, 320, 512}
VLLM_DENSE = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj"}
VLLM_MODULES = VLLM_DENSE | {"in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"}
KEY = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_[AB]\.weight")


@pytest.fixture
def record(text_job: JobFolder) -> BackboneRecord:
    return BackboneRecord.model_validate(text_job.spec()["backbone"])


def test_the_modelfile_names_a_base_and_an_adapter_that_llama_cpp_loads(
    text_job: JobFolder, tiny_language_folder: Path, tmp_path: Path
) -> None:
    export = text_job.stage("export")
    told = dict(parsed((export / "Modelfile").read_text()))
    assert told == {"FROM": "./base.gguf", "ADAPTER": "./adapter.gguf"}
    case = text_case(text_job, tmp_path / "case.safetensors")
    plain = AutoModelForCausalLM.from_pretrained(tiny_language_folder, dtype=torch.float32)
    write_base(plain, tmp_path / told["FROM"])
    (tmp_path / told["ADAPTER"]).write_bytes((export / told["ADAPTER"]).read_bytes())
    ids = ",".join(map(str, case["ids"][0].tolist()))
    run_stranger("llama.py", told["FROM"], told["ADAPTER"], tmp_path / "out.npy", ids, cwd=tmp_path)
    wanted, bare = case["wanted"].numpy(), case["bare"].numpy()
    assert np.linalg.norm(np.load(tmp_path / "out.npy") - wanted) <= 1e-3 * np.linalg.norm(wanted - bare)


@pytest.mark.slow
def test_an_image_job_has_no_modelfile(image_job: JobFolder) -> None:
    assert not (image_job.stage("export") / "Modelfile").exists()
    with zipfile.ZipFile(image_job.stage("export") / "adapter-peft.zip") as archive:
        assert "README.md" not in archive.namelist()


def test_a_modelfile_says_whose_base_it_means(record: BackboneRecord) -> None:
    assert f"base.gguf has to be {TEXT_HUB_NAME} itself" in modelfile(record)
    assert "its id where it was trained" not in modelfile(record)
    alone = modelfile(record.model_copy(update={"hub_name": None}))
    assert "base.gguf has to be tiny itself" in alone
    assert "say tiny, its id where it was trained" in alone
    assert dict(parsed(alone)) == dict(parsed(modelfile(record)))


@pytest.mark.parametrize(
    "text", ["ADAPTER ./adapter.gguf\n", "FROM\n", "FROM a\nADAPT b\n", "FROM a\nFROM b\n", 'FROM a\nSYSTEM """b\n']
)
def test_what_is_no_modelfile_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"no instruction|one FROM"):
        parsed(text)


def test_quoted_values_and_comments_are_read_as_ollama_reads_them() -> None:
    text = '# a comment\n\nFROM a:b\nPARAMETER stop "user:"\nTEMPLATE """{{ .Prompt }}\nend"""\n'
    assert parsed(text) == [("FROM", "a:b"), ("PARAMETER", 'stop "user:"'), ("TEMPLATE", "{{ .Prompt }}\nend")]


@pytest.mark.parametrize("rank", [1, 2, 8, 9, 16, 33, 129, 256])
def test_vllm_is_given_the_least_room_that_a_rank_fits_into(rank: int, record: BackboneRecord) -> None:
    words = shlex.split(vllm_line(record, rank))
    room = int(words[words.index("--max-lora-rank") + 1])
    assert words[:4] == ["vllm", "serve", TEXT_HUB_NAME, "--enable-lora"]
    assert words[-2:] == ["--lora-modules", "adapter=."]
    assert room == min(allowed for allowed in VLLM_RANKS if allowed >= max(rank, 8))


def test_without_a_hub_name_the_line_for_vllm_says_what_to_put_there(record: BackboneRecord) -> None:
    alone = record.model_copy(update={"hub_name": None})
    assert shlex.split(vllm_line(alone, 4))[2] == "/path/to/tiny"
    assert "give other programs the backbone's folder" in readme(alone, 4, "LlamaForCausalLM")
    assert "give other programs" not in readme(record, 4, "LlamaForCausalLM")


def test_the_folder_has_what_vllms_rules_ask_for_and_says_how_to_serve_it(
    text_job: JobFolder, record: BackboneRecord, tmp_path: Path
) -> None:
    with zipfile.ZipFile(text_job.stage("export") / "adapter-peft.zip") as archive:
        archive.extractall(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert {"r", "lora_alpha", "target_modules"} <= config.keys()
    for refused in ("modules_to_save", "use_dora", "use_rslora", "rank_pattern", "alpha_pattern"):
        assert not config.get(refused)
    assert config.get("bias", "none") == "none"
    assert vllm_line(record, config["r"]) in (tmp_path / "README.md").read_text()
    found = [KEY.fullmatch(name) for name in load_file(tmp_path / "adapter_model.safetensors")]
    assert found
    assert all(name is not None and name["module"].rpartition(".")[2] in VLLM_MODULES for name in found)


@pytest.mark.parametrize(("network", "family"), [("llama", "llama"), ("mistral3", "mistral3"), ("qwen3_5", "qwen3.5")])
def test_the_readme_loads_the_adapter_also_onto_a_model_that_reads_pictures(
    network: str, family: str, record: BackboneRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny(network)
    FAMILIES[network].model().save_pretrained(tmp_path / "base")
    adapter = backbone.lora.new(2, 4.0, seed=1)
    for matrix in adapter.up.values():
        torch.nn.init.normal_(matrix.data, std=0.1, generator=torch.Generator().manual_seed(1))
    backbone.lora.save(adapter, tmp_path / "peft", "base", task=TEXT_TASK)
    alone = record.model_copy(update={"hub_name": None, "family": family})
    told = readme(alone, adapter.rank, type(backbone.model).__name__).partition("With vLLM")[0]
    lines = [line.strip() for line in told.splitlines() if line.startswith("    ")]
    monkeypatch.chdir(tmp_path / "peft")
    scope: dict[str, Any] = {}
    exec("\n".join(lines).replace("/path/to/tiny", str(tmp_path / "base")), scope)
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        bare, found = backbone.model(input_ids=ids).logits, scope["model"](input_ids=ids).logits
        with backbone.lora.use(adapter):
            wanted = backbone.model(input_ids=ids).logits
    assert (found - wanted).norm() <= 1e-4 * (wanted - bare).norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_vllm_knows_the_modules_of_each_family_by_these_rules(family: str) -> None:
    for path in tiny(family).lora.layers:
        assert path.rpartition(".")[2] in VLLM_MODULES
        eyes = family in ("gemma3", "gemma4", "mistral3", "qwen3_5")
        assert path.startswith("model.language_model.layers." if eyes else "model.layers.")
