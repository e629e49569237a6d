from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from toyml import plots
from toyml.plots.classes import UNDECIDED

G = np.linspace(0, 1, 3)


def test_a_class_has_its_color_where_it_is_sure_and_none_where_it_is_not() -> None:
    ax = plots.new_figure().subplots()
    winner = np.array([[0, 1, 2]] * 3)
    lead = np.array([[1.0, 1.0, 5.0], [0.5, 0.5, 0.5], [0.0, 0.0, np.nan]])
    drawn = np.asarray(plots.plot_class_map(ax, G, G, winner, lead).get_array())
    ground, own = (np.array(to_rgb(c)) for c in (UNDECIDED, plots.STYLE.color(1)))
    assert drawn[0, 1] == pytest.approx((ground + own) / 2)
    assert drawn[1, 1] == pytest.approx((3 * ground + own) / 4)
    assert drawn[2, 1] == pytest.approx(ground)
    assert drawn[2, 2] == pytest.approx(np.ones(3))
    assert len({tuple(color) for color in drawn[0]}) == 3


def test_each_class_has_its_color_and_its_marker() -> None:
    ax = plots.new_figure().subplots()
    x = np.random.default_rng(0).random((6, 2))
    drawn = plots.plot_class_points(ax, x, [0, 0, 2, 2, 2, 6])
    assert [artist.get_label() for artist in drawn] == ["class 0", "class 2", "class 6"]
    assert np.asarray(drawn[1].get_offsets()) == pytest.approx(x[2:5])
    assert len({tuple(artist.get_facecolor()[0]) for artist in drawn}) == 3
    assert len({artist.get_paths()[0].vertices.tobytes() for artist in drawn}) == 3


@pytest.mark.parametrize("y", [[0, 1], [0, 1, 7], [0, -1, 2]])
def test_points_without_a_class_or_marker_are_refused(y: list[int]) -> None:
    with pytest.raises(ValueError, match="classes"):
        plots.plot_class_points(plots.new_figure().subplots(), np.zeros((3, 2)), y)
