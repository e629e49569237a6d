import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.plots import new_figure, plot_line, plot_points

number = st.floats(-100, 100).filter(lambda v: v == 0 or abs(v) > 1e-3)


def test_each_class_has_its_points_color_and_marker(ax):
    zero, one = plot_points(ax, [[3, 2], [1, 1], [0, 5]], [[1], [0], [1]])
    assert zero.get_offsets().tolist() == [[1, 1]]
    assert one.get_offsets().tolist() == [[3, 2], [0, 5]]
    assert not np.array_equal(zero.get_facecolor(), one.get_facecolor())
    assert not np.array_equal(zero.get_paths()[0].vertices, one.get_paths()[0].vertices)


def test_a_class_may_be_empty(ax):
    zero, one = plot_points(ax, [[0, 0]], [0])
    assert len(zero.get_offsets()) == 1
    assert len(one.get_offsets()) == 0


@pytest.mark.parametrize(("x", "y"), [([[1, 2, 3]], [0]), ([1, 2], [0, 1]), ([[1, 2]], [0, 1])])
def test_points_of_a_wrong_shape_are_refused(ax, x, y):
    with pytest.raises(ValueError, match="give"):
        plot_points(ax, x, y)


@given(number, number, number)
def test_line_goes_through_its_solutions(a, b, c):
    if a == 0 and b == 0:
        return
    axes = new_figure().add_subplot()
    axes.set_xlim(-3, 7)
    axes.set_ylim(-2, 4)
    line = plot_line(axes, [a, b], c)
    x, y = line.get_xy1()
    assert a * x + b * y + c == pytest.approx(0, abs=1e-6)
    slope = line.get_slope()
    assert slope == float("inf") if b == 0 else slope * b == pytest.approx(-a)
    assert axes.get_xlim() == (-3, 7)


def test_a_line_far_away_does_not_stretch_the_view(ax):
    plot_points(ax, [[0, 0], [1, 1]], [0, 1])
    before = ax.get_xlim()
    plot_line(ax, [1, 0], -1000.0)
    ax.autoscale_view()
    assert ax.get_xlim() == before


@pytest.mark.parametrize("w", [[0, 0], [float("nan"), 1], [1, 2, 3]])
def test_no_line_without_a_normal(ax, w):
    with pytest.raises(ValueError, match="not both 0"):
        plot_line(ax, w, 1.0)
