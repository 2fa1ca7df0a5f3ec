"""The fast formulas against the cosine of the materialised matrices."""

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from core.method.lora.adapter import Adapter
from core.method.stopping import similarity
from core.method.stopping.similarity import CosineMode, CosineSimilarity
from tests.core.method.stacks import stack

SHAPES = {"a": (6, 5), "b": (6, 5), "c": (3, 7), "d": (6, 5)}


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {path: torch.randn(*shape, generator=generator) for path, shape in SHAPES.items()}


def adapter(seed: int, runs: int = 1, zero: tuple[str, ...] = ()) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    down = {path: torch.randn(runs, 2, width, generator=generator) for path, (_, width) in SHAPES.items()}
    up = {path: torch.randn(runs, height, 2, generator=generator) for path, (height, _) in SHAPES.items()}
    return Adapter(2, 4.0, down, {path: 0 * matrix if path in zero else matrix for path, matrix in up.items()})


class Widened(TorchFunctionMode):
    """How many numbers of bf16 tensors are made wider at once."""

    def __init__(self) -> None:
        self.floats: list[int] = []

    def __torch_function__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("float", "double", "to") and args[0].dtype == torch.bfloat16:
            self.floats.append(args[0].numel())
        return func(*args, **(kwargs or {}))


def slow(one: Adapter, mode: str, run: int = 0) -> float:
    """Form BA and take the cosine of the whole matrix, or the mean cosine of its rows."""
    values = []
    for path, weight in weights().items():
        branch = (one.up[path][run] @ one.down[path][run]).double()
        if branch.norm() == 0:
            continue
        rows = torch.cosine_similarity(branch, weight.double(), dim=1).mean()
        whole = (branch * weight).sum() / (branch.norm() * weight.double().norm())
        values.append(float(rows if mode == "row" else whole))
    return sum(values) / len(values)


@pytest.mark.parametrize("mode", ["vec", "row"])
def test_no_more_of_a_bf16_weight_than_some_rows_is_ever_copied_to_float32(
    mode: CosineMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {path: weight.bfloat16() for path, weight in weights().items()}
    wanted = CosineSimilarity({path: weight.float() for path, weight in short.items()}, mode)(adapter(1))
    monkeypatch.setattr(similarity, "FLOATS", 12)  # two rows of most
    with Widened() as widened:
        found = CosineSimilarity(short, mode)(adapter(1))
    assert torch.allclose(found, wanted, atol=1e-7)
    assert max(widened.floats) <= 12


@pytest.mark.parametrize("mode", ["vec", "row"])
def test_the_fast_formula_equals_the_materialised_cosine(mode: str) -> None:
    assert float(CosineSimilarity(weights(), mode)(adapter(1))[0]) == pytest.approx(slow(adapter(1), mode), abs=1e-7)


def test_both_modes_differ() -> None:
    assert slow(adapter(1), "vec") != pytest.approx(slow(adapter(1), "row"), abs=1e-3)


@pytest.mark.parametrize("mode", ["vec", "row"])
def test_stacked_runs_have_each_its_own_similarity(mode: str) -> None:
    both = CosineSimilarity(weights(), mode)(stack([adapter(1), adapter(2)]))
    assert both.tolist() == pytest.approx([slow(adapter(1), mode), slow(adapter(2), mode)], abs=1e-7)


def test_a_module_whose_branch_is_still_zero_is_left_out_and_not_counted_as_zero() -> None:
    some = adapter(3, zero=("a", "c"))
    assert float(CosineSimilarity(weights())(some)[0]) == pytest.approx(slow(some, "vec"), abs=1e-7)


def test_before_the_first_update_the_similarity_is_undefined() -> None:
    assert CosineSimilarity(weights())(adapter(4, zero=tuple(SHAPES))).isnan().all()


def test_the_scale_of_the_branch_does_not_matter() -> None:
    one = adapter(5)
    large = Adapter(2, 400.0, one.down, {path: 1000 * matrix for path, matrix in one.up.items()})
    assert float(CosineSimilarity(weights())(large)) == pytest.approx(float(CosineSimilarity(weights())(one)))


def test_a_half_precision_backbone_is_measured_in_full_precision() -> None:
    halves = {path: weight.bfloat16() for path, weight in weights().items()}
    whole = {path: weight.float() for path, weight in halves.items()}
    assert float(CosineSimilarity(halves)(adapter(6))) == pytest.approx(float(CosineSimilarity(whole)(adapter(6))))


def test_measuring_leaves_no_gradient_behind() -> None:
    one = adapter(7).to("cpu", trainable=True)
    assert not CosineSimilarity(weights())(one).requires_grad
