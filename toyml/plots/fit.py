"""A curve fitted to points, and the steps it is made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from numpy.typing import ArrayLike

from toyml.plots.style import STYLE, Style, dress, step_colors, step_mappable


class Fit(NamedTuple):
    """The artists of a fit: the data and the model."""

    points: PathCollection
    line: Line2D


class Fits(NamedTuple):
    """The artists of a fit over the steps.

    Attributes:
        points: The data.
        lines: The model, one line per step.
        mappable: Steps to colors; give it to ``add_colorbar``.
    """

    points: PathCollection
    lines: list[Line2D]
    mappable: ScalarMappable


class Thresholds(NamedTuple):
    """The artists of the thresholds of hidden units.

    Attributes:
        ticks: One line per threshold in view.
        arrows: One arrow head per threshold in view, towards where the unit is on.
        legend: What stands for them in the legend, with the number of those out of view.
    """

    ticks: list[Line2D]
    arrows: list[Line2D]
    legend: Line2D


def plot_fit(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    grid: ArrayLike,
    prediction: ArrayLike,
    *,
    label: str = "model",
    style: Style = STYLE,
) -> Fit:
    """Draw data and the model's prediction.

    Args:
        ax: Where.
        x: Inputs [n] or [n, 1].
        y: Targets [n] or [n, 1].
        grid: Inputs of the prediction [g], increasing.
        prediction: Outputs [g] or [g, 1].
        label: Name of the model for the legend.
        style: Colors and sizes.

    Raises:
        ValueError: Lengths that do not match.
    """
    points = _data(ax, x, y, style)
    at, values = _pair(grid, prediction, "grid points", "predictions")
    (line,) = ax.plot(
        at, values, color=style.color(1), linewidth=style.line_width + 0.3, label=label, zorder=4
    )
    dress(ax, "$x$", "$y$", style=style)
    return Fit(points, line)


def plot_fits(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    grid: ArrayLike,
    predictions: ArrayLike,
    steps: ArrayLike,
    *,
    style: Style = STYLE,
) -> Fits:
    """Draw data and the prediction at several steps, faint at the first and strong at the last.

    Args:
        ax: Where.
        x: Inputs [n] or [n, 1].
        y: Targets [n] or [n, 1].
        grid: Inputs of the prediction [g], increasing.
        predictions: Outputs [t, g].
        steps: Optimizer steps [t]; ``choose_steps`` picks a few of many.
        style: Colors and sizes.

    Raises:
        ValueError: Lengths that do not match.
    """
    order, table = np.asarray(steps).ravel(), np.asarray(predictions, dtype=float)
    if len(table) != len(order) or not len(order):
        raise ValueError(f"{len(table)} predictions but {len(order)} steps; give one for each")
    points = _data(ax, x, y, style)
    mappable = step_mappable(order, style=style)
    colors = step_colors(mappable, order)
    lines = []
    for index, (step, values) in enumerate(zip(order, table, strict=True)):
        at, row = _pair(grid, values, "grid points", "predictions")
        last = index == len(order) - 1
        lines += ax.plot(
            at,
            row,
            color=tuple(colors[index]),
            linewidth=style.line_width + 0.3 if last else style.thin_width + 0.3,
            label=f"model at step {int(step):,}" if last else f"_step {step}",
            zorder=4,
        )
    dress(ax, "$x$", "$y$", style=style)
    return Fits(points, lines, mappable)


def plot_thresholds(
    ax: Axes,
    thresholds: ArrayLike,
    rising: ArrayLike,
    *,
    label: str = "hidden units switch (arrow: on)",
    style: Style = STYLE,
) -> Thresholds:
    """Mark where hidden units switch, at -b/w, with an arrow towards the side where they are on.

    The view has to be settled: draw the data first.

    Args:
        ax: Where.
        thresholds: Positions -b/w [h]; not finite for a unit whose weight is 0.
        rising: Whether the unit is on to the right, w > 0, [h].
        label: Name for the legend.
        style: Colors and sizes.

    Raises:
        ValueError: Lengths that do not match.
    """
    at, right = np.asarray(thresholds, dtype=float).ravel(), np.asarray(rising, dtype=bool).ravel()
    if len(at) != len(right):
        raise ValueError(f"{len(at)} thresholds but {len(right)} directions; give one for each")
    low, high = ax.get_xlim()
    view = ax.get_xaxis_transform()
    ticks: list[Line2D] = []
    arrows: list[Line2D] = []
    inside = np.isfinite(at) & (at >= low) & (at <= high)
    for index in np.flatnonzero(inside):
        ticks.append(
            ax.axvline(
                at[index],
                color=style.color(2),
                linewidth=style.thin_width,
                alpha=0.55,
                label="_threshold",
                zorder=1,
            )
        )
        # Heights take turns, so that arrows of neighbours do not cover each other.
        height = 0.03 + 0.045 * (index % 3)
        arrows += ax.plot(
            [at[index]],
            [height],
            color=style.color(2),
            marker=9 if right[index] else 8,  # a caret whose base stands on the threshold
            markersize=8,
            linestyle="none",
            transform=view,
            label="_arrow",
            clip_on=False,
            zorder=6,
        )
    ax.set_xlim(low, high)
    outside = int((~inside).sum())
    (legend,) = ax.plot(
        [],
        [],
        color=style.color(2),
        marker=9,
        markersize=8,
        linestyle="none",
        label=f"{label}; {outside} of {len(at)} out of view" if outside else label,
    )
    return Thresholds(ticks, arrows, legend)


def plot_step_prediction(
    ax: Axes,
    edges: ArrayLike,
    values: ArrayLike,
    *,
    label: str = "every sigmoid replaced by a step",
    style: Style = STYLE,
) -> StepPatch:
    """Draw a prediction that is constant between thresholds.

    Args:
        ax: Where.
        edges: Ends of the pieces [m + 1], increasing: the left end, the thresholds, the right end.
        values: Height of each piece [m].
        label: Name for the legend.
        style: Colors and sizes.

    Raises:
        ValueError: Lengths that do not match, or edges out of order.
    """
    ends, heights = np.asarray(edges, dtype=float).ravel(), np.asarray(values, dtype=float).ravel()
    if len(ends) != len(heights) + 1:
        raise ValueError(f"{len(ends)} edges for {len(heights)} pieces; give one edge more")
    if (np.diff(ends) < 0).any():
        raise ValueError(f"edges {ends.tolist()} are not increasing; sort them")
    patch = ax.stairs(
        heights,
        ends,
        baseline=None,
        color=style.ink,
        linewidth=1.3,
        linestyle="--",
        label=label,
        zorder=5,
    )
    dress(ax, "$x$", "$y$", style=style)
    return patch


def _data(ax: Axes, x: ArrayLike, y: ArrayLike, style: Style) -> PathCollection:
    at, values = _pair(x, y, "inputs", "targets")
    return ax.scatter(
        at,
        values,
        s=float(np.clip(style.marker_size * 20 / max(len(at), 1), 10, 40)),
        color=style.color(0),
        alpha=0.7,
        linewidths=0,
        label="data",
        rasterized=len(at) > 1000,
        zorder=3,
    )


def _pair(
    first: ArrayLike, second: ArrayLike, names: str, others: str
) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first, dtype=float).ravel(), np.asarray(second, dtype=float).ravel()
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {names} but {len(b)} {others}; give one for each")
    return a, b
