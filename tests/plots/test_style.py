import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from toyml.plots import (
    SAVE_OPTIONS,
    SAVE_RC,
    STYLE,
    Style,
    add_colorbar,
    add_legend,
    new_figure,
    plot_boundaries,
    plot_curves,
    plot_landscape,
    set_title,
)
from toyml.plots.style import step_ticks


def test_importing_plots_imports_no_pyplot_torch_or_lightning():
    code = (
        "import sys, toyml.plots; "
        "print([m for m in ('torch', 'lightning', 'matplotlib.pyplot') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_equal_arrays_give_equal_files(kind):
    def picture() -> bytes:
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        grid = np.linspace(-1, 1, 9)
        plot_landscape(
            axes, grid, grid, grid[None] ** 2 + grid[:, None] ** 2, path=[[1, 1], [0, 0]]
        )
        add_legend(axes)
        buffer = io.BytesIO()
        with matplotlib.rc_context(dict(SAVE_RC)):
            figure.savefig(buffer, **SAVE_OPTIONS[kind])
        return buffer.getvalue()

    first = picture()
    assert first == picture()
    assert b"dc:date" not in first
    assert b"Matplotlib" not in first[:2000]


def test_colors_of_the_step_map_grow_strictly_darker():
    colors = STYLE.step_map(np.linspace(0, 1, 50))[:, :3]
    lightness = colors @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) < 0).all()


def test_light_of_the_loss_map_rises_with_the_loss():
    colors = STYLE.loss_map(np.linspace(0, 1, 50))[:, :3]
    assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_no_two_of_many_curves_share_color_and_dash():
    seen = {(STYLE.color(i), STYLE.dash(i)) for i in range(28)}
    assert len(seen) == 28


def test_figure_size_has_to_be_positive():
    with pytest.raises(ValueError, match="0 x 3"):
        new_figure(0, 3)


def test_a_style_of_ones_own_is_used(ax):
    (line,) = plot_curves(ax, [0, 1], {"loss": [1, 2]}, style=Style(palette=("#123456",)))
    assert line.get_color() == "#123456"


def test_titles_wrap_to_the_width_of_their_axes():
    figure = new_figure(10, 4)
    narrow, wide = figure.add_subplot(1, 4, 1), figure.add_subplot(2, 1, 2)
    text = "weights grow by a constant amount per decade of steps"
    assert len(set_title(narrow, text).get_text().split("\n")) > 1
    assert set_title(wide, text).get_text() == text


def test_titles_of_square_axes_wrap_to_the_square():
    square, free = (new_figure(10, 3).add_subplot() for _ in range(2))
    square.set_aspect("equal")
    text = "the boundary turns away from the bisector and creeps to its limit line"
    assert "\n" in set_title(square, text).get_text()
    assert "\n" not in set_title(free, text).get_text()


def test_legend_is_absent_where_nothing_is_named(ax):
    ax.plot([0, 1], [0, 1])
    assert add_legend(ax) is None


def test_legend_below_lies_below_the_axes(ax):
    plot_curves(ax, [0, 1], {"loss": [1, 2]})
    legend = add_legend(ax, below=True)
    ax.figure.draw_without_rendering()
    assert legend.get_window_extent().y1 < ax.xaxis.label.get_window_extent().y0
    assert legend.get_window_extent().y0 >= 0


def test_colorbar_of_steps_has_round_ticks_and_the_last_step(ax):
    grid = np.linspace(-1, 1, 5)
    fields = np.broadcast_to(grid, (3, 5, 5))
    drawn = plot_boundaries(ax, grid, grid, fields, [0, 10, 4000], level=0)
    bar = add_colorbar(ax, drawn.mappable, "step")
    ax.figure.draw_without_rendering()
    shown = [tick.get_text() for tick in bar.ax.get_yticklabels()]
    assert shown == ["0", "1", "10", "100", "1,000", "4,000"]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 0), (5, 5), (7, 10**6), (0, 10**6 + 1)])
def test_step_ticks_hold_both_ends_and_increase(first, last):
    ticks = step_ticks(first, last)
    assert ticks[0] == first
    assert ticks[-1] == last
    assert (np.diff(ticks) > 0).all()
