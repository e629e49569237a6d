from __future__ import annotations

import numpy as np
import pytest

from toyml.plots import new_figure, plot_radii


def test_one_line_per_optimizer_and_a_mark_at_each_limit_and_at_the_training() -> None:
    ax = new_figure().add_subplot()
    rates = np.linspace(0, 2, 41)
    radii = {"a": np.abs(1 - rates), "b": np.abs(1 - 2 * rates)}
    lines = plot_radii(ax, rates, radii, {"a": 2.0, "b": 1.0}, 0.5)
    assert [line.get_label() for line in lines] == ["a", "b"]
    marks = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in ax.lines
        if len(np.atleast_1d(line.get_xdata())) == 1
    }
    assert marks == {(2.0, 1.0), (1.0, 1.0), (0.5, 0.5)}
    assert {text.get_text() for text in ax.texts} == {"2", "1", "diverges"}
    assert ax.get_xlim() == (0.0, 2.0)


def test_arrays_that_do_not_match_are_errors() -> None:
    ax = new_figure().add_subplot()
    with pytest.raises(ValueError, match="2 radii for 3 rates"):
        plot_radii(ax, [0, 1, 2], {"a": [1, 2]}, {}, 1.0)
    with pytest.raises(ValueError, match="no radii"):
        plot_radii(ax, [0, 1, 2], {}, {}, 1.0)
