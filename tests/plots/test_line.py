from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from toyml.plots import plot_loss_line


def test_each_loss_is_a_line_and_the_ends_are_on_the_first(ax: Axes) -> None:
    at = np.array([-0.5, 0.5, 1.5])
    lines = plot_loss_line(ax, at, {"a": [0, 2, 4], "b": [9, 9, 9]}, ("start", "end"))
    assert [line.get_label() for line in lines] == ["a", "b"]
    named = {line.get_label(): line for line in ax.lines}
    assert np.asarray(named["start"].get_xydata()).tolist() == [[0, 1]]
    assert np.asarray(named["end"].get_xydata()).tolist() == [[1, 3]]


def test_arrays_that_do_not_match_are_errors(ax: Axes) -> None:
    with pytest.raises(ValueError, match="a has 2 losses for 3 places"):
        plot_loss_line(ax, [0, 0.5, 1], {"a": [1, 2]}, ("", ""))
    with pytest.raises(ValueError, match="no losses"):
        plot_loss_line(ax, [0, 1], {}, ("", ""))
