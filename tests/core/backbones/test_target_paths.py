"""Which modules of a model in files are adapted, by the names and sides of its tensors."""

from __future__ import annotations

import pytest

from core.backbones.families import FAMILIES
from core.backbones.folders.weights import Weight
from core.backbones.target_paths import adapted, module_paths
from core.errors import InvalidInput


def test_every_pattern_means_something() -> None:
    assert adapted(["a.q", "b.q", "b.v"], ["q", "v"]) == {"q": ["a.q", "b.q"], "v": ["b.v"]}
    with pytest.raises(InvalidInput, match="qkv"):
        adapted(["a.q"], ["q", "qkv"])


def test_embeddings_experts_and_norms_are_no_modules_to_adapt_and_convolutions_are() -> None:
    weights = {
        "model.embed_tokens.weight": (32, 8),
        "model.layers.0.mlp.experts.3.gate_proj.weight": (16, 8),
        "model.layers.0.mlp.gate.weight": (4, 8),
        "model.layers.1.mlp.router.weight": (4, 8),
        "model.norm.weight": (8,),
        "conv.weight": (8, 8, 3, 3),
        "linear_attn.conv1d.weight": (8, 1, 4),
        "proj_in.weight": (8, 8, 1, 1),
        "time_embedding.linear_1.weight": (8, 8),
        "layer.bias": (8, 8),
    }
    found = module_paths({name: Weight("F32", shape) for name, shape in weights.items()})
    assert found == ["conv", "proj_in", "time_embedding.linear_1"]


def test_of_a_multimodal_model_the_language_part_alone_is_meant_however_its_file_names_it() -> None:
    row = FAMILIES["gemma3"]
    targets = row.targets_of("Gemma3ForConditionalGeneration")
    assert row.targets_of("Gemma3ForCausalLM") == row.targets
    for prefix in ("language_model.model.", "model.language_model."):
        names = [f"{prefix}layers.0.self_attn.{each}.weight" for each in ("q_proj", "k_proj", "v_proj", "o_proj")]
        names += [f"{prefix}layers.0.mlp.{each}.weight" for each in ("gate_proj", "up_proj", "down_proj")]
        seeing = ["vision_tower.encoder.layers.0.self_attn.q_proj.weight"]
        paths = module_paths({name: Weight("BF16", (8, 8)) for name in [*names, *seeing]})
        meant = {path for found in adapted(paths, targets).values() for path in found}
        assert meant == {path for path in paths if path.startswith("model.language_model.layers.0.")}
        assert len(meant) == 7
