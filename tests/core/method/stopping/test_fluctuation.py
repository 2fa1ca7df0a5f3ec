"""The detector against a slow offline oracle, on curves whose answer is known."""

import math
import random
from itertools import pairwise

import pytest

from core.method.stopping.fluctuation import FluctuationDetector


def offline(cs: list[float], window: int, learning_rate: float) -> list[float]:
    """Compute F by the definition: three chained windows, everything kept."""

    def moving(values: list[float]) -> list[float]:
        return [math.fsum(values[i : i + window]) / window for i in range(len(values) - window + 1)]

    averages = moving(cs)
    slopes = moving([b - a for a, b in pairwise(averages)])
    result = []
    for start in range(len(slopes) - window + 1):
        part = slopes[start : start + window]
        mean = sum(part) / window
        result.append(sum((x - mean) ** 2 for x in part) / window / learning_rate)
    return result


def offline_valleys(curve: list[float], count_initial_rise: bool = False) -> list[int]:
    """Return the indices in `curve` at which it turns from falling to rising, ties ignored."""
    valleys, sign = [], 0
    for index in range(1, len(curve)):
        change = curve[index] - curve[index - 1]
        if change == 0:
            continue
        if change > 0 and (sign < 0 or (sign == 0 and count_initial_rise)):
            valleys.append(index - 1)
        sign = 1 if change > 0 else -1
    return valleys


def watch(cs: list[float], window: int, semantics: str = "paper", every: int = 1) -> tuple[FluctuationDetector, list]:
    detector = FluctuationDetector(window, 1e-3, semantics)
    return detector, [detector.update(value, every * t) for t, value in enumerate(cs)]


def walk(seed: int, length: int = 300) -> list[float]:
    rng, level, values = random.Random(seed), 0.0, []
    for _ in range(length):
        level += rng.gauss(1e-5, 1e-4)
        values.append(level)
    return values


def logistic(center: float, width: float, length: int) -> list[float]:
    return [1 / (1 + math.exp(-(t - center) / width)) for t in range(length)]


@pytest.mark.parametrize("window", [2, 5, 7, 30])
def test_streaming_equals_the_definition(window: int) -> None:
    cs = walk(window)
    detector, curve = watch(cs, window)
    expected = offline(cs, window, 1e-3)
    assert curve[: 3 * window - 2] == [None] * (3 * window - 2)
    assert curve[3 * window - 2 :] == pytest.approx(expected, rel=1e-9)
    assert [valley.left for valley in detector.valleys] == offline_valleys(expected)


@pytest.mark.parametrize("every", [1, 7])
def test_a_valley_lies_where_the_curve_drawn_over_the_steps_it_speaks_of_has_one(every: int) -> None:
    detector, curve = FluctuationDetector(5, 1e-3), dict[int, float]()
    for number, value in enumerate(walk(3)):
        found = detector.update(value, every * number)
        assert (found is None) == (detector.left_edge is None)
        if found is not None:
            curve[detector.left_edge] = found
    assert list(curve) == [every * number for number in range(len(curve))]
    assert [curve[valley.left] for valley in detector.valleys] == [valley.value for valley in detector.valleys]
    assert detector.found == [valley.left for valley in detector.valleys[:2]]


@pytest.mark.parametrize("seed", range(20))
def test_released_semantics_counts_an_initial_rise_as_a_valley(seed: int) -> None:
    cs = walk(seed)
    detector, _ = watch(cs, 10, "released")
    assert [valley.left for valley in detector.valleys] == offline_valleys(offline(cs, 10, 1e-3), True)


def authors_stop(curve: list[float]) -> int | None:
    """Rescan everything at every evaluation with a sign left over from the scan before, as the released code does."""
    previous = None
    for now in range(1, len(curve)):
        count = 0
        for index in range(1, now + 1):
            change = curve[index] - curve[index - 1]
            if previous is not None and previous < 0 and change > 0:
                count += 1
                if count == 2:
                    return now
            previous = change
    return None


@pytest.mark.parametrize("seed", range(20))
def test_released_semantics_stops_where_the_authors_code_stops(seed: int) -> None:
    cs = walk(100 + seed)
    detector, _ = watch(cs, 8, "released")
    detected = None if detector.turning_point is None else detector.turning_point.detect - (3 * 8 - 2)
    assert detected == authors_stop(offline(cs, 8, 1e-3))


