"""The damped inverse against dense algebra, and DataInf against its published algorithm."""

import pytest
import torch
from torch import Tensor

from core.method.influence.curvature import Curvature, damping_of
from core.method.memory.measuring import peak_bytes
from tests.core.method.influence.oracles import precondition

BLOCKS = (slice(0, 7), slice(7, 12), slice(12, 20))


@pytest.fixture
def rows() -> Tensor:
    scale = torch.tensor([1.0] * 7 + [0.01] * 5 + [3.0] * 8, dtype=torch.float64)
    return torch.randn(9, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale


@pytest.fixture
def v() -> Tensor:
    return torch.randn(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def dense(v: Tensor, rows: Tensor, dampings: tuple[float, ...]) -> Tensor:
    parts = []
    for block, lam in zip(BLOCKS, dampings, strict=True):
        g = rows[:, block]
        matrix = g.T @ g / len(g) + lam * torch.eye(g.shape[1], dtype=g.dtype)
        parts.append(torch.linalg.solve(matrix, v[block]))
    return torch.cat(parts)


def test_no_more_than_one_system_is_there_beside_the_factors() -> None:
    amount, blocks = 64, [slice(at, at + 2) for at in range(0, 60, 2)]
    rows = torch.randn(amount, 60, generator=torch.Generator().manual_seed(0))
    assert peak_bytes(lambda: Curvature.of(rows, blocks)) < 1.3 * len(blocks) * amount**2 * 8


@pytest.mark.parametrize("pooled", [True, False])
def test_woodbury_is_the_dense_solve(rows: Tensor, v: Tensor, pooled: bool) -> None:
    u = precondition(v, rows, blocks=BLOCKS, pooled=pooled)
    assert torch.allclose(u, dense(v, rows, damping_of(rows, BLOCKS, pooled=pooled)), rtol=1e-8, atol=0)


def test_many_vectors_are_solved_as_one_is(rows: Tensor) -> None:
    vectors = torch.randn(3, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    curvature = Curvature.of(rows, BLOCKS)
    each = torch.stack([curvature.solve(vector) for vector in vectors])
    assert torch.allclose(curvature.solve(vectors), each, rtol=1e-10)
    assert torch.allclose(curvature.quadratic(vectors), (vectors * each).sum(1), rtol=1e-10)


def test_datainf_is_the_published_algorithm(rows: Tensor, v: Tensor) -> None:
    """The loops of DataInf's compute_hvp_proposed, with its lambda_const_param of 10."""
    expected = torch.zeros_like(v)
    for block in BLOCKS:
        lambda_const = torch.stack([(g[block] ** 2).mean() for g in rows]).mean() / 10
        hvp = torch.zeros_like(v[block])
        for g in rows:
            tmp = g[block]
            c_tmp = (v[block] * tmp).sum() / (lambda_const + (tmp**2).sum())
            hvp += (v[block] - c_tmp * tmp) / (len(rows) * lambda_const)
        expected[block] = hvp
    assert torch.allclose(precondition(v, rows, blocks=BLOCKS, mode="datainf", pooled=False), expected, rtol=1e-10)


def test_datainf_is_nearly_the_identity_where_woodbury_is_not() -> None:
    rows = torch.randn(64, 2000, generator=torch.Generator().manual_seed(0))
    v = rows[:8].mean(0)
    cosines = [
        torch.cosine_similarity(precondition(v, rows, mode=mode), v, dim=0).item() for mode in ("datainf", "identity")
    ]
    assert min(cosines) > 0.999
    assert torch.cosine_similarity(precondition(v + torch.randn(2000) / 20, rows), v, dim=0) < 0.95


def test_one_pooled_damping_keeps_a_nearly_dead_block_from_making_up_u(rows: Tensor) -> None:
    share = []
    for pooled in (True, False):
        u = precondition(rows.mean(0), rows, blocks=BLOCKS, pooled=pooled)
        share.append((u[BLOCKS[1]].norm() / u.norm()).item())
    assert share[0] < 0.1 < 0.9 < share[1]


def test_a_block_without_gradients_stays_out_of_u(rows: Tensor, v: Tensor) -> None:
    rows = rows.clone()
    rows[:, BLOCKS[1]] = 0
    for mode in ("woodbury", "datainf"):
        u = precondition(v, rows, blocks=BLOCKS, mode=mode, pooled=False)
        assert u.isfinite().all()
        assert u[BLOCKS[1]].count_nonzero() == 0


def test_float32_gradients_lose_no_accuracy_that_matters(rows: Tensor, v: Tensor) -> None:
    exact = precondition(v, rows, blocks=BLOCKS)
    assert torch.allclose(precondition(v.float(), rows.float(), blocks=BLOCKS).double(), exact, rtol=1e-3)
