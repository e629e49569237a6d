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
    points = [np.asarray(line.get_xydata(), dtype=float) for line in ax.lines]
    marks = {(float(p[0, 0]), float(p[0, 1])) for p in points if len(p) == 1}
    assert marks == {(2.0, 1.0), (1.0, 1.0), (0.5, 0.5)}
    assert {text.get_text() for text in ax.texts} == {"2", "1", "diverges"}
    assert ax.get_xlim() == (0.0, 2.0)


def test_arrays_that_do_not_match_are_errors() -> None:
    ax = new_figure().add_subplot()
    with pytest.raises(ValueError, match="2 radii for 3 rates"):
        plot_radii(ax, [0, 1, 2], {"a": [1, 2]}, {}, 1.0)
    with pytest.raises(ValueError, match="no radii"):
        plot_radii(ax, [0, 1, 2], {}, {}, 1.0)
