"""The stack of adapters is one mechanism; here it is held against separate runs, autograd and peft."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from core.errors import InvalidInput
from core.method.backbones.backbone import Batch, Draw, tile
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter, load
from core.method.lora.model import LoraModel
from tests.core.method.stacks import stack

TEXTS = [{"text": "a small cat."}, {"text": "two dogs and a fish"}, {"text": "why not?"}]


def drawn(backbone: LanguageBackbone, seed: int = 1, runs: int = 1) -> Adapter:
    adapter = backbone.lora.new(4, 8.0, runs=runs, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for matrix in adapter.up.values():
        matrix.data.copy_(torch.randn(matrix.shape, generator=generator) * 0.1)
    return adapter


@pytest.fixture
def batch(tiny_language: LanguageBackbone) -> Batch:
    return tiny_language.encode(TEXTS)


def test_a_fresh_adapter_changes_nothing_and_a_trained_one_does(tiny_language: LanguageBackbone, batch: Batch) -> None:
    bare = tiny_language.loss(batch, Draw())
    with tiny_language.lora.use(tiny_language.lora.new(4, 8.0)):
        assert torch.equal(tiny_language.loss(batch, Draw()), bare)
    with tiny_language.lora.use(drawn(tiny_language)):
        assert (tiny_language.loss(batch, Draw()) - bare).abs().min() > 1e-3
    assert torch.equal(tiny_language.loss(batch, Draw()), bare)


def test_each_run_of_a_stack_sees_its_own_part_of_the_batch(tiny_language: LanguageBackbone, batch: Batch) -> None:
    parts = [drawn(tiny_language, seed) for seed in (1, 2, 3)]
    with torch.no_grad(), tiny_language.lora.use(stack(parts)):
        together = tiny_language.loss(tile(batch, 3), Draw()).reshape(3, -1)
    for run, adapter in enumerate(parts):
        with torch.no_grad(), tiny_language.lora.use(adapter):
            assert torch.allclose(together[run], tiny_language.loss(batch, Draw()), atol=1e-5)


def test_copies_of_an_adapter_give_per_sample_gradients(tiny_language: LanguageBackbone, batch: Batch) -> None:
    adapter = drawn(tiny_language)
    copies = adapter.expand(3)
    with tiny_language.lora.use(copies):
        tiny_language.loss(batch, Draw()).sum().backward()
    with tiny_language.lora.use(adapter):
        single = torch.autograd.grad(tiny_language.loss(batch, Draw())[1], adapter.parameters())
    for copied, wanted in zip(copies.parameters(), single, strict=True):
        assert copied.grad is not None
        assert torch.allclose(copied.grad[1:2], wanted, atol=1e-6)


def test_the_tangent_gives_the_inner_product_of_each_gradient_with_the_direction(
    tiny_language: LanguageBackbone, batch: Batch
) -> None:
    adapter, direction = drawn(tiny_language, 1), drawn(tiny_language, 2)
    epsilon = torch.zeros(3, requires_grad=True)
    with tiny_language.lora.use(adapter), tiny_language.lora.tangent(direction, epsilon):
        (scores,) = torch.autograd.grad(tiny_language.loss(batch, Draw()).sum(), epsilon)
    for sample in range(3):
        with tiny_language.lora.use(adapter):
            gradient = torch.autograd.grad(tiny_language.loss(batch, Draw())[sample], adapter.parameters())
        wanted = sum((g * u).sum() for g, u in zip(gradient, direction.parameters(), strict=True))
        assert torch.allclose(scores[sample], torch.as_tensor(wanted), rtol=1e-4, atol=1e-6)


def test_peft_reads_the_folder_and_computes_the_same(
    tiny_language: LanguageBackbone, tiny_language_folder: Path, batch: Batch, tmp_path: Path
) -> None:
    adapter = drawn(tiny_language)
    tiny_language.lora.save(adapter, tmp_path, "tiny")
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_language_folder), tmp_path).eval()
    with torch.no_grad(), tiny_language.lora.use(adapter):
        ours = tiny_language.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        theirs = peft(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_saved_adapter_comes_back_the_same(tiny_language: LanguageBackbone, tmp_path: Path) -> None:
    adapter = drawn(tiny_language)
    tiny_language.lora.save(adapter, tmp_path, "tiny")
    assert load(tmp_path).sha256() == adapter.sha256()


def test_a_clone_is_out_of_reach_of_further_training(tiny_language: LanguageBackbone) -> None:
    adapter = drawn(tiny_language)
    kept = adapter.clone()
    before = kept.sha256()
    for matrix in adapter.parameters():
        matrix.data.add_(1.0)
    assert kept.sha256() == before != adapter.sha256()


def test_a_target_that_takes_no_adapter_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Conv1d(3, 3, 3))
    with pytest.raises(InvalidInput, match="0 is a Conv1d"):
        LoraModel(network, ["0"])


def test_a_target_that_matches_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        LoraModel(nn.Sequential(nn.Linear(2, 2)), ["nowhere"])


def test_an_adapter_of_another_network_is_an_error_and_a_module_that_it_does_not_have_stays_plain() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    lora, inputs = LoraModel(network, ["0", "1"]), torch.randn(2, 4)
    bare, whole = network(inputs), lora.new(2, 2.0)
    for matrix in whole.up.values():
        matrix.data.fill_(1.0)
    part = Adapter(2, 2.0, {"1": whole.down["1"]}, {"1": whole.up["1"]})
    with lora.use(part):
        assert not torch.allclose(network(inputs), bare)
        assert torch.equal(network[0](inputs), network[0].base(inputs))
    with (
        pytest.raises(KeyError, match="no place for the adapter's 2"),
        lora.use(Adapter(2, 2.0, {"2": whole.down["1"]}, {"2": whole.up["1"]})),
    ):
        pass


class Joins(nn.Module):
    """Joins the rows of samples of unequal length before a Linear, as a caption's embedder may."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder, self.out = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, texts: list[torch.Tensor]) -> torch.Tensor:
        parts = self.embedder(torch.cat(texts)).split([len(text) for text in texts])
        return self.out(torch.stack([part.mean(0) for part in parts]))


def test_a_stack_refuses_a_module_that_joins_the_rows_of_its_samples() -> None:
    lora, texts = LoraModel(Joins(), ["embedder", "out"]), [torch.randn(2, 4), torch.randn(6, 4)]
    two = lora.new(2, 2.0, runs=2)
    with lora.use(two):
        lora.model(texts)  # silently wrong: the first run has two rows of the second sample
    with pytest.raises(InvalidInput, match="embedder sees 8 rows of 2 samples"), lora.use(two, samples=2):
        lora.model(texts)
    with lora.use(lora.new(2, 2.0), samples=2):
        lora.model(texts)  # one run has all rows, however they are joined
    one, epsilon = lora.new(2, 2.0), torch.zeros(2, requires_grad=True)
    with pytest.raises(InvalidInput, match="embedder sees"), lora.use(one), lora.tangent(one, epsilon):
        lora.model(texts)
    last = LoraModel(Joins(), ["out"])
    with last.use(last.new(2, 2.0, runs=2), samples=2):
        last.model(texts)
