import numpy as np
import pytest

from toyml.plots import plot_fit, plot_fits, plot_step_prediction, plot_thresholds

x = np.linspace(-1, 1, 6)


def test_fit_holds_data_and_model(ax):
    drawn = plot_fit(ax, x[:, None], x[:, None] ** 2, [0, 1], [[2], [3]])
    assert np.asarray(drawn.points.get_offsets())[:, 1] == pytest.approx(x**2)
    assert drawn.line.get_ydata().tolist() == [2, 3]


def test_only_the_last_fit_is_named(ax):
    drawn = plot_fits(ax, x, x, x, [x, 2 * x, 3 * x], [0, 10, 2000])
    assert len(drawn.lines) == 3
    assert ax.get_legend_handles_labels()[1] == ["data", "model at step 2,000"]
    assert drawn.lines[2].get_ydata() == pytest.approx(3 * x)


def test_a_prediction_for_each_step(ax):
    with pytest.raises(ValueError, match="2 predictions but 1 steps"):
        plot_fits(ax, x, x, x, [x, x], [0])


def test_thresholds_point_to_where_units_are_on_and_count_those_out_of_view(ax):
    ax.set_xlim(-1, 1)
    drawn = plot_thresholds(ax, [-0.5, 0.5, 30, np.inf], [True, False, True, True])
    assert [tick.get_xdata()[0] for tick in drawn.ticks] == [-0.5, 0.5]
    right, left = (arrow.get_marker() for arrow in drawn.arrows)
    assert (right, left) == (9, 8)
    assert drawn.legend.get_label().endswith("2 of 4 out of view")
    assert ax.get_xlim() == (-1, 1)


def test_the_arrow_of_a_rising_unit_lies_right_of_its_threshold(ax):
    ax.set_xlim(-1, 1)
    (arrow,) = plot_thresholds(ax, [0.0], [True]).arrows
    marker = arrow._marker
    tip = marker.get_path().transformed(marker.get_transform()).vertices[:, 0]
    assert tip.min() >= -1e-12
    assert tip.max() > 0


def test_thresholds_need_a_direction_each(ax):
    with pytest.raises(ValueError, match="2 thresholds but 1 directions"):
        plot_thresholds(ax, [0, 1], [True])


def test_step_prediction_holds_its_pieces(ax):
    patch = plot_step_prediction(ax, [-1, 0, 1], [2, 3])
    assert patch.get_data().values.tolist() == [2, 3]
    assert patch.get_data().edges.tolist() == [-1, 0, 1]


@pytest.mark.parametrize(("edges", "why"), [([0, 1], "one edge more"), ([0, 2, 1], "sort them")])
def test_edges_that_make_no_pieces_are_refused(ax, edges, why):
    with pytest.raises(ValueError, match=why):
        plot_step_prediction(ax, edges, [1, 2])
