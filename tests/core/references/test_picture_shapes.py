"""The choice of the shapes that pictures are trained in: it cuts off least, and depends on nothing but sizes."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from core.references.picture_shapes import AREA, LONGEST, MOST_SHAPES, choose, kept, lost, nearest, possible

PORTRAIT, LANDSCAPE, SQUARE = (1080, 1920), (1500, 1000), (800, 800)


def pictures(seed: int) -> list[tuple[int, int]]:
    chance = random.Random(seed)
    usual = [PORTRAIT, LANDSCAPE, SQUARE, (3000, 4000), (1024, 1280), (4000, 1000)]
    odd = [(chance.randint(64, 4000), chance.randint(64, 4000)) for _ in range(4)]
    return [chance.choice(usual + odd) for _ in range(chance.randint(2, 40))]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("side", "step"), [(512, 64), (1024, 64), (520, 64), (32, 8)])
def test_no_choice_cuts_off_more_than_the_middle_squares(seed: int, side: int, step: int) -> None:
    sizes, folds = pictures(seed), 2 + seed % 3
    shapes = choose(sizes, side, step, MOST_SHAPES, folds)
    assert 1 <= len(shapes) <= MOST_SHAPES
    assert lost(sizes, shapes) <= lost(sizes, [(side, side)])
    taken = Counter(nearest(size, shapes) for size in sizes)
    assert len(shapes) == 1 or min(taken[shape] for shape in shapes) >= folds


@pytest.mark.parametrize("seed", range(10))
def test_the_choice_is_the_same_in_every_order_of_the_pictures(seed: int) -> None:
    sizes = pictures(seed)
    turned = random.Random(seed).sample(sizes, len(sizes))
    assert choose(sizes, 512, 64, 3, 2) == choose(turned, 512, 64, 3, 2) == choose(sizes[::-1], 512, 64, 3, 2)


@pytest.mark.parametrize("seed", range(6))
def test_no_other_set_of_as_many_shapes_cuts_off_less(seed: int) -> None:
    sizes, all_shapes = pictures(seed), possible(512, 64)
    two = choose(sizes, 512, 64, 2, 1)
    others = [(first, second) for first in all_shapes for second in all_shapes]
    assert lost(sizes, two) <= min(lost(sizes, other) for other in others) + 0.05 * len(sizes) + 1e-9


def test_shapes_have_about_the_area_of_the_square_and_sides_that_the_network_takes() -> None:
    for side, step in ((512, 64), (1024, 32), (768, 64), (32, 8)):
        square, *others = possible(side, step)
        assert square == (side, side)
        assert others
        for width, height in others:
            assert width % step == height % step == 0
            assert abs(width * height / side**2 - 1) <= AREA
            assert max(width, height) <= LONGEST * min(width, height)
            assert (height, width) in others


def test_portraits_of_a_phone_are_trained_upright() -> None:
    shapes = choose([PORTRAIT] * 6, 512, 64, 3, 4)
    assert shapes == ((384, 704),)
    assert kept(PORTRAIT, shapes[0]) > 0.96
    assert kept(PORTRAIT, (512, 512)) < 0.57


def test_three_kinds_of_pictures_have_three_shapes_the_commonest_first() -> None:
    sizes = [SQUARE] * 4 + [PORTRAIT] * 7 + [LANDSCAPE] * 5
    assert choose(sizes, 512, 64, 3, 4) == ((384, 704), (640, 448), (512, 512))
    assert len(choose(sizes, 512, 64, 2, 4)) == 2
    assert choose(sizes, 512, 64, 1, 4) == ((512, 512),)


def test_a_shape_with_fewer_pictures_than_folds_is_none() -> None:
    sizes = [PORTRAIT] * 3 + [LANDSCAPE] * 12
    assert len(choose(sizes, 512, 64, 3, 4)) == 1
    assert len(choose(sizes, 512, 64, 3, 3)) == 2


def test_pictures_that_fit_two_shapes_alike_are_counted_where_they_are_trained() -> None:
    sizes = [(1000, 600)] * 3 + [(600, 1000)] * 2 + [(800, 600)] * 2 + [(500, 500)]
    shapes = choose(sizes, 512, 64, 2, 3)
    assert shapes == ((640, 384), (384, 640))
    assert kept((500, 500), shapes[0]) == kept((500, 500), shapes[1])
    taken = Counter(nearest(size, shapes) for size in sizes)
    assert taken == Counter(nearest(size, shapes[::-1]) for size in sizes)
    assert min(taken.values()) == 3


def test_pictures_that_are_nearly_square_are_trained_as_squares() -> None:
    assert choose([(1000, 1040), (1000, 1000), (980, 1010)] * 3, 512, 64, 3, 2) == ((512, 512),)
