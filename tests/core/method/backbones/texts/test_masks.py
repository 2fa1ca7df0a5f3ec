"""What is padded on the right computes as with a mask of its padding, also where only near tokens are seen."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, MistralConfig
from transformers import MistralForCausalLM as Mistral
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from core.method.backbones.texts.masks import KIND, padded_on_the_right
from tests.core.method.lora.networks import IDS, MASK, SMALL


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "all before":
        return LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    if name == "only near ones":
        return Mistral(MistralConfig(**SMALL, sliding_window=3)).eval()
    return Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=3)).eval()


@pytest.mark.parametrize("name", ["all before", "only near ones", "both by turns"])
def test_tokens_see_what_they_see_with_a_mask_of_padding(name: str) -> None:
    model = network(name)
    with torch.no_grad():
        wanted = model(input_ids=IDS, attention_mask=MASK, use_cache=False).logits
        with padded_on_the_right():
            found = model(input_ids=IDS, attention_mask=MASK, use_cache=False).logits
    assert torch.allclose(found[MASK.bool()], wanted[MASK.bool()], atol=1e-6)


def test_other_calls_are_masked_as_always() -> None:
    with padded_on_the_right():
        assert ALL_MASK_ATTENTION_FUNCTIONS[KIND] is not sdpa_mask
    assert ALL_MASK_ATTENTION_FUNCTIONS[KIND] is sdpa_mask
