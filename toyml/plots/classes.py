"""Several classes over the plane: which one a model says, and where that changes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from toyml.palette import PROBABILITY
from toyml.plots.style import STYLE, Style, as_grid, as_points, dress

MARKERS = ("o", "^", "s", "D", "P", "X", "*")
UNDECIDED = PROBABILITY[len(PROBABILITY) // 2]


def class_colors(
    winner: ArrayLike, lead: ArrayLike, *, style: Style = STYLE
) -> NDArray[np.float64]:
    """Colors [..., 3] of classes [...], faded to the ground where their lead [...] is small."""
    classes, share = np.asarray(winner, dtype=int), np.clip(lead, 0, 1)[..., None]
    colors = np.array([to_rgb(style.color(c)) for c in range(len(style.palette))])
    ground = np.array(to_rgb(UNDECIDED))
    own = (colors[classes % len(colors)] + ground) / 2
    return np.where(np.isnan(share), 1.0, ground + share * (own - ground))


def plot_class_map(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    winner: ArrayLike,
    lead: ArrayLike,
    *,
    style: Style = STYLE,
) -> AxesImage:
    """Color the plane by the class with the largest output, faded where the second is near.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g'].
        winner: Number of the class [g', g].
        lead: By how much it is ahead [g', g], of 1 or more the full color; NaN is left white.
        style: Colors and sizes.

    Raises:
        ValueError: A grid of another shape.
    """
    colors = class_colors(as_grid(xs, ys, winner), as_grid(xs, ys, lead), style=style)
    across, up = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
    half = (across[1] - across[0]) / 2, (up[1] - up[0]) / 2
    image = ax.imshow(
        colors,
        extent=(across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1]),
        origin="lower",
        interpolation="nearest",
        zorder=0,
    )
    dress(ax, "$x_1$", "$x_2$", grid=False, style=style)
    return image


def plot_class_points(
    ax: Axes, x: ArrayLike, y: ArrayLike, *, style: Style = STYLE
) -> list[PathCollection]:
    """Draw points of several classes, each with its own color and marker.

    Args:
        ax: Where.
        x: Coordinates [n, 2].
        y: Numbers of their classes [n], from 0 to 6.
        style: Colors and sizes.

    Returns:
        One collection for each class that has points.

    Raises:
        ValueError: Shapes that do not match, or classes without a marker.
    """
    points, classes = as_points(x), np.asarray(y).astype(int).ravel()
    if len(classes) != len(points):
        raise ValueError(f"{len(points)} points but {len(classes)} classes; give one for each")
    found = np.unique(classes)
    if len(found) and not (found[0] >= 0 and found[-1] < len(MARKERS)):
        raise ValueError(f"classes are {found.tolist()}; give numbers from 0 to {len(MARKERS) - 1}")
    size = float(np.clip(style.marker_size * 20 / max(len(points), 1), 12, style.marker_size))
    artists = [
        ax.scatter(
            points[classes == which, 0],
            points[classes == which, 1],
            s=size,
            color=style.color(int(which)),
            marker=MARKERS[which],
            edgecolors="white",
            linewidths=0.6,
            label=f"class {which}",
            rasterized=len(points) > 1000,
            zorder=5,
        )
        for which in found
    ]
    dress(ax, "$x_1$", "$x_2$", grid=False, style=style)
    return artists
