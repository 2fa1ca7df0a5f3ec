"""The GGUF adapter in llama.cpp itself: the logits of another implementation, in a process without our code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import gguf
from core.method.lora.adapter import Adapter
from core.settings import Settings
from tests.consumers.bases import write_base
from tests.consumers.strangers import run_stranger
from tests.tiny_backbones import LLAMA_TARGETS
from worker.commands import smollm2

POSITIONS = 50
Logits = NDArray[np.float32]


def drawn(backbone: LanguageBackbone, spread: float) -> Adapter:
    adapter = backbone.lora.new(4, 12.0, seed=1)
    for matrix in adapter.up.values():
        matrix.data.normal_(0, spread, generator=torch.Generator().manual_seed(2))
    return adapter


def tokens(backbone: LanguageBackbone) -> list[int]:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(3, backbone.model.config.vocab_size, (POSITIONS,), generator=generator).tolist()


@torch.no_grad()
def ours(backbone: LanguageBackbone, adapter: Adapter | None) -> Logits:
    with backbone.lora.use(adapter):
        return backbone.model(input_ids=torch.tensor([tokens(backbone)]), use_cache=False).logits[0].float().numpy()


def theirs(backbone: LanguageBackbone, base: Path, adapter: Path | str) -> Logits:
    out = base.with_suffix(".npy")
    words = ",".join(map(str, tokens(backbone)))
    run_stranger("llama.py", base, adapter, out, words, cwd=base.parent)
    return np.load(out)


def same_top(one: Logits, other: Logits) -> int:
    return int((one.argmax(1) == other.argmax(1)).sum())


def compared(backbone: LanguageBackbone, adapter: Adapter, base: Path, file: Path) -> tuple[float, int, float]:
    """The largest difference of a logit, equal top tokens, and how much the adapter changes a logit."""
    wanted, found = ours(backbone, adapter), theirs(backbone, base, file)
    effect = float(np.abs(wanted - ours(backbone, None)).max())
    return float(np.abs(found - wanted).max()), same_top(found, wanted), effect


def tiny(kind: str) -> LanguageBackbone:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
    }
    model = (
        LlamaForCausalLM(LlamaConfig(**sizes, bos_token_id=None, eos_token_id=1))
        if kind == "llama"
        else Qwen2ForCausalLM(Qwen2Config(**sizes, bos_token_id=None, eos_token_id=1, tie_word_embeddings=False))
    )
    # only the network is used here
    return LanguageBackbone(model, None, max_tokens=POSITIONS, target_modules=LLAMA_TARGETS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_llama_cpp_gives_the_same_logits(kind: str, tmp_path: Path) -> None:
    backbone = tiny(kind)
    adapter, base = drawn(backbone, 0.1), tmp_path / "base.gguf"
    write_base(plain(kind), base)
    assert np.abs(theirs(backbone, base, "-") - ours(backbone, None)).max() <= 1e-3
    gguf.write(backbone, adapter, tmp_path / gguf.FILE, "tiny", {"albatross.card": "{}"})
    error, top, effect = compared(backbone, adapter, base, tmp_path / gguf.FILE)
    print(f"{kind}: error {error:.1e}, effect {effect:.2f}, top {top}")
    assert error <= 1e-3
    assert top == POSITIONS
    assert effect > 0.5


def plain(kind: str) -> LlamaForCausalLM | Qwen2ForCausalLM:
    """The same network without places for adapters."""
    backbone = tiny(kind)
    for path, layer in backbone.lora.layers.items():
        parent, _, name = path.rpartition(".")
        setattr(backbone.model.get_submodule(parent), name, layer.base)
    return backbone.model  # type: ignore[return-value]


def test_queries_and_keys_in_transformers_order_give_other_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, base = tiny("llama"), tmp_path / "base.gguf"
    write_base(plain("llama"), base)
    monkeypatch.setattr(gguf, "interleaved", lambda up, heads: up)
    adapter = drawn(backbone, 0.1)
    gguf.write(backbone, adapter, tmp_path / gguf.FILE, "tiny", {})
    error, top, _ = compared(backbone, adapter, base, tmp_path / gguf.FILE)
    assert error > 0.1
    assert top < POSITIONS


def test_a_scale_that_is_not_folded_gives_other_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, base = tiny("llama"), tmp_path / "base.gguf"
    write_base(plain("llama"), base)
    monkeypatch.setattr(gguf, "folded", lambda adapter: Adapter(4, 4.0, adapter.down, adapter.up))
    adapter = drawn(backbone, 0.1)
    gguf.write(backbone, adapter, tmp_path / gguf.FILE, "tiny", {})
    error, _, _ = compared(backbone, adapter, base, tmp_path / gguf.FILE)
    assert error > 0.1


@pytest.mark.slow
def test_llama_cpp_gives_the_logits_of_the_demo_backbone(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    folder = smollm2.prepare(settings)
    base = tmp_path / "base.gguf"
    write_base(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), base)
    backbone = LanguageBackbone.load(folder, max_tokens=POSITIONS, target_modules=LLAMA_TARGETS)
    adapter = drawn(backbone, 0.02)
    gguf.write(backbone, adapter, tmp_path / gguf.FILE, smollm2.ID, {})
    error, top, effect = compared(backbone, adapter, base, tmp_path / gguf.FILE)
    print(f"smollm2: error {error:.1e}, effect {effect:.2f}, top {top}")
    base.unlink()
    assert error <= 1e-3
    assert top == POSITIONS
    assert effect > 0.5
