"""The loss over a plane in parameter space, with the path of the training on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.contour import QuadContourSet
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import ArrayLike, NDArray

from toyml.plots.style import STYLE, Style, as_grid, as_points, dress


class Landscape(NamedTuple):
    """The artists of a landscape.

    Attributes:
        filled: The colors; give it to ``add_colorbar``.
        lines: Contour lines at the same levels.
        path: The line of the path, where given.
        minimum: The marker of the minimum, where given.
    """

    filled: QuadContourSet
    lines: QuadContourSet
    path: Line2D | None
    minimum: Line2D | None


def landscape_levels(
    *losses: ArrayLike, count: int = 15, decades: float = 4.0
) -> NDArray[np.float64]:
    """Levels whose height above the lowest loss grows geometrically; for panels to share.

    Args:
        losses: Grids of losses, any shapes; values that are not finite are passed over.
        count: Number of bands, 2 or more.
        decades: Powers of ten between the lowest and the highest band.

    Returns:
        count + 1 increasing levels, from the lowest loss to the highest.

    Raises:
        ValueError: No finite loss, or fewer than two bands.

    Example:
        >>> landscape_levels([0.0, 1.0], count=3, decades=2)
        array([0.  , 0.01, 0.1 , 1.  ])
    """
    values = np.concatenate([np.asarray(loss, dtype=float).ravel() for loss in losses])
    values = values[np.isfinite(values)]
    if not values.size or count < 2:
        raise ValueError(
            f"{values.size} finite losses and {count} bands; give a finite loss and 2 or more bands"
        )
    low, height = float(values.min()), float(np.ptp(values))
    # A flat landscape still needs levels that increase.
    height = max(height, 1e-9 * max(abs(low), 1.0))
    return low + height * np.concatenate([[0.0], np.logspace(-decades, 0, count)])


def plot_landscape(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    loss: ArrayLike,
    *,
    levels: ArrayLike | None = None,
    path: ArrayLike | None = None,
    path_label: str = "path of the training",
    minimum: ArrayLike | None = None,
    xlabel: str = "first parameter",
    ylabel: str = "second parameter",
    style: Style = STYLE,
) -> Landscape:
    """Draw the loss over a plane, in bands that get finer towards the minimum.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g'].
        loss: Losses [g', g]; values that are not finite are left white.
        levels: Increasing levels; ``landscape_levels`` of this grid by default. Panels that are
            to be compared share those of all their grids.
        path: Points of the training in the plane [t, 2].
        path_label: Name of the path for the legend.
        minimum: Where the loss is least [2].
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not match.
    """
    values = as_grid(xs, ys, loss)
    bands = landscape_levels(values) if levels is None else np.asarray(levels, dtype=float)
    masked = np.ma.masked_invalid(values)
    filled = ax.contourf(
        np.asarray(xs),
        np.asarray(ys),
        masked,
        levels=bands,
        cmap=style.loss_map,
        norm=BoundaryNorm(bands, style.loss_map.N),
        extend="max" if levels is not None and np.nanmax(values) > bands[-1] else "neither",
        zorder=0,
    )
    lines = ax.contour(
        np.asarray(xs),
        np.asarray(ys),
        masked,
        levels=bands[1:-1],
        colors="white",
        linewidths=0.5,
        alpha=0.7,
        zorder=1,
    )
    ax.autoscale(False)  # a path that leaves the window is cut, and does not shrink the picture
    star = None if minimum is None else plot_minimum(ax, minimum, style=style)
    drawn = None
    if path is not None:
        drawn = plot_path(ax, path, path_label, color=style.highlight, style=style)
    dress(ax, xlabel, ylabel, grid=False, style=style)
    return Landscape(filled, lines, drawn, star)


def plot_path(
    ax: Axes,
    path: ArrayLike,
    label: str,
    *,
    color: str,
    linestyle: str = "-",
    style: Style = STYLE,
) -> Line2D:
    """Draw the path of a training: an open circle at its start, a filled square at its end.

    Args:
        ax: Where.
        path: Points [t, 2], in order; a point that is not finite ends the line.
        label: Name for the legend.
        color: Color.
        linestyle: Dashes of matplotlib.
        style: Colors and sizes.

    Raises:
        ValueError: No points, or another shape.
    """
    points = as_points(path)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ValueError(f"the path {label!r} has no finite point; give at least one")
    halo = [Stroke(linewidth=style.line_width + 1.8, foreground="white"), Normal()]
    (line,) = ax.plot(
        points[:, 0],
        points[:, 1],
        color=color,
        linestyle=linestyle,
        linewidth=style.line_width,
        path_effects=halo,
        label=label,
        zorder=5,
    )
    if len(points) <= 120:
        # Apart from the line: with its halo every one of them would be drawn twice.
        ax.plot(
            points[:, 0],
            points[:, 1],
            color=color,
            marker="o",
            markersize=4.2,
            markeredgecolor="white",
            markeredgewidth=0.6,
            linestyle="none",
            label="_steps",
            zorder=5,
        )
    for place, marker, face in ((points[0], "o", "white"), (points[-1], "s", color)):
        ax.plot(
            [place[0]],
            [place[1]],
            marker=marker,
            markersize=7,
            markerfacecolor=face,
            markeredgecolor=color if face == "white" else "white",
            markeredgewidth=1.4,
            linestyle="none",
            label="_end",
            zorder=7,
        )
    return line


def plot_mistrust(
    ax: Axes,
    path: ArrayLike,
    wrong: ArrayLike,
    *,
    label: str = "here the heights are not the path's",
    style: Style = STYLE,
) -> Line2D:
    """Dot the part of a path whose losses are not the heights that it is drawn over.

    Args:
        ax: Where the path was drawn.
        path: Its points [t, 2].
        wrong: Whether each of them is at a wrong height [t].
        label: Name for the legend.
        style: Colors and sizes.

    Raises:
        ValueError: Another shape.
    """
    points, hidden = as_points(path), np.asarray(wrong, dtype=bool)
    if hidden.shape != (len(points),):
        raise ValueError(f"wrong has shape {list(hidden.shape)} for {len(points)} points")
    # A piece of the path is doubtful when either of its ends is.
    near = hidden | np.append(hidden[1:], False) | np.insert(hidden[:-1], 0, False)
    (line,) = ax.plot(
        *np.where(near[:, None], points, np.nan).T,
        color="white",
        linestyle=(0, (1.5, 1.5)),
        linewidth=style.line_width,
        label="_mistrust",
        zorder=6,
    )
    # The dots are white; what is seen of the path is the rest.
    ax.plot(
        [],
        [],
        color=style.highlight,
        linestyle=(1.5, (1.5, 1.5)),
        linewidth=style.line_width,
        label=label,
    )
    return line


def plot_minimum(
    ax: Axes, minimum: ArrayLike, *, label: str = "minimum", style: Style = STYLE
) -> Line2D:
    """Mark the minimum with a star.

    Args:
        ax: Where.
        minimum: Coordinates [2].
        label: Name for the legend.
        style: Colors and sizes.
    """
    x, y = np.asarray(minimum, dtype=float).ravel()
    (star,) = ax.plot(
        [x],
        [y],
        marker="*",
        markersize=17,
        markerfacecolor="white",
        markeredgecolor=style.ink,
        markeredgewidth=1.2,
        linestyle="none",
        label=label,
        zorder=6,
    )
    return star
