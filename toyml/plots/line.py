"""Losses along a straight line in parameter space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from toyml.plots.style import STYLE, Style, dress


def plot_loss_line(
    ax: Axes,
    at: ArrayLike,
    losses: Mapping[str, ArrayLike],
    ends: tuple[str, str],
    *,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw losses over the line from one snapshot, at 0, to another, at 1.

    Args:
        ax: Where.
        at: Places on the line [g], increasing, 0 and 1 among or between them.
        losses: Name to losses [g]; the ends are marked on the first.
        ends: What stands at 0 and at 1.
        style: Colors and sizes.

    Returns:
        One line per loss.

    Raises:
        ValueError: No losses, or some whose length is not that of ``at``.
    """
    places = np.asarray(at, dtype=float).ravel()
    if not losses:
        raise ValueError("no losses to draw; give at least one")
    lines: list[Line2D] = []
    for index, (name, values) in enumerate(losses.items()):
        series = np.asarray(values, dtype=float).ravel()
        if len(series) != len(places):
            raise ValueError(f"{name} has {len(series)} losses for {len(places)} places")
        lines += ax.plot(
            places,
            series,
            color=style.color(index),
            linestyle=style.dash(index),
            linewidth=style.line_width,
            label=name,
        )
    own = np.asarray(next(iter(losses.values())), dtype=float).ravel()
    for place, marker, name in ((0.0, "o", ends[0]), (1.0, "s", ends[1])):
        ax.axvline(place, color=style.muted, linewidth=style.thin_width, linestyle=":", zorder=1)
        ax.plot(
            [place],
            [np.interp(place, places, own)],
            marker=marker,
            markersize=8,
            markerfacecolor="white",
            markeredgecolor=style.ink,
            linestyle="none",
            label=name,
            zorder=6,
        )
    dress(ax, "place on the line (0 and 1 are the two snapshots)", "loss", style=style)
    return lines
