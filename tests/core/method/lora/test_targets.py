"""Which modules patterns choose, which are refused and why, and that peft reads the same choice from a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from core.errors import InvalidInput
from core.method.lora.adapter import Adapter
from core.method.lora.model import LoraModel
from tests.core.method.lora import networks

TEXT_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GEMMA = tuple(f"model.language_model.layers.*.**.{name}" for name in TEXT_PROJECTIONS)
GEMMA_NAMES = [  # of the three that the vision tower has too, its one layer is told apart
    *(f"1.self_attn.{name}" for name in ("k_proj", "q_proj", "v_proj")),
    *("down_proj", "gate_proj"),
    *(f"language_model.layers.0.self_attn.{name}" for name in ("k_proj", "q_proj", "v_proj")),
    *("o_proj", "up_proj"),
]
FLUX = ("transformer_blocks.*.attn.to_q", "single_transformer_blocks.*.proj_out", "single_transformer_blocks.**.to_v")
PHI = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")


def refusal(network: nn.Module, *targets: str) -> str:
    with pytest.raises(InvalidInput) as raised:
        LoraModel(network, targets)
    assert raised.value.code == "unsupported_target_module"
    return raised.value.message


def test_every_pattern_has_to_choose_something() -> None:
    told = refusal(networks.phi3(), *TEXT_PROJECTIONS)  # half of them are fused there
    assert told == "No module of the backbone is chosen by q_proj."
    assert "chosen by model.layers.*.to_q." in refusal(networks.llama(), "model.layers.*.to_q")


def test_what_takes_no_adapter_is_refused_by_name_but_passed_over_at_the_end_of_a_glob() -> None:
    assert "self_attn is a LlamaAttention" in refusal(networks.llama(), "self_attn")
    assert "input_layernorm is a LlamaRMSNorm" in refusal(networks.llama(), "model.layers.*.input_layernorm")
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    assert "0 is a Conv2d; only Linear and Conv2d, without groups or dilation" in refusal(grouped, "0")
    assert "0 is a Conv2d" in refusal(nn.Sequential(nn.Conv2d(4, 4, 3, padding_mode="circular")), "0")
    assert "0 is a Conv2d" in refusal(nn.Sequential(nn.Conv2d(4, 4, 3, dilation=2)), "0")  # peft would pass over it
    assert "chosen by *." in refusal(grouped, "*")
    layers = LoraModel(networks.llama(), ["model.layers.*.mlp.*"]).layers
    assert {path.rpartition(".")[2] for path in layers} == {"gate_proj", "up_proj", "down_proj"}


def test_a_head_that_shares_its_weights_is_refused_and_one_of_its_own_is_taken() -> None:
    tied = networks.llama(tie_word_embeddings=True)
    assert "lm_head shares its weights with another module" in refusal(tied, "lm_head")
    assert "embed_tokens shares its weights" in refusal(networks.llama(tie_word_embeddings=True), "embed_tokens")
    assert "embed_tokens is a Embedding" in refusal(networks.llama(), "embed_tokens")
    assert list(LoraModel(networks.llama(), ["lm_head"]).layers) == ["lm_head"]


def test_what_kohyas_readers_lose_is_refused() -> None:
    assert "add_embedding.linear_1 is not read" in refusal(networks.sdxl(), "add_embedding.linear_1")
    assert len(LoraModel(networks.sdxl(), ["time_embedding.linear_1"]).layers) == 1


def test_experts_can_not_be_chosen_and_it_is_said_why() -> None:
    told = refusal(networks.qwen3_moe(), "q_proj", "gate_proj")
    assert "experts' weights, such as model.layers.0.mlp.experts." in told
    assert "held as one block and take no adapter" in told
    assert "experts" not in refusal(networks.qwen3_moe(), "to_q")


def test_names_by_which_peft_would_take_experts_too_are_refused_beside_experts_only() -> None:
    mixed = nn.ModuleDict({"mlp": nn.ModuleDict({"up_proj": nn.Linear(4, 4)})})
    assert list(LoraModel(mixed, ["up_proj"]).layers) == ["mlp.up_proj"]
    mixed = nn.ModuleDict({"mlp": nn.ModuleDict({"up_proj": nn.Linear(4, 4)}), "experts": nn.ParameterDict()})
    mixed["experts"]["up_proj"] = nn.Parameter(torch.zeros(2, 4, 4))
    assert "mlp.up_proj has a name by which peft would change the network's experts too" in refusal(mixed, "up_proj")


def drawn(lora: LoraModel, seed: int = 1) -> Adapter:
    adapter = lora.new(4, 8.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for matrix in adapter.up.values():
        matrix.data.copy_(torch.randn(matrix.shape, generator=generator) * 0.1)
    return adapter


@pytest.mark.parametrize(
    ("make", "targets", "call", "count", "names"),
    [
        pytest.param(networks.gemma3, GEMMA, networks.logits, 14, GEMMA_NAMES, id="gemma3 without its vision tower"),
        pytest.param(
            networks.qwen3_moe, TEXT_PROJECTIONS[:4], networks.logits, 8, sorted(TEXT_PROJECTIONS[:4]), id="qwen3-moe"
        ),
        pytest.param(networks.phi3, PHI, networks.logits, 8, sorted(PHI), id="phi3"),
        pytest.param(
            networks.flux,
            FLUX,
            networks.packed,
            5,
            [
                *("0.proj_out", "1.attn.to_v", "1.proj_out"),
                *("single_transformer_blocks.0.attn.to_v", "transformer_blocks.0.attn.to_q"),
            ],
            id="flux",
        ),
        pytest.param(
            networks.unet, ("to_q", "to_out.0", "conv1"), networks.noise, None, ["conv1", "to_out.0", "to_q"], id="unet"
        ),
    ],
)
def test_peft_adapts_exactly_the_same_modules_from_the_folder_and_computes_the_same(
    make: Callable[[], nn.Module],
    targets: tuple[str, ...],
    call: Callable[[nn.Module], Tensor],
    count: int | None,
    names: list[str] | None,
    tmp_path: Path,
) -> None:
    lora = LoraModel(make(), targets)
    assert count in (None, len(lora.layers))
    adapter = drawn(lora)
    lora.save(adapter, tmp_path, "tiny")
    written = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert names is None or written == names
    theirs = PeftModel.from_pretrained(make(), tmp_path).eval()  # a warning would fail the test
    adapted = {
        name.removeprefix("base_model.model.") for name, part in theirs.named_modules() if hasattr(part, "lora_A")
    }
    assert adapted == set(lora.layers)
    with torch.no_grad(), lora.use(adapter):
        ours, bare = call(lora.model), call(make())
        assert (call(theirs) - ours).norm() < 1e-5 * (ours - bare).norm()


def test_no_key_is_missing_or_left_over_in_peft(tmp_path: Path) -> None:
    lora = LoraModel(networks.gemma3(), GEMMA)
    lora.save(drawn(lora), tmp_path, "tiny")
    theirs = PeftModel.from_pretrained(networks.gemma3(), tmp_path)
    loaded = theirs.load_adapter(tmp_path, "again")
    assert loaded.unexpected_keys == []
    assert [key for key in loaded.missing_keys if "lora_" in key] == []
