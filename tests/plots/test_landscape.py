import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toyml.plots import (
    STYLE,
    add_colorbar,
    landscape_levels,
    plot_landscape,
    plot_mistrust,
    plot_path,
    plot_paths,
)

grid = np.linspace(-2, 2, 21)
bowl = grid[None] ** 2 + 3 * grid[:, None] ** 2 + 0.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(2, 30))
def test_levels_increase_and_span_every_loss(losses, count):
    levels = landscape_levels(losses, count=count)
    assert len(levels) == count + 1
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == min(losses)
    assert levels[-1] >= max(losses) - 1e-9 * max(map(abs, losses))


def test_levels_of_panels_are_shared():
    levels = landscape_levels(bowl, 10 * bowl, [np.inf, np.nan])
    assert levels[0] == bowl.min()
    assert levels[-1] == pytest.approx(10 * bowl.max())


def test_levels_need_a_finite_loss():
    with pytest.raises(ValueError, match="0 finite losses"):
        landscape_levels([np.nan])


def test_landscape_marks_path_and_minimum(ax):
    path = np.array([[1.5, 1.5], [0.5, 0.2], [9.0, 0.0]])
    drawn = plot_landscape(ax, grid, grid, bowl, path=path, minimum=[0, 0], xlabel="weight")
    assert np.column_stack(drawn.path.get_data()).tolist() == path.tolist()
    assert drawn.minimum.get_xdata().tolist() == [0]
    assert ax.get_xlim() == (-2, 2)
    assert ax.get_xlabel() == "weight"
    assert drawn.filled.levels == pytest.approx(landscape_levels(bowl))


@pytest.mark.parametrize("loss", [np.full((21, 21), 3.0), np.where(bowl > 5, np.inf, bowl)])
def test_flat_and_partly_infinite_landscapes_are_drawn(ax, loss):
    drawn = plot_landscape(ax, grid, grid, loss)
    add_colorbar(ax, drawn.filled, "loss")
    ax.figure.draw_without_rendering()


def test_a_path_ends_where_it_is_no_longer_finite(ax):
    line = plot_path(ax, [[0, 0], [1, 1], [np.inf, 2]], "run", color=STYLE.color(1))
    assert line.get_xdata().tolist() == [0, 1]
    with pytest.raises(ValueError, match="no finite point"):
        plot_path(ax, [[np.nan, 0]], "run", color=STYLE.color(1))


def test_paths_of_several_runs_differ_in_color(ax):
    plot_landscape(ax, grid, grid, bowl)
    lines = plot_paths(ax, {"plain": [[1, 1], [0, 0]], "momentum": [[1, 1], [-1, 0]]})
    assert [line.get_label() for line in lines] == ["plain", "momentum"]
    assert lines[0].get_color() != lines[1].get_color()
    assert ax.get_legend_handles_labels()[1] == ["plain", "momentum"]


def test_a_path_is_dotted_where_its_heights_are_wrong(ax):
    path = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [4, 0]])
    line = plot_mistrust(ax, path, [False, False, True, False, False])
    assert np.isnan(line.get_xdata()).tolist() == [True, False, False, False, True]
    assert ax.get_legend_handles_labels()[1] == ["here the heights are not the path's"]
    with pytest.raises(ValueError, match=r"wrong has shape \[2\] for 5 points"):
        plot_mistrust(ax, path, [True, False])
