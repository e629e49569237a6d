"""How every picture looks: colors, sizes, axes, legends, and the options to save with.

No plot here draws a legend, a color bar or a title by itself, because several share one Axes;
whoever composes the figure ends with ``add_legend``, ``add_colorbar`` and ``set_title``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, Colormap, FuncNorm, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
    StrMethodFormatter,
    SymmetricalLogLocator,
)
from matplotlib.transforms import Bbox, ScaledTranslation
from numpy.typing import ArrayLike, NDArray

from toyml.palette import BLUE, INK, LINES, LOSS, PROBABILITY, STEPS, UNITS, VERMILLION

# Axes of equal scale leave part of the figure empty; dpi counts for rasterized parts of an SVG too.
_CROP: Mapping[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08, "dpi": 160}
# What ``Figure.savefig`` needs beside the path for files that are equal byte by byte whenever the
# arrays are: no date, no version of the library.
SAVE_OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "png": {**_CROP, "format": "png", "metadata": {"Software": None}},
        "svg": {**_CROP, "format": "svg", "metadata": {"Date": None, "Creator": None}},
    }
)
# For ``matplotlib.rc_context`` around ``savefig``: fixed ids, and letters as outlines, so that
# an SVG looks the same where the font is missing.
SAVE_RC: Mapping[str, Any] = MappingProxyType({"svg.hashsalt": "toyml", "svg.fonttype": "path"})


def _color_map(name: str, colors: Sequence[str]) -> Callable[[], Colormap]:
    """What makes a color map: every Style has its own, because matplotlib's can be changed."""
    return lambda: LinearSegmentedColormap.from_list(name, colors)


