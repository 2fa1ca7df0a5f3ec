"""The error law against Monte Carlo and dense algebra, and gamma from request to batch slots."""

import dataclasses
import json

import pytest
import torch
from torch import Tensor

from core.method.mixing.error_law import Condition, MixingReport, error_law
from core.method.mixing.gamma import choose_gamma
from core.method.training.batches import batch_slots
from core.parameters.schedule import step_budget

D = 120


def normal(count: int, mean: Tensor, generator: torch.Generator) -> Tensor:
    return mean + torch.randn(count, len(mean), generator=generator, dtype=torch.float64)


def mean_report(
    distance: float, seed: int, *, n: int = 100, m: int = 300, gamma: float | None = None, resamples: int = 20
) -> MixingReport:
    """The law for estimating a mean: loss ||theta - x||^2 / 2, gradient theta - x, so that every curvature is I."""
    generator = torch.Generator().manual_seed(seed)
    here = torch.zeros(D, dtype=torch.float64)
    there = here + distance / D**0.5
    theta = normal(n, here, generator).mean(0)
    held, backbone = theta - normal(160, here, generator), theta - normal(160, there, generator)
    return error_law(held, backbone, n=n, m=m, gamma=gamma, resamples=resamples, grid=(0.0, 0.2, 0.4, 0.6))


def simulated_error(gamma: float, distance: float, *, n: int = 100, m: int = 300, runs: int = 400) -> float:
    """Train on the mixture again and again (closed form), and return the mean squared error."""
    generator = torch.Generator().manual_seed(99)
    here = torch.zeros(D, dtype=torch.float64)
    errors = []
    for _ in range(runs):
        reference = normal(n, here, generator).mean(0)
        backbone = normal(m, here + distance / D**0.5, generator).mean(0)
        errors.append(((1 - gamma) * reference + gamma * backbone).square().sum())
    return torch.stack(errors).mean().item()


@pytest.mark.parametrize("distance", [*(pytest.param(one, marks=pytest.mark.long) for one in (0.0, 1.0)), 0.5])
@pytest.mark.slow
def test_the_law_is_what_training_again_and_again_finds(distance: float) -> None:
    reports = [mean_report(distance, seed, resamples=1) for seed in range(20)]
    for point in range(4):
        gamma = reports[0].curve[point][0]
        predicted = sum(report.curve[point][1] for report in reports) / len(reports)
        simulated = simulated_error(gamma, distance) / simulated_error(0.0, distance)
        assert predicted == pytest.approx(simulated, rel=0.1)


def test_like_data_helps_and_unlike_data_harms() -> None:
    alike, unlike = mean_report(0.0, 0, gamma=0.5), mean_report(3.0, 0, gamma=0.5)
    assert (alike.verdict, unlike.verdict) == ("helps", "harms")
    assert alike.interval[0] <= alike.ratio <= alike.interval[1] < 1
    assert alike.gamma_star > unlike.gamma_star
    assert alike.break_even > unlike.break_even


@pytest.mark.long
def test_fewer_gradients_make_wider_intervals_and_fewer_verdicts() -> None:
    few = [report_of_so_many(3, 4, seed) for seed in range(30)]
    many = [report_of_so_many(160, 160, seed) for seed in range(3)]
    assert {report.verdict for report in many} == {"helps"}
    assert {report.verdict for report in few} == {"helps", "neutral"}
    assert min(map(width, few)) > max(map(width, many))


def report_of_so_many(held: int, backbone: int, seed: int) -> MixingReport:
    generator = torch.Generator().manual_seed(seed)
    here = torch.zeros(D, dtype=torch.float64)
    drawn = normal(held, here, generator), normal(backbone, here, generator)
    return error_law(*drawn, n=4, m=32, gamma=0.5, resamples=60)


def width(report: MixingReport) -> float:
    return report.interval[1] - report.interval[0]


