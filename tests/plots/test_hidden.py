import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.plots import new_figure, plot_activations_3d, plot_hidden_lines
from toyml.plots.hidden import cut_box


def test_arrows_start_on_their_line_and_point_to_the_on_side(ax):
    ax.set_xlim(-4, 4)
    ax.set_ylim(-4, 4)
    W, b = np.array([[1.0, 2.0], [0.0, -3.0], [5.0, 0.0]]), np.array([1.0, 2.0, -5.0])
    drawn = plot_hidden_lines(ax, W, b)
    for unit, arrow in drawn.arrows.items():
        start = np.array(arrow.xyann)
        direction = np.array(arrow.xy) - start
        assert W[unit] @ start + b[unit] == pytest.approx(0, abs=1e-9)
        cosine = W[unit] @ direction / np.linalg.norm(W[unit]) / np.linalg.norm(direction)
        assert cosine == pytest.approx(1)
        assert (np.abs(start) < 4).all()
    assert [text.get_text() for text in drawn.numbers.values()] == ["1", "2", "3"]
    assert ax.get_xlim() == (-4, 4)
    ax.figure.draw_without_rendering()


def test_dead_units_have_no_line_and_lines_out_of_view_no_arrow(ax):
    ax.set_xlim(-1, 1)
    ax.set_ylim(-1, 1)
    drawn = plot_hidden_lines(ax, [[0, 0], [1, 0], [1, 1]], [1, -50, 0])
    assert list(drawn.lines) == [1, 2]
    assert list(drawn.arrows) == [2]


def test_units_have_two_weights_and_a_bias(ax):
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        plot_hidden_lines(ax, np.ones((2, 3)), [0, 0])


@pytest.mark.parametrize(
    ("v", "c", "corners"),
    [([1, 1, 1], -0.5, 3), ([1, 1, 1], -1.5, 6), ([0, 0, 1], -0.5, 4), ([1, 1, 1], 9, 0)],
)
def test_a_plane_cuts_the_unit_cube_in_the_right_polygon(v, c, corners):
    assert len(cut_box(v, c, [0, 0, 0], [1, 1, 1])) == corners


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.floats(-5, 5))
def test_corners_lie_on_plane_and_box_and_turn_one_way(v, c):
    normal = np.round(v, 3)
    corners = cut_box(normal, round(c, 3), [-1, 0, 0], [1, 2, 3])
    assert (corners >= np.array([-1, 0, 0]) - 1e-9).all()
    assert (corners <= np.array([1, 2, 3]) + 1e-9).all()
    assert corners @ normal + round(c, 3) == pytest.approx(0, abs=1e-6)
    if len(corners) > 3:
        edges = np.roll(corners, -1, axis=0) - corners
        turns = np.cross(edges, np.roll(edges, -1, axis=0)) @ normal
        assert (turns > -1e-6).all() or (turns < 1e-6).all()


def test_activations_come_with_plane_and_labels():
    axes = new_figure().add_subplot(projection="3d")
    A = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0, 1]], dtype=float)
    drawn = plot_activations_3d(axes, A, [0, 1, 1], ([1, 1, 1], -1.5), ("a", "b", "c"))
    assert drawn.plane is not None
    assert [len(p.get_offsets()) for p in drawn.points] == [1, 2]
    assert axes.get_zlabel() == "c"
    axes.figure.draw_without_rendering()


def test_no_plane_where_none_is_given_or_it_misses_the_box():
    axes = new_figure().add_subplot(projection="3d")
    A = np.eye(3)
    assert plot_activations_3d(axes, A, [0, 1, 1]).plane is None
    assert plot_activations_3d(axes, A, [0, 1, 1], ([1, 1, 1], 99)).plane is None
    axes.figure.draw_without_rendering()


def test_units_that_never_change_can_be_drawn():
    axes = new_figure().add_subplot(projection="3d")
    plot_activations_3d(axes, np.ones((4, 3)), [0, 1, 0, 1], ([0, 0, 1], -1))
    axes.figure.draw_without_rendering()


def test_activations_are_of_three_units():
    axes = new_figure().add_subplot(projection="3d")
    with pytest.raises(ValueError, match=r"\[4, 2\]"):
        plot_activations_3d(axes, np.ones((4, 2)), [0, 1, 0, 1])
