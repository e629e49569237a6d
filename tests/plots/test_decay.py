import numpy as np
import pytest

from toyml.plots import plot_mark, plot_sweep, plot_swing

at = np.geomspace(1e-3, 1, 7)


def test_a_sweep_has_a_logarithmic_axis_and_its_threshold(ax):
    lines = plot_sweep(
        ax,
        at,
        {"a": at, "b": -at},
        setting="λ",
        quantity="angle",
        threshold=0.1,
        threshold_label="λ*",
    )
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("λ", "angle")
    assert [line.get_label() for line in lines] == ["a", "b"]
    assert lines[1].get_ydata().tolist() == (-at).tolist()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert ax.get_legend_handles_labels()[1] == ["a", "b", "λ*"]
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("threshold", [None, np.inf, 3.0, 1e-4])
def test_a_threshold_out_of_sight_is_not_drawn(ax, threshold):
    plot_sweep(ax, at, {"a": at}, setting="λ", quantity="q", threshold=threshold)
    assert len(ax.lines) == 1


def test_a_sweep_refuses_what_it_cannot_draw(ax):
    with pytest.raises(ValueError, match="needs them > 0"):
        plot_sweep(ax, [0.0, 1.0], {}, setting="λ", quantity="q")
    with pytest.raises(ValueError, match="a has 3 values for 7 settings"):
        plot_sweep(ax, at, {"a": [1, 2, 3]}, setting="λ", quantity="q")


def test_a_mark_is_one_point_with_a_name(ax):
    (mark,) = plot_mark(ax, 0.2, -27.8, "this training")
    assert mark.get_xydata().tolist() == [[0.2, -27.8]]
    assert ax.get_legend_handles_labels()[1] == ["this training"]


def test_a_swing_tells_right_from_wrong_side(ax):
    steps, values = np.arange(6), np.array([1, -1, 0.5, -0.5, 0.25, 0.1])
    lines = plot_swing(ax, steps, values, 0.1, values - 0.1, quantity="margin")
    labels = ax.get_legend_handles_labels()[1]
    assert {"right side", "wrong side", "theory", "exact minimum", "on the line"} == set(labels)
    assert lines[0].get_ydata().tolist() == values.tolist()
    shown = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert shown["wrong side"] == [1, 3]
    assert shown["right side"] == [0, 2, 4, 5]
    low, high = ax.get_ylim()
    assert low < -1
    assert high > 1
    ax.figure.draw_without_rendering()


def test_a_swing_on_the_right_side_shows_no_other(ax):
    plot_swing(ax, [0, 1, 2], [3, 2.5, 2.7], 2.6, [0.4, 0.1, 0.05], quantity="margin")
    labels = ax.get_legend_handles_labels()[1]
    assert "wrong side" not in labels
    assert "on the line" not in labels


def test_a_swing_refuses_lengths_that_differ(ax):
    with pytest.raises(ValueError, match="3 steps, 2 measured and 3 predicted"):
        plot_swing(ax, [0, 1, 2], [1, 2], 0.0, [1, 2, 3], quantity="margin")
