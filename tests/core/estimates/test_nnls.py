"""Fitting with coefficients of at least 0."""

from __future__ import annotations

import pytest

from core.estimates.nnls import fit


def test_coefficients_behind_exact_points_are_found() -> None:
    rows = [[1.0, 4.0], [1.0, 24.0], [1.0, 6.0], [1.0, 96.0]]
    assert fit(rows, [0.5 + 0.02 * units for _, units in rows]) == pytest.approx([0.5, 0.02], rel=1e-3)


def test_no_coefficient_is_negative() -> None:
    found = fit([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]], [0.5, 1.5, 3.5])  # an exact line would begin below 0
    assert found[0] == 0
    assert found[1] > 0.5


def test_one_point_is_explained_by_the_first_feature() -> None:
    assert fit([[8.0, 1.0]], [2.0]) == pytest.approx([0.25, 0.0])


def test_a_point_that_lies_far_off_hardly_counts() -> None:
    rows = [[float(units)] for units in range(1, 10)]
    values = [2.0 * row[0] for row in rows]
    values[4] *= 5  # the machine was busy
    assert fit(rows, values)[0] == pytest.approx(2.0, rel=0.1)


def test_without_points_everything_is_nothing() -> None:
    assert fit([], []) == []
    assert fit([[1.0, 2.0]], [0.0]) == [0.0, 0.0]
