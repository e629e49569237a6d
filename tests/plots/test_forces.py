from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from toyml.plots import plot_force_sizes, plot_forces, spread_out


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1), st.integers(1, 8))
def test_chosen_points_are_few_increasing_and_start_at_the_first(
    points: list[tuple[float, float]], count: int
) -> None:
    found = spread_out(points, 2.0, 3.0, count)
    assert 1 <= len(found) <= count
    assert found[0] == 0
    assert (np.diff(found) > 0).all()
    assert found[-1] < len(points)


def test_points_are_spread_by_the_way_they_go() -> None:
    assert spread_out([[i, 0] for i in range(101)], 10, 1, 4).tolist() == [0, 25, 50, 75]
    # Dwelling at the end adds nothing to look at.
    still = [[0, 0], [1, 0], [2, 0], *[[2, 0]] * 50]
    assert spread_out(still, 1, 1, 2).tolist() == [0, 1]


def test_arrows_of_one_point_are_in_proportion(ax: Axes) -> None:
    ax.set_xlim(0, 10)
    ax.set_ylim(0, 100)
    points = [[1.0, 1.0], [5.0, 50.0]]
    forces = {"gradient": [[1.0, 0.0], [1e-9, 0.0]], "momentum": [[0.0, 5.0], [0.0, 2e-8]]}
    drawn = plot_forces(ax, points, forces, longest=0.2)
    # The longest takes a fifth of the width (2 of 10) or of the height (20 of 100).
    assert np.asarray(drawn["gradient"].U) == pytest.approx([2.0, 1.0])
    assert np.asarray(drawn["momentum"].V) == pytest.approx([10.0, 20.0])
    assert np.asarray(drawn["momentum"].U).tolist() == [0, 0]


def test_sizes_of_zero_leave_a_gap_and_rounding_is_below_the_picture(ax: Axes) -> None:
    sizes = {"gradient": [1.0, 0.5, 1e-17], "the step": [0.0, 0.5, 0.25]}
    lines = plot_force_sizes(ax, [0, 1, 2], sizes)
    assert np.isnan(np.asarray(lines[1].get_ydata(), dtype=float)).tolist() == [True, False, False]
    assert ax.get_ylim() == pytest.approx((1e-10, 2.0))
    assert ax.get_yscale() == "log"
    assert lines[0].get_color() != lines[1].get_color()


def test_arrays_that_do_not_match_are_errors(ax: Axes) -> None:
    with pytest.raises(ValueError, match="for 1 points"):
        plot_forces(ax, [[0, 0]], {"gradient": [[1, 1], [2, 2]]})
    with pytest.raises(ValueError, match="for 1 points"):
        plot_forces(ax, [[0, 0]], {})
    with pytest.raises(ValueError, match="count is 0"):
        spread_out([[0, 0]], 1, 1, 0)
