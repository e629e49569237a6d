"""Hidden units: the lines at which they switch, and the space they span."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import AxLine
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import ArrayLike, NDArray

from toyml.plots.points import plot_line
from toyml.plots.style import STYLE, Style, dress


class HiddenLines(NamedTuple):
    """The artists of hidden-unit lines.

    Attributes:
        lines: Unit to line; a unit whose weights are 0 has none.
        arrows: Unit to arrow towards the side where it is on; only lines in view have one.
        numbers: Unit to its number beside the arrow.
    """

    lines: dict[int, AxLine]
    arrows: dict[int, Annotation]
    numbers: dict[int, Text]


class Activations(NamedTuple):
    """The artists of activations in space.

    Attributes:
        points: One collection per class.
        plane: The output's plane, cut to the box; ``None`` where not given or not in the box.
    """

    points: list[Any]
    plane: Any | None


def plot_hidden_lines(
    ax: Axes,
    weights: ArrayLike,
    biases: ArrayLike,
    *,
    style: Style = STYLE,
) -> HiddenLines:
    """Draw the lines w · x + b = 0 of hidden units, numbered from 1, with arrows to the on side.

    The view has to be settled: draw the data first.

    Args:
        ax: Where, with axes of equal scale if arrows are to look perpendicular.
        weights: Input weights [h, 2].
        biases: Biases [h].
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not match.
    """
    W, b = np.asarray(weights, dtype=float), np.asarray(biases, dtype=float).ravel()
    if W.ndim != 2 or W.shape != (len(b), 2):
        raise ValueError(
            f"weights {list(W.shape)} and biases {list(b.shape)} do not match; give [h, 2] and [h]"
        )
    xlim, ylim = ax.get_xlim(), ax.get_ylim()
    length = 0.08 * min(abs(xlim[1] - xlim[0]), abs(ylim[1] - ylim[0]))
    drawn = HiddenLines({}, {}, {})
    anchors: list[NDArray[np.float64]] = []
    for unit in range(len(b)):
        norm = float(np.hypot(*W[unit]))
        if not np.isfinite(norm) or norm == 0 or not np.isfinite(b[unit]):
            continue
        color = style.color(2 + unit)
        drawn.lines[unit] = plot_line(
            ax, W[unit], b[unit], color=color, linestyle=style.dash(unit), style=style
        )
        anchor = _anchor(W[unit], b[unit], xlim, ylim, anchors)
        if anchor is not None:
            anchors.append(anchor)
            drawn.arrows[unit] = _arrow(ax, anchor, W[unit] / norm, length, color)
            drawn.numbers[unit] = _number(ax, anchor, unit, color, style)
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)
    dress(ax, "$x_1$", "$x_2$", grid=False, style=style)
    return drawn


def plot_activations_3d(
    ax: Any,
    activations: ArrayLike,
    y: ArrayLike,
    plane: tuple[ArrayLike, float] | None = None,
    labels: Sequence[str] = ("unit 1", "unit 2", "unit 3"),
    *,
    names: Sequence[str] = ("class 0", "class 1"),
    style: Style = STYLE,
) -> Activations:
    """Draw the data as three hidden units see it, with the output's plane v · a + c = 0.

    Args:
        ax: An ``Axes3D``, made with ``projection="3d"``.
        activations: Activations of three units [n, 3].
        y: Labels [n] or [n, 1]; above 0.5 is class 1.
        plane: Output weights v [3] and the constant c; ``None`` draws no plane.
        labels: Names of the three axes.
        names: Of the two classes.
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not match.
    """
    A, classes = np.asarray(activations, dtype=float), np.asarray(y, dtype=float).ravel() > 0.5
    if A.ndim != 2 or A.shape[1] != 3 or len(A) != len(classes):
        raise ValueError(
            f"activations {list(A.shape)} and {len(classes)} labels do not match; "
            "give [n, 3] and [n]"
        )
    points = [_cloud(ax, A[classes == bool(i)], i, names[i], len(A), style) for i in (0, 1)]
    low, high = A.min(axis=0), A.max(axis=0)
    flat = high - low < 1e-9
    low, high = low - 0.05 * (high - low) - flat * 0.5, high + 0.05 * (high - low) + flat * 0.5
    polygon = None
    if plane is not None:
        corners = cut_box(plane[0], plane[1], low, high)
        if len(corners) >= 3:
            polygon = Poly3DCollection(
                [corners], facecolor=style.muted, edgecolor=style.ink, alpha=0.28, linewidth=0.9
            )
            ax.add_collection3d(polygon)
    frame_space(ax, low, high, labels, style)
    return Activations(points, polygon)


def cut_box(v: ArrayLike, c: float, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """Corners [m, 3] of the polygon in which the plane v · a + c = 0 cuts a box, in order.

    Args:
        v: Normal [3].
        c: Constant.
        low: Lower corner of the box [3].
        high: Upper corner of the box [3].

    Returns:
        Three to six corners; [0, 3] when the plane misses the box or v is 0.

    Example:
        >>> cut_box([0, 0, 1], -0.5, [0, 0, 0], [1, 1, 1])[:, 2]
        array([0.5, 0.5, 0.5, 0.5])
    """
    normal, lower, upper = (np.asarray(a, dtype=float) for a in (v, low, high))
    found = []
    for axis, (s, t) in product(range(3), product((0, 1), repeat=2)):
        others = [i for i in range(3) if i != axis]
        corner = lower.copy()
        corner[others] = np.where([s, t], upper[others], lower[others])
        if normal[axis] == 0:
            continue
        rest = normal[others] @ corner[others] + c
        corner[axis] = -rest / normal[axis]
        if lower[axis] <= corner[axis] <= upper[axis]:
            found.append(corner)
    if len(found) < 3:
        return np.zeros((0, 3))
    corners = np.unique(np.round(found, 12), axis=0)
    around = corners - corners.mean(axis=0)
    u = around[0] / (np.linalg.norm(around[0]) or 1.0)
    side = np.cross(normal / np.linalg.norm(normal), u)
    return corners[np.argsort(np.arctan2(around @ side, around @ u))]


def _anchor(
    w: NDArray[np.float64],
    b: float,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    taken: list[NDArray[np.float64]],
) -> NDArray[np.float64] | None:
    """The place on the line, inside the view, that is farthest from the places taken."""
    low, high = np.array([xlim[0], ylim[0]]), np.array([xlim[1], ylim[1]])
    foot, along = -b * w / (w @ w), np.array([-w[1], w[0]]) / np.hypot(*w)
    reach = np.hypot(*(high - low)) + np.hypot(*(foot - (low + high) / 2))
    places = foot + np.linspace(-reach, reach, 801)[:, None] * along
    margin = 0.1 * (high - low)
    places = places[((places > low + margin) & (places < high - margin)).all(axis=1)]
    if not len(places):
        return None
    if not taken:
        return np.asarray(places[len(places) // 4])
    gaps = np.abs(places[:, None] - np.array(taken)[None]) / (high - low)
    return np.asarray(places[np.hypot(gaps[..., 0], gaps[..., 1]).min(axis=1).argmax()])


def _arrow(
    ax: Axes,
    anchor: NDArray[np.float64],
    direction: NDArray[np.float64],
    length: float,
    color: str,
) -> Annotation:
    tip = anchor + length * direction
    return ax.annotate(
        "",
        xy=(float(tip[0]), float(tip[1])),
        xytext=(float(anchor[0]), float(anchor[1])),
        arrowprops={
            "arrowstyle": "-|>",
            "color": color,
            "linewidth": 2.0,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 14,
        },
        zorder=6,
    )


def _number(ax: Axes, anchor: NDArray[np.float64], unit: int, color: str, style: Style) -> Text:
    return ax.text(
        anchor[0],
        anchor[1],
        str(unit + 1),
        fontsize=style.small_size,
        color=color,
        ha="center",
        va="center",
        bbox={"boxstyle": "circle,pad=0.22", "facecolor": "white", "edgecolor": color},
        zorder=7,
        clip_on=True,
    )


def _cloud(
    ax: Any, points: NDArray[np.float64], which: int, name: str, n: int, style: Style
) -> Any:
    return ax.scatter(
        points[:, 0],
        points[:, 1],
        points[:, 2],
        s=float(np.clip(style.marker_size * 10 / max(n, 1), 6, 50)),
        color=style.class_colors[which],
        marker=style.class_markers[which],
        linewidths=0,
        alpha=0.75,
        depthshade=False,
        label=name,
        rasterized=n > 1000,
    )


def frame_space(
    ax: Any,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    labels: Sequence[str],
    style: Style,
) -> None:
    """Give Axes3D the style, a box from low [3] to high [3], and labels."""
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.set_zlim(low[2], high[2])
    for axis, label in zip((ax.xaxis, ax.yaxis, ax.zaxis), labels, strict=True):
        axis.set_label_text(label, fontsize=style.label_size, color=style.ink)
        axis.set_pane_color((1.0, 1.0, 1.0, 1.0))
        axis.set_major_locator(MaxNLocator(nbins=3))
        axis._axinfo["grid"].update(color=style.grid, linewidth=0.8)
    ax.tick_params(labelsize=style.small_size - 1, colors=style.muted, pad=1)
    # Leaves room for the labels, which the layout engine does not see in 3-D.
    ax.set_box_aspect(None, zoom=0.88)
