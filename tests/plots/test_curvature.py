from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from toyml.plots import plot_curvature

STEPS = np.arange(4)
SPECTRUM = np.array([[0.0, 1.0], [0.1, 2.0], [0.2, np.nan], [0.3, 1.5]])


def test_the_largest_is_told_from_the_others_and_from_the_limit(ax: Axes) -> None:
    drawn = plot_curvature(ax, STEPS, SPECTRUM, limit=np.full(4, 1.8), formula="2 / lr")
    np.testing.assert_array_equal(drawn.sharpness.get_ydata(), SPECTRUM[:, 1])
    assert len(drawn.others) == 1
    np.testing.assert_array_equal(drawn.others[0].get_ydata(), SPECTRUM[:, 0])
    assert drawn.limit is not None
    assert np.asarray(drawn.limit.get_ydata()).tolist() == [1.8] * 4
    names = ["sharpness (largest eigenvalue)", "other eigenvalues", "limit 2 / lr"]
    assert ax.get_legend_handles_labels()[1] == names
    low, high = ax.get_ylim()
    assert low < 0
    assert high > 2.0


def test_a_limit_far_above_is_a_note(ax: Axes) -> None:
    drawn = plot_curvature(ax, STEPS, SPECTRUM, limit=np.full(4, 200.0), formula="2 / lr")
    assert drawn.limit is None
    assert ax.get_ylim()[1] < 3
    (note,) = ax.texts
    assert note.get_text() == "↑ limit 2 / lr = 200, 100 times the highest curvature here"


def test_a_limit_that_moves_may_end_beyond_all_bounds(ax: Axes) -> None:
    drawn = plot_curvature(ax, STEPS, SPECTRUM, limit=[1.5, 2.0, 4.0, np.inf])
    assert drawn.limit is not None
    ax.figure.draw_without_rendering()
    assert ax.get_ylim()[1] < 10
    plot_curvature(ax, STEPS, SPECTRUM, limit=[200, 300, 400, np.inf], formula="2 / lr")
    assert ax.texts[0].get_text().startswith("↑ limit 2 / lr ≥ 200, 100 times")


def test_without_a_limit_there_is_none(ax: Axes) -> None:
    assert plot_curvature(ax, STEPS, SPECTRUM, log_time=True).limit is None
    assert not ax.texts
    assert ax.get_xscale() == "symlog"


@pytest.mark.parametrize(
    ("spectrum", "limit"), [(SPECTRUM[:3], None), (SPECTRUM[:, 0], None), (SPECTRUM, [1.0])]
)
def test_arrays_that_do_not_match_are_errors(ax: Axes, spectrum: object, limit: object) -> None:
    with pytest.raises(ValueError, match=r"the spectrum has shape .* for 4 steps"):
        plot_curvature(ax, STEPS, spectrum, limit=limit)  # type: ignore[arg-type]
