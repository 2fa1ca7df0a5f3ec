"""The GGUF adapter in llama.cpp itself: the logits of another implementation, in a process without our code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import LlamaForCausalLM

from core.backbones.families import FAMILIES as TAKEN
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import gguf, llama_cpp
from core.method.lora.adapter import Adapter
from core.settings import Settings
from tests.consumers.bases import write_base
from tests.consumers.page import PAGE
from tests.consumers.strangers import run_stranger
from tests.consumers.tiny_texts import FAMILIES, TOKENS, tiny
from tests.tiny_backbones import LLAMA_TARGETS
from worker.commands import smollm2

QUICK = ("llama", "qwen2")
OTHERS = [pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES if family not in QUICK]
IN_PAIRS = ("llama", "mistral", "mistral3", "ministral3", "smollm3", "granite")
BY_TURNS = ("qwen3_5", "qwen3_5_text")
Logits = NDArray[np.float32]


def drawn(backbone: LanguageBackbone, spread: float) -> Adapter:
    adapter = backbone.lora.new(4, 12.0, seed=1)
    for matrix in adapter.up.values():
        matrix.data.normal_(0, spread, generator=torch.Generator().manual_seed(2))
    return adapter


def tokens(backbone: LanguageBackbone) -> list[int]:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(3, backbone.model.config.get_text_config().vocab_size, (TOKENS,), generator=generator).tolist()


@torch.no_grad()
def ours(backbone: LanguageBackbone, adapter: Adapter | None) -> Logits:
    with backbone.lora.use(adapter):
        return backbone.model(input_ids=torch.tensor([tokens(backbone)]), use_cache=False).logits[0].float().numpy()


def theirs(backbone: LanguageBackbone, base: Path, adapter: Path | str) -> Logits:
    out = base.with_suffix(".npy")
    words = ",".join(map(str, tokens(backbone)))
    run_stranger("llama.py", base, adapter, out, words, cwd=base.parent)
    return np.load(out)


@dataclass(frozen=True)
class Compared:
    """What llama.cpp makes of an adapter, and what it should."""

    bare: Logits
    wanted: Logits
    found: Logits

    @property
    def effect(self) -> float:
        """The largest change of a logit by the adapter."""
        return float(np.abs(self.wanted - self.bare).max())

    @property
    def largest(self) -> float:
        """The largest error of a logit."""
        return float(np.abs(self.found - self.wanted).max())

    @property
    def same_top(self) -> int:
        return int((self.found.argmax(1) == self.wanted.argmax(1)).sum())

    def relative(self, base: Logits) -> float:
        """The error of the adapter's effect, relative to it, where llama.cpp's `base` alone may err too."""
        effect = self.wanted - self.bare
        return float(np.linalg.norm(self.found - base - effect) / np.linalg.norm(effect))


def compared(backbone: LanguageBackbone, adapter: Adapter, base: Path, file: Path) -> Compared:
    return Compared(ours(backbone, None), ours(backbone, adapter), theirs(backbone, base, file))


def written(family: str, folder: Path, facts: Mapping[str, str] | None = None) -> tuple[LanguageBackbone, Adapter]:
    """Lay a family's base and an adapter of it into a folder."""
    backbone = tiny(family)
    adapter = drawn(backbone, 0.1)
    write_base(FAMILIES[family].model(), folder / "base.gguf")
    gguf.write(backbone, adapter, folder / gguf.FILE, "tiny", facts or {})
    return backbone, adapter


@pytest.mark.parametrize("family", [*QUICK, *OTHERS])
def test_llama_cpp_gives_the_same_logits(family: str, tmp_path: Path) -> None:
    backbone, adapter = written(family, tmp_path, {"albatross.card": "{}"})
    assert gguf.refusal(backbone) is None
    base = theirs(backbone, tmp_path / "base.gguf", "-")
    made = compared(backbone, adapter, tmp_path / "base.gguf", tmp_path / gguf.FILE)
    error = made.relative(base)
    print(f"{family}: {error:.1e} of the effect, {made.largest:.1e} of {made.effect:.2f}, top {made.same_top}")
    assert np.linalg.norm(base - made.bare) <= 1e-3 * np.linalg.norm(made.bare)
    assert error <= FAMILIES[family].tolerance
    assert made.effect > 0.5
    assert made.same_top == TOKENS


def test_every_family_of_the_table_was_tried() -> None:
    assert set(llama_cpp.ARCHITECTURES) == set(FAMILIES)
    assert {name for name, one in llama_cpp.ARCHITECTURES.items() if one.permuted} == set(IN_PAIRS)


def test_every_class_of_texts_that_is_taken_has_a_row() -> None:
    roots = {root for family in TAKEN.values() if "gguf" in family.exports for root in family.roots}
    assert roots == {one.root for one in FAMILIES.values()}
    assert all("gguf" in family.exports for family in TAKEN.values() if family.kind == "texts")


def test_the_page_names_the_families_of_the_table() -> None:
    listed = PAGE.partition("in llama.cpp's own names and order of rows: ")[2].partition(". The adapter goes onto")[0]
    named = re.findall(r"[a-z]+[0-9_a-z]*", listed.replace("(attention only)", "").replace(" and ", " "))
    assert set(named) == {family.removesuffix("_text") for family in llama_cpp.ARCHITECTURES}


@pytest.mark.parametrize(
    "family", ["llama", *(pytest.param(family, marks=pytest.mark.slow) for family in (*IN_PAIRS[1:], *BY_TURNS))]
)
def test_rows_in_transformers_order_give_other_logits(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "rows", lambda *_: None)
    made = compared(*written(family, tmp_path), tmp_path / "base.gguf", tmp_path / gguf.FILE)
    assert made.largest > 0.1
    assert made.same_top < TOKENS


@pytest.mark.slow
@pytest.mark.parametrize("family", BY_TURNS)
def test_columns_in_transformers_order_give_other_logits(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "columns", lambda *_: None)
    made = compared(*written(family, tmp_path), tmp_path / "base.gguf", tmp_path / gguf.FILE)
    assert made.largest > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "qwen3_moe", "gemma3_text", "olmo2", "gpt_oss"])
def test_pairs_where_llama_cpp_turns_halves_give_other_logits(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = llama_cpp.ARCHITECTURES[family]
    wrong = llama_cpp.Architecture(plain.name, plain.modules, permuted=True)
    monkeypatch.setattr(gguf, "ARCHITECTURES", {family: wrong})
    made = compared(*written(family, tmp_path), tmp_path / "base.gguf", tmp_path / gguf.FILE)
    assert made.largest > 0.1


def test_a_scale_that_is_not_folded_gives_other_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "folded", lambda adapter: Adapter(4, 4.0, adapter.down, adapter.up))
    made = compared(*written("llama", tmp_path), tmp_path / "base.gguf", tmp_path / gguf.FILE)
    assert made.largest > 0.1


@pytest.mark.long
def test_llama_cpp_gives_the_logits_of_the_demo_backbone(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    folder = smollm2.prepare(settings)
    base = tmp_path / "base.gguf"
    write_base(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), base)
    backbone = LanguageBackbone.load(folder, max_tokens=TOKENS, target_modules=LLAMA_TARGETS)
    adapter = drawn(backbone, 0.02)
    gguf.write(backbone, adapter, tmp_path / gguf.FILE, smollm2.ID, {})
    made = compared(backbone, adapter, base, tmp_path / gguf.FILE)
    print(f"smollm2: error {made.largest:.1e}, effect {made.effect:.2f}, top {made.same_top}")
    base.unlink()
    assert made.largest <= 1e-3
    assert made.same_top == TOKENS
    assert made.effect > 0.5
