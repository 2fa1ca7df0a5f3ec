"""Target modules that nothing flows through are left out of the adapter, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import QwenImageTransformer2DModel
from peft import PeftModel
from PIL import Image
from torch import nn

from core.errors import InvalidInput
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.probing import leave_out_dead, left_out_told
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.model import LoraModel
from tests.core.method.lora import networks


def test_a_vision_tower_is_left_out_where_texts_are_learned_and_peft_reads_what_is_left(tmp_path: Path) -> None:
    lora = LoraModel(networks.gemma3(), ["q_proj", "v_proj", "o_proj", "down_proj"])
    whole = set(lora.layers)
    dead = lora.leave_out_dead(lambda: networks.logits(lora.model).sum(), samples=2)
    assert dead == lora.left_out
    assert set(dead) == {path for path in whole if "vision_tower" in path} == whole - set(lora.layers)
    assert isinstance(lora.model.get_submodule(dead[0]), nn.Linear)
    adapter = lora.new(2, 2.0, runs=2)
    with lora.use(adapter, samples=2):
        torch.autograd.grad(networks.logits(lora.model).sum(), adapter.parameters())  # raised before
    lora.save(adapter, tmp_path, "tiny")
    theirs = PeftModel.from_pretrained(networks.gemma3(), tmp_path)
    adapted = {
        name.removeprefix("base_model.model.") for name, part in theirs.named_modules() if hasattr(part, "lora_A")
    }
    assert adapted == set(lora.layers)
    assert lora.leave_out_dead(lambda: networks.logits(lora.model).sum(), samples=2) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tower_that_lies_elsewhere_is_left_out_too(dtype: torch.dtype) -> None:
    network = networks.gemma3().to(dtype)
    network.get_submodule("model.vision_tower").to("meta")  # as it stays in main memory beside a GPU
    lora = LoraModel(network, ["q_proj", "v_proj"])
    dead = lora.leave_out_dead(lambda: networks.logits(network).sum(), samples=2)
    assert dead
    assert all("vision_tower" in path for path in dead)
    assert {matrix.device.type for matrix in lora.new(2, 2.0).parameters()} == {"cpu"}


def test_the_text_stream_of_a_last_block_that_is_thrown_away_is_left_out() -> None:
    torch.manual_seed(0)
    network = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
    )
    texts, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool)
    inputs = {"hidden_states": torch.randn(2, 16, 16), "timestep": torch.tensor([0.2, 0.8])}
    inputs |= {"encoder_hidden_states": texts, "encoder_hidden_states_mask": mask, "img_shapes": [[(1, 4, 4)]] * 2}
    lora = LoraModel(network, ["to_q", "to_out.0", "add_q_proj", "to_add_out"])
    dead = lora.leave_out_dead(lambda: network(**inputs).sample.sum(), samples=2)
    assert dead == ("transformer_blocks.1.attn.to_add_out",)
    assert "transformer_blocks.0.attn.to_add_out" in lora.layers


def test_a_network_through_which_nothing_flows_at_all_is_refused() -> None:
    lora = LoraModel(nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)}), ["idle"])
    with pytest.raises(InvalidInput, match="Nothing that is learned flows"):
        lora.leave_out_dead(lambda: lora.model["used"](torch.ones(1, 2, requires_grad=True)).sum(), samples=1)
    tower = LoraModel(networks.gemma3(), ["model.vision_tower.**.q_proj"])
    with pytest.raises(InvalidInput, match="Nothing that is learned flows"):
        tower.leave_out_dead(lambda: networks.logits(tower.model).sum(), samples=2)


def test_a_backbone_is_looked_at_without_a_trace_and_keeps_all_that_lives(
    tiny_language: LanguageBackbone, tiny_diffusion: DiffusionBackbone
) -> None:
    texts = tiny_language.encode([{"text": "yes."}, {"text": "a few more words than that"}])
    images = tiny_diffusion.encode([{"image": Image.new("RGB", (16, 16)), "caption": words} for words in ("a", "b c")])
    for backbone, references in ((tiny_language, texts), (tiny_diffusion, images)):
        before = list(backbone.lora.layers)
        torch.manual_seed(3)
        state = torch.get_rng_state()
        assert backbone.lora.left_out is None
        assert leave_out_dead(backbone, references) == () == backbone.lora.left_out
        assert torch.equal(torch.get_rng_state(), state)
        assert list(backbone.lora.layers) == before


def test_it_is_told_what_was_left_out() -> None:
    assert left_out_told(("a.to_q",)) == (
        "The target module a.to_q is left out of the adapter: nothing that is learned flows through it."
    )
    assert left_out_told(("a.to_q", "a.to_k")) == (
        "2 target modules (a.to_q, ...) are left out of the adapter: nothing that is learned flows through them."
    )