def test_both_sides_of_every_condition_are_those_of_dense_algebra() -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    b = torch.randn(12, 6, generator=generator, dtype=torch.float64) + 0.3
    report = error_law(a, b, n=5, m=7, gamma=0.3, grid=(0.0, 0.3), resamples=2)
    eye = a.square().sum(1).mean() * torch.eye(6, dtype=torch.float64)
    second, spread = a.T @ a / 9, torch.cov(b.T)
    spread = spread * second.trace() / spread.trace()
    mixture, only_a, only_b = 0.7 * second + 0.3 * spread + eye, second + eye, spread + eye
    size = {
        h: (torch.linalg.solve(matrix, a.mean(0)).norm().item(), torch.linalg.solve(matrix, b.mean(0)).norm().item())
        for h, matrix in {"mix": mixture, "a": only_a, "b": only_b}.items()
    }
    assert report.proposition.left == pytest.approx(0.3 * size["mix"][1])
    assert report.proposition.right == pytest.approx(size["a"][0])
    assert report.vanishing.left == pytest.approx(0.7 * size["b"][1])
    assert report.vanishing.right == pytest.approx(size["b"][0])
    assert report.sufficient.left == pytest.approx(0.3 * size["mix"][1] + 0.7 * size["mix"][0])
    inverse = torch.linalg.inv(only_a)
    assert report.proposition_expected == pytest.approx(
        (torch.trace(inverse @ torch.cov(a.T) @ inverse) / 5).sqrt().item()
    )
    alone = torch.trace(torch.cov(a.T) @ inverse @ only_a @ inverse) / 5
    inverse = torch.linalg.inv(mixture)
    p = inverse @ only_a @ inverse
    v_a, c_b = torch.trace(torch.cov(a.T) @ p) / 5, torch.trace(torch.cov(b.T) @ p)
    mismatch = (b.mean(0) @ p @ b.mean(0) - c_b / 12 - v_a).clamp_min(0)
    assert report.curve[1][1] == pytest.approx(((0.49 * v_a + 0.09 * (c_b / 7 + mismatch)) / alone).item())


def test_the_sufficient_condition_asks_for_more_than_the_proposition() -> None:
    report = mean_report(0.5, 0, gamma=0.2)
    assert report.sufficient.left > report.proposition.left
    assert report.sufficient.right == report.proposition.right
    assert Condition(1.0, 2.0).holds
    assert not Condition(2.0, 1.0).holds


def test_the_law_needs_two_of_each() -> None:
    with pytest.raises(ValueError, match="two held-out"):
        error_law(torch.ones(1, 3), torch.ones(5, 3), n=4, m=5)


def test_a_report_can_be_written_as_json() -> None:
    report = mean_report(0.0, 0, gamma=0.5)
    assert json.loads(json.dumps(dataclasses.asdict(report)))["verdict"] == "helps"


@pytest.mark.parametrize(
    ("request_", "comparable", "preset", "expected"),
    [
        (0.4, False, "subject", 0.4),
        ("natural", False, "subject", 32 / 38),
        ("auto", False, "subject", 0.0),
        ("auto", True, "subject", 0.5),
        ("auto", True, "face", 0.5),
        ("auto", True, "style", 0.25),
        ("auto", True, "tone", 0.25),
    ],
)
def test_gamma_follows_the_request_and_the_preset(
    request_: float | str, comparable: bool, preset: str, expected: float
) -> None:
    choice = choose_gamma(request_, comparable=comparable, n=6, m=32, preset=preset)
    assert choice.gamma == pytest.approx(expected)
    assert choice.reason.endswith(".")


def test_without_selected_candidates_nothing_is_mixed() -> None:
    assert choose_gamma(0.5, comparable=False, n=6, m=0).gamma == 0


def test_slots_come_out_at_gamma_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    slots = [batch_slots(0.25, 6, generator) for _ in range(4000)]
    assert set(slots) == {1, 2}
    assert sum(slots) / len(slots) == pytest.approx(1.5, abs=0.05)
    assert {batch_slots(0.5, 6, generator) for _ in range(100)} == {3}
    assert {batch_slots(0.0, 6, generator) for _ in range(100)} == {0}


def test_the_step_budget_grows_so_that_references_are_seen_as_often() -> None:
    assert [step_budget(100, gamma) for gamma in (0.0, 0.25, 0.5, 0.9)] == [100, 134, 200, 1000]
