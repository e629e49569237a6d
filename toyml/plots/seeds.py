"""One experiment from many seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import ArrayLike, NDArray

from toyml.plots.style import STYLE, Style, dress, set_value_axis


class Outcomes(NamedTuple):
    """The artists of outcomes over seeds.

    Attributes:
        strips: One collection of seeds per setting.
        medians: One bar per setting.
        floors: One level line per floor.
        notes: Their names, at the right end.
    """

    strips: list[PathCollection]
    medians: list[Line2D]
    floors: list[Line2D]
    notes: list[Text]


class Distribution(NamedTuple):
    """The artists of a histogram over seeds: bars, rug, reference line."""

    bars: BarContainer
    rug: Line2D
    reference: Line2D | None


def plot_outcomes(
    ax: Axes,
    outcomes: Mapping[str, ArrayLike],
    *,
    quantity: str,
    setting: str,
    floors: Mapping[str, float] | None = None,
    log_value: bool = False,
    style: Style = STYLE,
) -> Outcomes:
    """Draw every seed's outcome for each setting, its median and quartiles, and known floors.

    Args:
        ax: Where.
        outcomes: Setting (such as a width) to outcomes [r].
        quantity: Label of the vertical axis.
        setting: Label of the horizontal axis.
        floors: Name to value of levels that theory knows.
        log_value: Logarithmic values.
        style: Colors and sizes.

    Raises:
        ValueError: No finite outcome; a single setting without one leaves its place empty.
    """
    drawn = Outcomes([], [], [], [])
    everything = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in outcomes.values()])
    if not np.isfinite(everything).any():
        raise ValueError(f"none of the {setting} {', '.join(outcomes)} has a finite outcome")
    for place, values in enumerate(outcomes.values()):
        series = np.asarray(values, dtype=float).ravel()
        finite = series[np.isfinite(series)]
        if not finite.size:
            continue
        strip, median = _strip(ax, place, finite, first=not drawn.strips, style=style)
        drawn.strips.append(strip)
        drawn.medians.append(median)
    for name, value in (floors or {}).items():
        drawn.floors.append(
            ax.axhline(value, color=style.ink, linestyle="--", linewidth=1.1, zorder=1)
        )
        drawn.notes.append(_note(ax, name, value, style))
    set_value_axis(ax, quantity, log_value, everything, style=style)
    ax.set_xticks(range(len(outcomes)), list(outcomes))
    ax.set_xlim(-0.6, len(outcomes) - 0.4)
    ax.grid(False, axis="x")
    dress(ax, setting, grid=False, style=style)
    return drawn


def plot_distribution(
    ax: Axes,
    values: ArrayLike,
    *,
    quantity: str,
    reference: float | None = None,
    reference_label: str = "reference",
    bins: int = 20,
    style: Style = STYLE,
) -> Distribution:
    """Draw a histogram over seeds with every seed as a tick below it.

    Args:
        ax: Where.
        values: One value per seed [r]; those that are not finite are left out.
        quantity: Label of the horizontal axis.
        reference: A value to compare with.
        reference_label: Its name.
        bins: Number of bars.
        style: Colors and sizes.

    Raises:
        ValueError: No finite value.
    """
    series = np.asarray(values, dtype=float).ravel()
    finite = series[np.isfinite(series)]
    if not finite.size:
        raise ValueError(f"none of {series.size} values is finite; nothing to draw")
    counts, edges = np.histogram(finite, bins=bins)
    bars = ax.bar(
        edges[:-1],
        counts,
        width=np.diff(edges),
        align="edge",
        color=style.color(0),
        alpha=0.75,
        edgecolor="white",
        linewidth=0.8,
    )
    (rug,) = ax.plot(
        finite,
        np.full(finite.shape, 0.02),
        "|",
        color=style.ink,
        markersize=7,
        alpha=0.6,
        transform=ax.get_xaxis_transform(),
        label="_seeds",
    )
    line = None
    if reference is not None:
        line = ax.axvline(
            reference, color=style.highlight, linewidth=style.line_width, label=reference_label
        )
    dress(ax, quantity, f"seeds (of {finite.size})", style=style)
    ax.grid(False, axis="x")
    return Distribution(bars, rug, line)


def _strip(
    ax: Axes, place: int, values: NDArray[np.float64], *, first: bool, style: Style
) -> tuple[PathCollection, Line2D]:
    # The golden ratio spreads the seeds evenly without a random generator.
    shift = (np.arange(len(values)) * 0.6180339887 % 1 - 0.5) * 0.5
    strip = ax.scatter(
        place + shift,
        values,
        s=16,
        color=style.color(0),
        alpha=0.55,
        linewidths=0,
        label="one seed" if first else "_seed",
        zorder=3,
    )
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    ax.plot(
        [place, place],
        [low, high],
        color=style.highlight,
        linewidth=5,
        alpha=0.4,
        solid_capstyle="butt",
        label="middle half" if first else "_quartiles",
        zorder=4,
    )
    (median,) = ax.plot(
        [place - 0.3, place + 0.3],
        [middle, middle],
        color=style.highlight,
        linewidth=2.4,
        label="median" if first else "_median",
        zorder=5,
    )
    return strip, median


def _note(ax: Axes, name: str, value: float, style: Style) -> Text:
    return ax.annotate(
        name,
        xy=(1.0, value),
        xycoords=ax.get_yaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=style.small_size,
        color=style.ink,
        annotation_clip=False,
    )
