"""Data points of two classes, and straight lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import AxLine
from numpy.typing import ArrayLike

from toyml.plots.style import STYLE, Style, as_points, dress


def plot_points(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    labels: Sequence[str] = ("class 0", "class 1"),
    style: Style = STYLE,
) -> list[PathCollection]:
    """Draw points of two classes, each with its own color and marker.

    Args:
        ax: Where.
        x: Coordinates [n, 2].
        y: Labels [n] or [n, 1]; above 0.5 is class 1.
        labels: Names for the legend.
        style: Colors and sizes.

    Returns:
        One collection per class.

    Raises:
        ValueError: Shapes that do not match.
    """
    points, classes = as_points(x), np.asarray(y, dtype=float).ravel() > 0.5
    if len(classes) != len(points):
        raise ValueError(f"{len(points)} points but {len(classes)} labels; give one label each")
    # Sizes fall with the crowd; past a thousand, markers as outlines make an SVG heavy.
    size = float(np.clip(style.marker_size * 20 / max(len(points), 1), 9, style.marker_size))
    artists = []
    for which in (0, 1):
        chosen = points[classes == bool(which)]
        artists.append(
            ax.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=size,
                color=style.class_colors[which],
                marker=style.class_markers[which],
                edgecolors="white",
                linewidths=0.9 if size > 20 else 0.0,
                label=labels[which],
                rasterized=len(points) > 1000,
                zorder=5,
            )
        )
    dress(ax, "$x_1$", "$x_2$", grid=False, style=style)
    return artists


def plot_values(
    ax: Axes, x: ArrayLike, y: ArrayLike, limits: tuple[float, float], *, style: Style = STYLE
) -> PathCollection:
    """Draw points in the colors of their targets.

    Args:
        ax: Where.
        x: Coordinates [n, 2].
        y: Targets [n] or [n, 1].
        limits: Targets at the ends of the scale of colors.
        style: Colors and sizes.
    """
    points = as_points(x)
    return ax.scatter(
        points[:, 0],
        points[:, 1],
        c=np.asarray(y, dtype=float).ravel(),
        cmap=style.loss_map,
        vmin=limits[0],
        vmax=limits[1],
        s=float(np.clip(style.marker_size * 20 / max(len(points), 1), 9, style.marker_size)),
        edgecolors=style.ink,
        linewidths=0.7,
        rasterized=len(points) > 1000,
        zorder=5,
    )


def plot_line(
    ax: Axes,
    w: ArrayLike,
    b: float,
    label: str = "",
    *,
    color: str | None = None,
    linestyle: str = "--",
    style: Style = STYLE,
) -> AxLine:
    """Draw the line w · x + b = 0 across the view, whatever the view is; limits stay.

    Args:
        ax: Where, with linear axes.
        w: Normal [2].
        b: Offset.
        label: Name for the legend; empty for none.
        color: Color; the ink of the style by default.
        linestyle: Dashes of matplotlib.
        style: Colors and sizes.

    Raises:
        ValueError: A normal that is zero, not finite or not [2].
    """
    normal = np.asarray(w, dtype=float).ravel()
    square = float(normal @ normal)
    if normal.shape != (2,) or not np.isfinite(square) or square == 0:
        raise ValueError(f"w is {normal.tolist()}; a line needs two finite numbers, not both 0")
    foot = -float(b) * normal / square
    slope = -normal[0] / normal[1] if normal[1] else float("inf")
    limits = ax.dataLim.frozen()
    line = ax.axline(
        (float(foot[0]), float(foot[1])),
        slope=float(slope),
        color=color or style.ink,
        linestyle=linestyle,
        linewidth=style.line_width,
        label=label or "_line",
        zorder=4,
    )
    # The foot of the normal may lie far outside; it must not stretch the view.
    ax.dataLim.set(limits)
    return line
