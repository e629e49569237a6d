"""The parts of an update as arrows, and their sizes over the steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from numpy.typing import ArrayLike, NDArray

from toyml.palette import FORCES, INK, LINES
from toyml.plots.curves import plot_curves
from toyml.plots.style import STYLE, Style, as_points

FORCE_COLORS = {**{name: LINES[place] for name, place in FORCES.items()}, "the step": INK}
"""One color a part, the same in every picture."""

FLOOR = 1e-10
"""Lengths below that part of the largest one are not shown."""


def spread_out(path: ArrayLike, width: float, height: float, count: int) -> NDArray[np.int64]:
    """Indices of at most ``count`` points, evenly spread along the path as it is drawn.

    Args:
        path: Points [t, 2].
        width: Of the window, the unit of the horizontal distance.
        height: Of the window.
        count: How many at most.

    Returns:
        Increasing; the first point is among them.

    Raises:
        ValueError: Another shape, or fewer than one point asked for.

    Example:
        >>> spread_out([[0, 0], [1, 0], [2, 0], [10, 0], [10, 1]], 10, 10, 3).tolist()
        [0, 2, 3]
    """
    points = as_points(path)
    if count < 1:
        raise ValueError(f"count is {count}; choose at least 1")
    moved = np.linalg.norm(np.diff(points, axis=0) / [width, height], axis=1)
    length = np.concatenate([[0.0], np.cumsum(np.nan_to_num(moved, posinf=0.0))])
    wanted = np.linspace(0, length[-1], count, endpoint=False)
    return np.unique(np.abs(length[None] - wanted[:, None]).argmin(1))


def plot_forces(
    ax: Axes,
    points: ArrayLike,
    forces: Mapping[str, ArrayLike],
    *,
    longest: float = 0.2,
    style: Style = STYLE,
) -> dict[str, Quiver]:
    """Draw vectors as arrows from points, on Axes whose limits stand.

    At every point the longest arrow takes ``longest`` of the picture, so that small updates can
    be seen; the arrows of one point are in proportion to each other, those of two are not.

    Args:
        ax: Where.
        points: Where the arrows start [t, 2].
        forces: Name to vectors [t, 2] in the units of the axes.
        longest: Length of the longest arrow, as a part of the width and height.
        style: Colors and sizes.

    Raises:
        ValueError: No forces, or shapes that do not match.
    """
    starts = as_points(points)
    vectors = {name: as_points(force) for name, force in forces.items()}
    if not vectors or any(len(vector) != len(starts) for vector in vectors.values()):
        shapes = {name: len(vector) for name, vector in vectors.items()}
        raise ValueError(f"forces are {shapes} for {len(starts)} points; give one for each")
    size = np.abs([np.subtract(*ax.get_xlim()), np.subtract(*ax.get_ylim())])
    lengths = np.stack([np.linalg.norm(vector / size, axis=1) for vector in vectors.values()])
    scale = longest / np.maximum(lengths.max(0), 1e-300)
    drawn = {}
    for name, vector in vectors.items():
        ends = vector * scale[:, None]
        whole = name == "the step"
        drawn[name] = ax.quiver(
            starts[:, 0],
            starts[:, 1],
            ends[:, 0],
            ends[:, 1],
            angles="xy",
            scale_units="xy",
            scale=1.0,
            width=0.011 if whole else 0.0065,
            color=FORCE_COLORS.get(name, style.muted),
            edgecolor="white",
            linewidth=0.5,
            label=name,
            zorder=8 if whole else 9,
        )
    return drawn


def plot_force_sizes(
    ax: Axes,
    steps: ArrayLike,
    sizes: Mapping[str, ArrayLike],
    *,
    log_time: bool = False,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw how large each part of the update is over the steps, on a logarithmic axis.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        sizes: Name to lengths [t]; a length of 0 leaves a gap.
        log_time: Logarithmic steps (linear from 0 to 1).
        style: Colors and sizes.

    Raises:
        ValueError: A length of another number of steps.
    """
    shown = {
        name: np.where(np.asarray(values) > 0, values, np.nan) for name, values in sizes.items()
    }
    lines = plot_curves(
        ax, steps, shown, quantity="length", log_time=log_time, log_value=True, style=style
    )
    for line in lines:
        name = str(line.get_label())
        line.set_color(FORCE_COLORS.get(name, style.muted))
        line.set_linewidth(style.line_width + 0.8 if name == "the step" else style.line_width)
        line.set_linestyle("-" if name != "the step" else "--")
    everything = np.concatenate([np.ravel(values) for values in shown.values()])
    if np.isfinite(everything).any():
        low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
        # Below that is rounding.
        ax.set_ylim(max(low / 2, FLOOR * high), 2 * high)
    return lines
