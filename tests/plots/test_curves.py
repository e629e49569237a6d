import numpy as np
import pytest

from toyml.plots import plot_curves, plot_law, plot_parameters

steps = np.arange(5)


def test_curves_hold_their_values_and_names(ax):
    lines = plot_curves(ax, steps, {"loss": [5, 4, 3, 2, 1], "error": np.ones((5, 1))})
    assert [line.get_label() for line in lines] == ["loss", "error"]
    assert lines[0].get_ydata().tolist() == [5, 4, 3, 2, 1]
    assert ax.get_xlabel() == "step"


def test_one_curve_names_its_axis(ax):
    plot_curves(ax, steps, {"loss": steps})
    assert ax.get_ylabel() == "loss"


def test_values_that_are_not_finite_leave_a_gap(ax):
    (line,) = plot_curves(ax, steps, {"loss": [1, 2, np.inf, np.nan, 5]})
    assert np.isnan(line.get_ydata()[2:4]).all()
    ax.figure.draw_without_rendering()


def test_logarithmic_time_shows_step_0_and_says_so(ax):
    plot_curves(ax, steps, {"loss": steps}, log_time=True)
    low, high = ax.get_xlim()
    assert low <= 0
    assert high >= 4
    assert "0 to 1 linear" in ax.get_xlabel()
    ax.figure.draw_without_rendering()
    assert "0" in [tick.get_text() for tick in ax.get_xticklabels()]


def test_logarithmic_values_turn_symmetric_when_some_are_not_positive(ax):
    plot_curves(ax, steps, {"loss": [1, 0.1, 0, -0.1, -1]}, log_value=True)
    assert ax.get_yscale() == "symlog"
    assert "symmetric" in ax.get_ylabel()
    ax.figure.draw_without_rendering()


def test_logarithmic_values_stay_logarithmic_when_all_are_positive(ax):
    plot_curves(ax, steps, {"loss": [1, 0.1, 0.01, np.nan, 0.001]}, log_value=True)
    assert ax.get_yscale() == "log"


def test_a_curve_of_another_length_is_refused(ax):
    with pytest.raises(ValueError, match="loss has 4 values for 5 steps"):
        plot_curves(ax, steps, {"loss": [1, 2, 3, 4]})


def test_few_parameters_have_a_color_each(ax):
    lines = plot_parameters(ax, steps, np.ones((5, 3)), ["w0", "w1", "b"])
    assert len({line.get_color() for line in lines}) == 3


def test_many_parameters_share_color_and_legend_by_tensor(ax):
    names = [f"weight[0, {i}]" for i in range(8)] + ["bias[0]"]
    lines = plot_parameters(ax, steps, np.arange(45.0).reshape(5, 9), names)
    assert len({line.get_color() for line in lines[:8]}) == 1
    assert lines[0].get_color() != lines[8].get_color()
    assert ax.get_legend_handles_labels()[1] == ["weight", "bias"]
    assert lines[3].get_ydata().tolist() == [3, 12, 21, 30, 39]


def test_parameters_need_a_name_each(ax):
    with pytest.raises(ValueError, match=r"\[5, 2\]"):
        plot_parameters(ax, steps, np.ones((5, 2)), ["w"])


def test_law_lies_over_its_measurement_beside_its_limit(ax):
    measured, law, limit = plot_law(
        ax, steps, steps + 1, steps + 2, quantity="angle", limit=7.5, limit_label="limit"
    )
    assert measured.get_ydata().tolist() == [1, 2, 3, 4, 5]
    assert law.get_ydata().tolist() == [2, 3, 4, 5, 6]
    assert set(limit.get_ydata()) == {7.5}
    assert law.is_dashed()
