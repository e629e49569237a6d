import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from toyml.plots import (
    plot_basins,
    plot_fan,
    plot_limit,
    plot_map,
    plot_rate,
    plot_rate_bars,
    plot_shares,
    spaced_by_ratio,
)
from toyml.plots.sweep import edges


def test_a_rate_is_a_line_in_its_band(ax):
    drawn = plot_rate(ax, [1, 2, 3], [0, 0.5, 1], [0, 0.3, 0.7], [0.3, 0.7, 1], name="momentum 0")
    np.testing.assert_array_equal(drawn.line.get_ydata(), [0, 0.5, 1])
    band = drawn.band.get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0, 1)
    assert ax.get_legend_handles_labels()[1] == ["momentum 0"]
    assert ax.get_ylim() == (-0.03, 1.03)
    assert plot_rate(ax, [1, 2], [0, 1]).band is None
    with pytest.raises(ValueError, match=r"lengths are \[2, 1\]"):
        plot_rate(ax, [1, 2], [1], [0], [1])


def test_bars_stand_beside_each_other(ax):
    series = [
        plot_rate_bars(ax, ["1", "3"], [0, 1], [0, 0.9], [0.1, 1], index=i, count=2) for i in (0, 1)
    ]
    left, right = (drawn.lines[0].get_xdata() for drawn in series)
    assert (left < right).all()
    np.testing.assert_allclose((left + right) / 2, [0, 1])
    ends = series[0].lines[2][0].get_segments()
    np.testing.assert_allclose([e[:, 1] for e in ends], [[0, 0.1], [0.9, 1]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3"]


def test_shares_are_stacked_to_one(ax):
    colors = {"converged": "#0072B2", "plateau": "#E69F00"}
    drawn = plot_shares(ax, [1, 2], {"converged": [0.2, 1], "plateau": [0.8, 0]}, colors)
    assert [area.get_label() for area in drawn] == ["converged", "plateau"]
    assert tuple(drawn[1].get_facecolor()[0][:3]) == to_rgb("#E69F00")
    top = drawn[1].get_paths()[0].vertices
    assert {0.2, 1.0} <= set(top[:, 1])
    with pytest.raises(ValueError, match="add up to 1"):
        plot_shares(ax, [1], {"converged": [0.5]}, colors)


def test_a_map_has_a_tile_for_every_pair(ax):
    mesh = plot_map(ax, [0.01, 0.1, 1.0], [0.0, 0.5], [[0, 0.5, np.nan], [1, 1, 1]])
    assert mesh.get_array().shape == (2, 3)
    assert mesh.get_array().mask.tolist() == [[False, False, True], [False] * 3]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    np.testing.assert_allclose(
        mesh.get_coordinates()[0, :, 0], 10 ** np.array([-2.5, -1.5, -0.5, 0.5])
    )
    with pytest.raises(ValueError, match="rows are y"):
        plot_map(ax, [1, 2], [1], [[1, 2, 3]])


def test_a_limit_is_seen_on_every_tile(ax):
    line = plot_limit(ax, [1, 2], [0, 1], "limit")
    assert [art.get_label() for art in ax.lines] == ["_under", "limit"]
    assert ax.lines[0].get_linewidth() > line.get_linewidth()


def test_a_fan_holds_all_and_puts_what_diverged_on_top(ax):
    losses = np.array([[1.0, 2.0, 3.0, 4.0], [0.5, 1.0, 2.0, np.inf], [0.1, 0.2, 0.3, np.nan]])
    drawn = plot_fan(ax, [0, 10, 100], losses)
    assert [band.get_label() for band in drawn.bands] == ["all", "middle 80%", "middle 50%"]
    np.testing.assert_allclose(
        drawn.median.get_ydata(), np.median(np.nan_to_num(losses, nan=9), axis=1)
    )
    outer = drawn.bands[0].get_paths()[0].vertices
    assert outer[:, 1].min() == pytest.approx(0.1)
    assert outer[:, 1].max() == pytest.approx(4.0)
    assert outer[outer[:, 0] == 100][:, 1].max() == pytest.approx(4.0)
    ax.figure.draw_without_rendering()
    with pytest.raises(ValueError, match="none of 2 trainings"):
        plot_fan(ax, [0], [[np.nan, np.inf]])
    with pytest.raises(ValueError, match=r"give \[2, r\]"):
        plot_fan(ax, [0, 1], losses)


def test_basins_are_colored_by_place_and_paler_when_slow(ax):
    colors = ["#0072B2", "#E69F00"]
    image = plot_basins(ax, [0, 1], [0, 1, 2], [[0, 0], [1, 1], [0, 1]], [[1, 0], [1, 0], [1, 1]],
                        ["a", "b"], colors)  # fmt: skip
    pixels = image.get_array()
    np.testing.assert_allclose(pixels[0, 0], to_rgb(colors[0]))
    np.testing.assert_allclose(pixels[1, 0], to_rgb(colors[1]))
    assert (pixels[0, 1] > pixels[0, 0]).all()
    assert list(image.get_extent()) == [-0.5, 1.5, -0.5, 2.5]
    assert ax.get_legend_handles_labels()[1] == ["a", "b"]
    with pytest.raises(ValueError, match="places go from 0 to 1 for 1 names"):
        plot_basins(ax, [0, 1], [0], [[0, 1]], [[1, 1]], ["a"], colors)


def test_basins_of_uneven_starts_lie_where_the_starts_are(ax):
    plot_basins(ax, [0, 1, 10], [0, 1], [[0, 1, 0], [0, 1, 0]], np.ones((2, 3)), "ab", "kr")
    assert ax.get_xlim() == (-0.5, 14.5)
    ax.set_axis_off()
    ax.set_position((0, 0, 1, 1))
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    pixels = image[len(image) // 2]
    red = np.flatnonzero((pixels[:, 0] > 200) & (pixels[:, 1] < 50)) / len(pixels) * 15 - 0.5
    # The tile of 1 reaches halfway to 0 and halfway to 10.
    assert red.min() == pytest.approx(0.5, abs=0.1)
    assert red.max() == pytest.approx(5.5, abs=0.1)


def test_a_place_that_nobody_ends_in_is_not_named(ax):
    plot_basins(ax, [0, 1], [0], [[0, 2]], [[1, 1]], ["a", "b", "c"], ["k", "k", "k"])
    assert ax.get_legend_handles_labels()[1] == ["a", "c"]


@pytest.mark.parametrize(
    ("values", "log"),
    [
        (np.logspace(-2, 0, 7), True),
        (np.linspace(1, 2, 7), False),
        ([0.0, 0.1, 1.0], False),
        ([0.1, 1.0], False),
    ],
)
def test_which_axes_are_logarithmic(values, log):
    assert spaced_by_ratio(values) is log


def test_edges_enclose_one_value_too():
    assert edges([3.0], log=False).tolist() == [2.5, 3.5]
