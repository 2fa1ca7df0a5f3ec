"""The average of the weights that is measured and kept."""

from __future__ import annotations

import pytest
import torch

from core.method.lora.adapter import Adapter
from core.method.training.averaging import EXPONENT, WeightAverage


def adapter(value: float = 0.0) -> Adapter:
    return Adapter(1, 1.0, {"at": torch.full((2, 1, 3), value)}, {"at": torch.full((2, 3, 1), value)})


def value_of(average: WeightAverage) -> float:
    (value,) = {float(matrix.unique()) for matrix in average.adapter.parameters()}
    return value


def run(values: list[float]) -> WeightAverage:
    newest = adapter()
    average = WeightAverage(newest)
    for step, value in enumerate(values, 1):
        for matrix in newest.parameters():
            matrix.fill_(value)
        average.update(step)
    return average


def test_the_average_weighs_every_step_by_a_power_of_its_number() -> None:
    """The discrete product of the weights is, for long runs, t^exponent: the definition of Karras et al."""
    values = [float(step % 7) for step in range(1, 401)]
    weights = [step**EXPONENT for step in range(1, 401)]
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    assert value_of(run(values)) == pytest.approx(expected, rel=0.01)


def test_nothing_of_the_beginning_stays() -> None:
    assert value_of(run([5.0])) == 5.0
    assert value_of(run([1e6, *[1.0] * 30])) == pytest.approx(1.0, abs=1e-3)


def test_the_width_grows_with_the_run() -> None:
    """A jump is taken in within the same share of the run, however long it is."""
    shares = [value_of(run([0.0] * begun + [1.0] * (begun // 10))) for begun in (50, 500)]
    assert shares == pytest.approx([0.53, 0.53], abs=0.02)


def test_a_run_that_goes_on_has_the_same_average() -> None:
    newest, saved = adapter(), run([1.0, 2.0, 3.0]).state()
    goes_on = WeightAverage(newest)
    goes_on.restore(saved)
    for matrix in newest.parameters():
        matrix.fill_(4.0)
    goes_on.update(4)
    assert value_of(goes_on) == value_of(run([1.0, 2.0, 3.0, 4.0]))


def test_a_run_of_before_there_were_averages_goes_on_from_its_weights() -> None:
    average = WeightAverage(adapter(3.0))
    average.restore(None)
    assert value_of(average) == 3.0