@dataclass(frozen=True)
class Style:
    """Colors, sizes (points) and color maps of a figure.

    Attributes:
        palette: Line colors in order (Okabe and Ito, 2008; safe for color-blind eyes).
        dashes: Line styles; the next one is taken when the palette starts again.
        class_colors: Colors of class 0 and class 1.
        class_markers: Their marker shapes, so that color is never the only sign.
        probability_map: From class 0 over undecided to class 1.
        loss_map: From low to high loss, pale enough for paths drawn over it.
        step_map: From the first to the last step.
        ink: Text, axes and whatever theory says.
        muted: Ticks, guides and other quiet marks.
        grid: Grid lines.
        highlight: What the eye has to find: the end of a path, a step where runs part.
        title_size: Size of titles.
        label_size: Size of axis labels.
        small_size: Size of ticks, legends and notes.
        line_width: Width of a curve.
        thin_width: Width of guides and of curves that come in numbers.
        marker_size: Area of a data point, points squared, when there are few.
    """

    palette: tuple[str, ...] = LINES
    dashes: tuple[str, ...] = ("-", "--", "-.", ":")
    class_colors: tuple[str, str] = (BLUE, VERMILLION)
    class_markers: tuple[str, str] = ("o", "^")
    probability_map: Colormap = field(default_factory=_color_map("probability", PROBABILITY))
    loss_map: Colormap = field(default_factory=_color_map("loss", LOSS))
    step_map: Colormap = field(default_factory=_color_map("steps", STEPS))
    ink: str = INK
    muted: str = "#6B7280"
    grid: str = "#E7E9EC"
    highlight: str = VERMILLION
    title_size: float = 12.0
    label_size: float = 10.5
    small_size: float = 9.0
    line_width: float = 1.9
    thin_width: float = 1.0
    marker_size: float = 70.0

    def color(self, index: int) -> str:
        """Color of the curve with this index."""
        return self.palette[index % len(self.palette)]

    def beside_classes(self, index: int) -> tuple[str, str]:
        """Color and line style of the line with this index where classes and boundary are drawn."""
        turn, place = divmod(index, len(UNITS))
        return self.palette[UNITS[place]], self.dashes[turn % len(self.dashes)]

    def dash(self, index: int) -> str:
        """Line style of the curve with this index."""
        return self.dashes[(index // len(self.palette)) % len(self.dashes)]


STYLE = Style()


def new_figure(width: float = 7.0, height: float = 4.5, *, style: Style = STYLE) -> Figure:
    """An empty figure that pyplot never sees.

    Args:
        width: Inches, positive.
        height: Inches, positive.
        style: Colors and sizes.

    Raises:
        ValueError: A size that is not positive.
    """
    if not (width > 0 and height > 0):
        raise ValueError(f"figure size is {width} x {height}; give inches above 0")
    # "compressed" is the constrained layout for axes of equal scale: color bars stay beside them.
    return Figure(
        figsize=(width, height), layout="compressed", facecolor="white", edgecolor=style.ink
    )


def lay_out(figure: Figure) -> Bbox:
    """Lay a figure out once and for all: the next ``savefig`` finds everything in its place.

    ``savefig`` itself lays out and measures the figure anew for every format, which takes as long
    as drawing it.

    Args:
        figure: The figure; its layout engine is used up.

    Returns:
        What is to be saved of it, in inches, for ``bbox_inches``: all that is drawn, and a rim.
    """
    before = figure.dpi
    figure.dpi = _CROP["dpi"]  # letters have other widths at another resolution
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    box = figure.get_tightbbox(renderer).padded(_CROP["pad_inches"])
    figure.set_layout_engine(None)  # not "none": it leaves an engine for which savefig draws twice
    figure.dpi = before
    return box


def dress(
    ax: Axes, xlabel: str = "", ylabel: str = "", *, grid: bool = True, style: Style = STYLE
) -> None:
    """Give Axes the style; an empty label leaves the one that is there.

    Args:
        ax: Where.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        grid: Draw grid lines; pictures of a plane go without.
        style: Colors and sizes.
    """
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(style.muted)
    ax.tick_params(colors=style.muted, labelcolor=style.ink, labelsize=style.small_size)
    if xlabel:
        ax.set_xlabel(xlabel, fontsize=style.label_size, color=style.ink)
    if ylabel:
        ax.set_ylabel(ylabel, fontsize=style.label_size, color=style.ink)
    if grid:
        ax.set_axisbelow(True)
        ax.grid(True, color=style.grid, linewidth=0.8)


def set_title(ax: Axes, text: str, *, style: Style = STYLE) -> Text:
    """Write a title that says the point, left-aligned and wrapped to the width of the Axes.

    Args:
        ax: Where.
        text: One sentence.
        style: Colors and sizes.
    """
    # A letter is a little more than half as wide as it is high.
    columns = max(16, int(_width(ax) * 72 / (0.56 * style.title_size)))
    return ax.set_title(
        "\n".join(textwrap.wrap(text, columns)),
        fontsize=style.title_size,
        color=style.ink,
        loc="left",
        pad=8,
    )


def _width(ax: Axes) -> float:
    """About how many inches wide the Axes will be; the layout is not known before drawing."""
    figure, spec = ax.get_figure(root=True), ax.get_subplotspec()
    width, height = figure.get_size_inches() if figure else (7.0, 4.5)
    if spec is not None:
        grid = spec.get_gridspec()
        ratios = np.asarray(grid.get_width_ratios(), dtype=float)
        width *= ratios[spec.colspan.start : spec.colspan.stop].sum() / ratios.sum()
        height *= len(spec.rowspan) / grid.nrows
    width -= 0.8  # tick labels and the axis label
    if ax.name != "3d" and ax.get_aspect() != "auto":
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        shape = abs((right - left) / (top - bottom)) / float(ax.get_aspect())
        width = min(width, (height - 0.9) * shape + 0.3)
    return float(width)


def add_legend(
    ax: Axes, *, below: bool = False, columns: int = 1, style: Style = STYLE
) -> Legend | None:
    """Name what is drawn; ``None`` when nothing has a label.

    Args:
        ax: Where.
        below: Under the axes, where it hides nothing.
        columns: Number of columns.
        style: Colors and sizes.
    """
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return None
    place: dict[str, Any] = {"loc": "best"}
    if below:
        # Room for tick labels and the axis label, which is the same at every height of the axes.
        down = ScaledTranslation(0, -3.3 * style.label_size / 72, ax.figure.dpi_scale_trans)
        place = {
            "loc": "upper center",
            "bbox_to_anchor": (0.5, 0.0),
            "bbox_transform": ax.transAxes + down,
            "borderaxespad": 0.0,
        }
    legend = ax.legend(
        handles,
        labels,
        ncols=columns,
        fontsize=style.small_size,
        labelcolor=style.ink,
        framealpha=0.88,
        facecolor="white",
        edgecolor="none",
        handlelength=2.2,
        **place,
    )
    legend.set_zorder(20)
    return legend


def add_colorbar(
    ax: Axes | Sequence[Axes],
    mappable: ScalarMappable,
    label: str,
    *,
    ticks: Sequence[float] | None = None,
    cax: Axes | None = None,
    style: Style = STYLE,
) -> Colorbar:
    """Say what the colors mean, to the right of one or several Axes.

    Args:
        ax: The Axes it takes its room from.
        mappable: What ``plot_decision_surface``, ``plot_landscape`` and the like return.
        label: What the colors mean.
        ticks: Where to put ticks; round steps for a map over steps.
        cax: Axes for the bar itself; by default it gets new ones, and room from the others.
        style: Colors and sizes.

    Raises:
        ValueError: Axes that belong to no figure.
    """
    axes = [ax] if isinstance(ax, Axes) else list(ax)
    figure = axes[0].get_figure(root=True) if axes else None
    if figure is None:
        raise ValueError("a color bar needs Axes in a figure; these have none")
    room: dict[str, Any] = {"pad": 0.02, "fraction": 0.046, "aspect": 26} if cax is None else {}
    bar = figure.colorbar(mappable, ax=axes if cax is None else None, cax=cax, **room)
    if ticks is None and isinstance(mappable.norm, StepNorm):
        ticks = step_ticks(float(mappable.norm.vmin or 0), float(mappable.norm.vmax or 1))
    if ticks is None and isinstance(mappable.norm, BoundaryNorm):
        # Of levels too close for three digits the first.
        levels = mappable.norm.boundaries[::2].tolist()
        ticks = sorted({format_number(level): level for level in reversed(levels)}.values())
    if ticks is not None:
        bar.ax.yaxis.set_major_locator(FixedLocator(list(ticks)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(colors=style.muted, labelcolor=style.ink, labelsize=style.small_size)
    bar.set_label(label, fontsize=style.label_size, color=style.ink)
    bar.outline.set_visible(False)
    return bar


class StepNorm(FuncNorm):
    """Steps to colors by log(1 + step), so that step 0 has its place.

    Args:
        steps: The steps to be shown, [t].
    """

    def __init__(self, steps: ArrayLike) -> None:
        shown = np.asarray(steps, dtype=float)
        last = max(float(shown.max()), float(shown.min()) + 1.0)
        super().__init__((np.log1p, np.expm1), vmin=float(shown.min()), vmax=last)


def step_mappable(steps: ArrayLike, *, style: Style = STYLE) -> ScalarMappable:
    """Steps to colors, faint to strong, on a logarithmic scale that has a place for step 0."""
    norm: Normalize = StepNorm(steps)
    return ScalarMappable(norm=norm, cmap=style.step_map)


def step_colors(mappable: ScalarMappable, steps: ArrayLike) -> NDArray[np.float64]:
    """Colors [t, 4] of steps [t]."""
    return np.asarray(mappable.to_rgba(np.asarray(steps, dtype=float)), dtype=float)


def step_ticks(first: float, last: float) -> list[float]:
    """Powers of ten between two steps, and the two themselves.

    Example:
        >>> step_ticks(0, 4000)
        [0.0, 1.0, 10.0, 100.0, 1000.0, 4000.0]
        >>> step_ticks(0, 101)
        [0.0, 1.0, 10.0, 101.0]
    """
    powers = [10.0**e for e in range(int(np.log10(max(last, 1.0))) + 1)]
    # A power too near an end would write its number over the end's.
    inner = [p for p in powers if 1.9 * first < p < last / 1.9 or p == first]
    return sorted({float(first), *inner, float(last)})


def set_step_axis(ax: Axes, log_time: bool, *, style: Style = STYLE) -> None:
    """Make the horizontal axis one of steps.

    Logarithmic time is linear between steps 0 and 1, because step 0 has no logarithm.

    Args:
        ax: Where.
        log_time: Logarithmic or linear.
        style: Colors and sizes.
    """
    if log_time:
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.35)
        ax.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1.0))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
        ax.xaxis.set_minor_locator(
            SymmetricalLogLocator(base=10, linthresh=1.0, subs=list(range(2, 10)))
        )
        dress(ax, "step (logarithmic; 0 to 1 linear)", style=style)
    else:
        ax.set_xscale("linear")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 2.5, 5, 10]))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        dress(ax, "step", style=style)