def test_a_logistic_curve_has_one_valley_at_its_steepest_point() -> None:
    detector, _ = watch(logistic(200, 25, 400), 20)
    assert len(detector.valleys) == 1
    assert detector.valleys[0].centre == pytest.approx(200, abs=2)
    assert detector.turning_point is None


def test_an_exponential_relaxation_has_no_valley_and_settles() -> None:
    detector, _ = watch([1 - math.exp(-t / 60) for t in range(500)], 20)
    assert detector.valleys == []
    assert detector.settled is not None


def test_a_two_stage_curve_turns_at_its_second_inflection() -> None:
    first, second = logistic(400, 60, 1600), logistic(1200, 60, 1600)
    detector, _ = watch([a + b for a, b in zip(first, second, strict=True)], 60)
    assert [valley.centre for valley in detector.valleys] == pytest.approx([400, 800, 1200], abs=12)
    assert detector.turning_point.centre == pytest.approx(800, abs=12)
    assert detector.informative


def from_slopes(slopes: list[int]) -> list[float]:
    """Return a CS series whose X with M = 2 are exactly these integers, so that ties are exact."""
    cs = [0, 0, 0]
    for slope in slopes:
        cs.append(4 * slope - cs[-1] + cs[-2] + cs[-3])
    return [float(value) for value in cs]


def test_a_tie_at_the_bottom_is_still_one_valley() -> None:
    """With M = 2, F is the squared half difference of two slopes."""
    detector, curve = watch(from_slopes([0, 6, 10, 14, 20, 22]), 2)
    assert [value * 1e-3 for value in curve if value is not None] == pytest.approx([9, 4, 4, 9, 1])
    assert [valley.left for valley in detector.valleys] == [2]


def test_a_tie_on_the_way_up_is_not_a_valley() -> None:
    detector, curve = watch(from_slopes([0, 2, 6, 10, 16]), 2)
    assert [value * 1e-3 for value in curve if value is not None] == pytest.approx([1, 4, 4, 9])
    assert detector.valleys == []


@pytest.mark.parametrize("window", [2, 10, 25])
def test_the_left_edge_is_3m_minus_2_evaluations_before_the_valley(window: int) -> None:
    detector, curve = watch(walk(5), window, every=4)
    valley = detector.turning_point
    bottom = valley.detect // 4 - 1
    assert curve[bottom] == valley.value
    assert bottom - valley.left // 4 == 3 * window - 2
    assert valley.left < valley.centre < valley.detect


def test_a_checkpoint_kept_for_every_pending_step_is_enough() -> None:
    detector = FluctuationDetector(10, 1e-3)
    for step, value in enumerate(walk(3)):
        detector.update(value, step)
        if detector.turning_point:
            assert detector.turning_point.left in detector.pending
            assert len(detector.pending) == 30
            return
    raise AssertionError("this walk has a second valley")


def test_the_series_begins_with_the_first_defined_similarity() -> None:
    cs = walk(4)
    plain, curve = watch(cs, 5)
    late, later = watch([math.nan, *cs], 5)
    assert later[1:] == curve
    assert [valley.left - 1 for valley in late.valleys] == [valley.left for valley in plain.valleys]


def test_noise_alone_is_not_informative_and_a_clear_bend_is() -> None:
    noisy = [watch(walk(seed), 20)[0].informative for seed in range(20)]
    rng = random.Random(1)
    clear = [value + rng.gauss(0, 1e-6) for value in logistic(100, 12, 300)]
    assert sum(noisy) <= 2
    assert watch(clear, 20)[0].informative


def test_the_noise_floor_is_the_mean_fluctuation_of_a_random_walk() -> None:
    ratios = []
    for seed in range(40):
        detector, curve = watch(walk(seed), 20)
        values = [value for value in curve if value is not None]
        ratios.append(detector.noise_floor() / (sum(values) / len(values)))
    assert sorted(ratios)[20] == pytest.approx(1.0, abs=0.35)


def test_dividing_by_the_learning_rate_moves_no_valley() -> None:
    slow, fast = FluctuationDetector(10, 1e-5), FluctuationDetector(10, 1e-2)
    for step, value in enumerate(walk(8)):
        slow.update(value, step)
        fast.update(value, step)
    assert [v.left for v in slow.valleys] == [v.left for v in fast.valleys]
