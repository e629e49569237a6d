import numpy as np
import pytest

from toyml.plots import plot_overlay


def test_runs_of_different_length_share_the_axes(ax):
    lines = plot_overlay(
        ax,
        {"a": ([0, 1, 2], [3, 2, 1]), "b": ([0, 5], [3, np.nan])},
        quantity="loss",
        part=1,
    )
    assert [line.get_label() for line in lines] == ["a", "b"]
    assert lines[1].get_xdata().tolist() == [0, 5]
    assert ax.get_legend_handles_labels()[1][-1] == "the runs part at step 1"


def test_coinciding_runs_stay_visible(ax):
    first, second = plot_overlay(
        ax, {"a": ([0, 1], [1, 2]), "b": ([0, 1], [1, 2])}, quantity="loss"
    )
    assert first.get_linewidth() > second.get_linewidth()


def test_runs_that_cannot_be_drawn_are_refused(ax):
    with pytest.raises(ValueError, match="no runs"):
        plot_overlay(ax, {}, quantity="loss")
    with pytest.raises(ValueError, match="a has 1 values for 2 steps"):
        plot_overlay(ax, {"a": ([0, 1], [1])}, quantity="loss")
