"""What a classifier says over the plane, at the end and along the way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.contour import QuadContourSet
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from toyml.plots.style import STYLE, Style, as_grid, dress, step_colors, step_mappable


class DecisionSurface(NamedTuple):
    """The artists of a decision surface.

    Attributes:
        mesh: The colors; give it to ``add_colorbar``.
        contour: Where the model is undecided; ``None`` if nowhere in view.
    """

    mesh: QuadMesh
    contour: QuadContourSet | None


class Boundaries(NamedTuple):
    """The artists of the boundaries over the steps.

    Attributes:
        contours: Step to contour; a step without a boundary in view is absent.
        mappable: Steps to colors; give it to ``add_colorbar``.
    """

    contours: dict[int, QuadContourSet]
    mappable: ScalarMappable


def plot_decision_surface(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    probability: ArrayLike,
    *,
    level: float | None = 0.5,
    limits: tuple[float, float] = (0.0, 1.0),
    label: str = "decision boundary",
    style: Style = STYLE,
) -> DecisionSurface:
    """Draw what a model says over the plane, and the line where it is undecided.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g'].
        probability: Probability of class 1, or another output, [g', g].
        level: The value at which the class changes; ``None`` for values without classes.
        limits: Values at the ends of the scale of colors.
        label: Name of that line for the legend.
        style: Colors and sizes.

    Raises:
        ValueError: A grid of another shape.
    """
    values = as_grid(xs, ys, probability)
    mesh = ax.pcolormesh(
        np.asarray(xs),
        np.asarray(ys),
        np.ma.masked_invalid(values),
        cmap=style.loss_map if level is None else style.probability_map,
        vmin=limits[0],
        vmax=limits[1],
        shading="gouraud",
        rasterized=True,
        zorder=0,
    )
    contour = None
    if level is not None:
        contour = _contour(ax, xs, ys, values, level, style.ink, style.line_width)
    if contour is not None:
        # A contour has no legend entry of its own.
        ax.add_line(
            Line2D([], [], color=style.ink, linewidth=style.line_width, label=label or "_line")
        )
    dress(ax, "$x_1$", "$x_2$", grid=False, style=style)
    return DecisionSurface(mesh, contour)


def plot_boundaries(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    fields: ArrayLike,
    steps: ArrayLike,
    *,
    level: float = 0.5,
    style: Style = STYLE,
) -> Boundaries:
    """Draw where a classifier changes its mind, faint at the first step and strong at the last.

    Args:
        ax: Where.
        xs: Horizontal coordinates [g].
        ys: Vertical coordinates [g'].
        fields: Probabilities (or logits, with ``level=0``), [t, g', g].
        steps: Optimizer steps [t], increasing; ``choose_steps`` picks a few of many.
        level: The value at which the class changes.
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not match.
    """
    grids, order = np.asarray(fields, dtype=float), np.asarray(steps).ravel()
    if len(grids) != len(order) or not len(order):
        raise ValueError(f"{len(grids)} grids but {len(order)} steps; give one grid for each step")
    mappable = step_mappable(order, style=style)
    colors = step_colors(mappable, order)
    contours: dict[int, QuadContourSet] = {}
    for index, (step, grid) in enumerate(zip(order, grids, strict=True)):
        width = style.thin_width + (style.line_width - style.thin_width) * index / len(order)
        drawn = _contour(ax, xs, ys, as_grid(xs, ys, grid), level, tuple(colors[index]), width)
        if drawn is not None:
            contours[int(step)] = drawn
    dress(ax, "$x_1$", "$x_2$", grid=False, style=style)
    return Boundaries(contours, mappable)


def choose_steps(steps: ArrayLike, count: int = 20) -> NDArray[np.intp]:
    """Indices of a few steps, evenly spread over log(1 + step), with the first and the last.

    Args:
        steps: Steps [t], increasing.
        count: How many at most, 2 or more.

    Raises:
        ValueError: A count below 2, or no steps.

    Example:
        >>> choose_steps([0, 1, 2, 3, 4, 5, 6, 7], 4)
        array([0, 1, 3, 7])
    """
    order = np.asarray(steps, dtype=float).ravel()
    if count < 2 or not len(order):
        raise ValueError(f"asked for {count} of {len(order)} steps; ask for 2 or more of some")
    place = np.log1p(order - order[0])
    wanted = np.linspace(place[0], place[-1], count)
    return np.unique(np.abs(place[:, None] - wanted[None]).argmin(axis=0))


def _contour(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    values: NDArray[np.float64],
    level: float,
    color: object,
    width: float,
) -> QuadContourSet | None:
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.min() < level < finite.max():
        return None
    return ax.contour(
        np.asarray(xs),
        np.asarray(ys),
        np.ma.masked_invalid(values),
        levels=[level],
        colors=[color],
        linewidths=width,
        zorder=3,
    )
