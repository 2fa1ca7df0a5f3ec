"""The controls of the bench do what they are called after: a lower rate, weight decay, a price on drift."""

from collections.abc import Sequence

import pytest
import torch

from benchmarks.updates import USUAL, ChangedTraining, Updates, drifted
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches, SideBySide
from core.method.training.loop import Training

TEXTS = [{"text": "one and two"}, {"text": "three and four"}, {"text": "five"}]
RATE = 1e-2


def trained(backbone, updates: Sequence[Updates]) -> Adapter:
    references = backbone.encode(TEXTS)
    streams = [MixedBatches(backbone, references, Protection(), 2, Captions(0.0, None), seed=1) for _ in updates]
    stack = backbone.lora.new(2, 4.0, runs=len(updates), seed=3)
    list(ChangedTraining(updates, backbone, stack, SideBySide(streams), learning_rate=RATE, max_steps=8))
    return stack


def alone(backbone, rate: float, decay: float) -> Adapter:
    stream = MixedBatches(backbone, backbone.encode(TEXTS), Protection(), 2, Captions(0.0, None), seed=1)
    adapter = backbone.lora.new(2, 4.0, seed=3)
    list(Training(backbone, adapter, stream, learning_rate=rate, max_steps=8, weight_decay=decay))
    return adapter


def test_each_run_of_a_stack_has_its_own_rate_and_decay(tiny_language) -> None:
    stack = trained(tiny_language, [USUAL, Updates(rate=0.5), Updates(decay=0.3)])
    for place, (rate, decay) in enumerate([(RATE, 0.0), (RATE / 2, 0.0), (RATE, 0.3)]):
        for path, matrix in alone(tiny_language, rate, decay).up.items():
            torch.testing.assert_close(stack.up[path][place], matrix[0], rtol=2e-3, atol=2e-5)


def test_drift_is_the_squared_norm_of_what_an_adapter_adds_to_the_weights(tiny_language) -> None:
    stack = trained(tiny_language, [USUAL, USUAL])
    with torch.no_grad():
        added = [[stack.scale * stack.up[path][run] @ stack.down[path][run] for path in stack.up] for run in range(2)]
        wanted = [sum(float(matrix.square().sum()) for matrix in matrices) for matrices in added]
        assert drifted(stack).tolist() == pytest.approx(wanted, rel=1e-4)


def test_a_price_on_drift_leaves_weights_nearer_to_the_frozen_ones(tiny_language) -> None:
    with torch.no_grad():
        free, priced = drifted(trained(tiny_language, [USUAL, Updates(drift=10.0)])).tolist()
    assert priced < 0.8 * free