def set_value_axis(
    ax: Axes, quantity: str, log_value: bool, values: ArrayLike, *, style: Style = STYLE
) -> None:
    """Make the vertical axis one of a quantity.

    A logarithmic axis with values at or below 0 becomes symmetric: linear around 0 up to the
    smallest magnitude, and its label says so.

    Args:
        ax: Where.
        quantity: Label, with the unit.
        log_value: Logarithmic or linear.
        values: Everything that is drawn.
        style: Colors and sizes.
    """
    shown = np.asarray(values, dtype=float)
    shown = shown[np.isfinite(shown)]
    if not log_value:
        ax.set_yscale("linear")
    elif (shown > 0).all():
        ax.set_yscale("log")
    else:
        positive = np.abs(shown[shown != 0])
        # Rounding noise around 0 would otherwise fill the axis with empty decades.
        floor = max(float(positive.min()), float(positive.max()) * 1e-8) if positive.size else 1.0
        ax.set_yscale("symlog", linthresh=floor)
        quantity = f"{quantity} (symmetric log)"
    dress(ax, ylabel=quantity, style=style)


def format_number(value: float) -> str:
    """A short label: whole numbers with separators, others with up to three digits.

    Every float above 2⁵³ is whole, so large ones get three digits too.

    Example:
        >>> [format_number(v) for v in (0, 10_000, 0.25, 1e6, 3.14159, 2e-7, 2.5e30)]
        ['0', '10,000', '0.25', '10⁶', '3.14', '2e-07', '2.5e+30']
    """
    if value >= 1e6 and float(np.log10(value)).is_integer():
        digits = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
        return "10" + str(int(np.log10(value))).translate(digits)
    whole = float(value).is_integer() and abs(value) < 1e12
    return f"{value:,.0f}" if whole else f"{value:.3g}"


def as_points(x: ArrayLike) -> NDArray[np.float64]:
    """Coordinates as float [n, 2].

    Raises:
        ValueError: Another shape.
    """
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points have shape {list(points.shape)}; give [n, 2]")
    return points


def as_grid(xs: ArrayLike, ys: ArrayLike, field: ArrayLike) -> NDArray[np.float64]:
    """Values on a grid, one row per y and one column per x.

    Raises:
        ValueError: A shape other than [len(ys), len(xs)].
    """
    values, wanted = np.asarray(field, dtype=np.float64), [np.size(ys), np.size(xs)]
    if list(values.shape) != wanted:
        raise ValueError(
            f"the grid has shape {list(values.shape)}; xs and ys ask for {wanted} (rows are y)"
        )
    return values
