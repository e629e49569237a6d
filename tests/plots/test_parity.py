from __future__ import annotations

import numpy as np
import pytest

from toyml import plots


def test_zero_has_a_place_on_the_logarithmic_axis() -> None:
    ax = plots.new_figure().subplots()
    deviations = {"a": [0.0, 1e-16, 0.0, 3e-15], "b": [0.0, 0.0, np.inf, 1e-12]}
    a, b = plots.plot_deviations(ax, [0, 1, 2, 3], deviations, spacing=2.2e-16, tolerance=1e-13)
    shown = np.asarray(a.get_ydata(), float)
    assert shown[0] == shown[2] == pytest.approx(1e-17)
    assert shown[[1, 3]].tolist() == [1e-16, 3e-15]
    assert np.isnan(np.asarray(b.get_ydata(), float)[2])
    assert ax.get_yscale() == "log"
    assert ax.get_yticklabels()[0].get_text() == "0"
    assert ax.get_ylim()[0] < shown[0] < 1e-12 < ax.get_ylim()[1]


def test_nothing_but_zeros_is_drawn_too() -> None:
    ax = plots.new_figure().subplots()
    (line,) = plots.plot_deviations(ax, [0, 1], {"a": [0.0, 0.0]}, spacing=2.2e-16, log_time=True)
    assert (np.asarray(line.get_ydata(), float) < 2.2e-16).all()


def test_refusals() -> None:
    ax = plots.new_figure().subplots()
    with pytest.raises(ValueError, match="no deviations"):
        plots.plot_deviations(ax, [0], {}, spacing=1e-16)
    with pytest.raises(ValueError, match="2 values for 1 steps"):
        plots.plot_deviations(ax, [0], {"a": [0.0, 1.0]}, spacing=1e-16)
    with pytest.raises(ValueError, match="at least 0"):
        plots.plot_deviations(ax, [0], {"a": [-1.0]}, spacing=1e-16)
