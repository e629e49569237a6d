import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.plots import choose_steps, plot_boundaries, plot_decision_surface

xs, ys = np.linspace(-2, 2, 21), np.linspace(-1, 1, 11)


def field(offset=0.0):
    return 1 / (1 + np.exp(-(xs[None] - offset + 0 * ys[:, None])))


def test_contour_of_a_surface_is_where_the_probability_is_a_half(ax):
    drawn = plot_decision_surface(ax, xs, ys, field(0.3))
    vertices = drawn.contour.get_paths()[0].vertices
    assert vertices[:, 0] == pytest.approx(0.3, abs=1e-3)
    assert drawn.mesh.get_clim() == (0, 1)


def test_a_surface_without_a_boundary_has_no_contour(ax):
    assert plot_decision_surface(ax, xs, ys, field(100)).contour is None
    assert ax.get_legend_handles_labels()[1] == []


def test_rows_of_a_grid_are_y(ax):
    with pytest.raises(ValueError, match=r"\[21, 11\].*\[11, 21\]"):
        plot_decision_surface(ax, xs, ys, field().T)


def test_values_that_are_not_finite_are_passed_over(ax):
    values = field()
    values[0, :3] = np.nan
    assert plot_decision_surface(ax, xs, ys, values).contour is not None


def test_boundaries_grow_darker_and_lie_at_their_offsets(ax):
    offsets, steps = [-1.0, 0.0, 1.0], [0, 10, 100]
    drawn = plot_boundaries(ax, xs, ys, [field(o) for o in offsets], steps)
    assert list(drawn.contours) == steps
    for offset, contour in zip(offsets, drawn.contours.values(), strict=True):
        assert contour.get_paths()[0].vertices[:, 0] == pytest.approx(offset, abs=1e-2)
    light = [c.get_edgecolor()[0][:3].sum() for c in drawn.contours.values()]
    assert light == sorted(light, reverse=True)


def test_a_step_without_a_boundary_in_view_is_absent(ax):
    drawn = plot_boundaries(ax, xs, ys, [field(100), field(0)], [0, 5])
    assert list(drawn.contours) == [5]


def test_one_grid_for_each_step(ax):
    with pytest.raises(ValueError, match="1 grids but 2 steps"):
        plot_boundaries(ax, xs, ys, [field()], [0, 1])


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True), st.integers(2, 50))
def test_chosen_steps_are_few_sorted_and_hold_both_ends(steps, count):
    chosen = choose_steps(sorted(steps), count)
    assert chosen[0] == 0
    assert chosen[-1] == len(steps) - 1
    assert len(chosen) <= count
    assert (np.diff(chosen) > 0).all()


def test_one_step_cannot_be_both_ends():
    with pytest.raises(ValueError, match="asked for 1 of 3"):
        choose_steps([0, 1, 2], 1)
