"""The curvature over the steps, below and above the limit of the optimizer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from toyml.plots.style import STYLE, Style, dress, set_step_axis

FAR = 6.0
"""A limit that many times the largest sharpness is a note beside the picture: with it in the
picture the curves would be flat."""


class Curvature(NamedTuple):
    """The artists of the curvature.

    Attributes:
        sharpness: The largest eigenvalue.
        others: The other eigenvalues.
        limit: The limit, where given and near enough to be drawn.
    """

    sharpness: Line2D
    others: list[Line2D]
    limit: Line2D | None


def plot_curvature(
    ax: Axes,
    steps: ArrayLike,
    spectrum: ArrayLike,
    *,
    limit: ArrayLike | None = None,
    formula: str = "limit",
    log_time: bool = False,
    style: Style = STYLE,
) -> Curvature:
    """Draw the eigenvalues of the Hessian over the steps, the largest one strong.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        spectrum: Eigenvalues, ascending [t, q]; values that are not finite leave a gap.
        limit: The sharpness from which on the optimizer is unstable [t]; above it is shaded. One
            far above the eigenvalues is a note at the top.
        formula: Name of the limit for the legend.
        log_time: Logarithmic steps (linear from 0 to 1).
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not match.
    """
    at, values = np.asarray(steps).ravel(), np.asarray(spectrum, dtype=float)
    edge = None if limit is None else np.asarray(limit, dtype=float).ravel()
    if values.ndim != 2 or len(values) != len(at) or (edge is not None and edge.shape != at.shape):
        raise ValueError(
            f"the spectrum has shape {list(values.shape)} and the limit "
            f"{None if edge is None else list(edge.shape)} for {len(at)} steps; give [t, q] and [t]"
        )
    (sharpness,) = ax.plot(
        at,
        values[:, -1],
        color=style.color(0),
        linewidth=style.line_width,
        label="sharpness (largest eigenvalue)",
        zorder=5,
    )
    others = ax.plot(at, values[:, :-1], color=style.muted, linewidth=0.7, alpha=0.6, zorder=3)
    for index, line in enumerate(others):
        line.set_label("other eigenvalues" if index == 0 else "_other")
    set_step_axis(ax, log_time, style=style)
    dress(ax, ylabel="curvature", style=style)
    ax.margins(x=0.02, y=0.06)
    drawn = None
    if edge is not None:
        times = float(edge.min()) / max(float(np.nanmax(np.abs(values))), 1e-300)
        if times > FAR:
            sign = "=" if (edge == edge[0]).all() else "≥"
            note = f"limit {formula} {sign} {edge.min():.4g}"
            note_limit(ax, f"{note}, {times:,.0f} times the highest curvature here", style)
        else:
            drawn = draw_limit(ax, at, edge, formula, style)
    return Curvature(sharpness, others, drawn)


def draw_limit(
    ax: Axes, steps: NDArray[np.int64], limit: NDArray[np.float64], formula: str, style: Style
) -> Line2D:
    """Draw the limit [t] with the unstable side shaded; the axes make room for both sides."""
    (line,) = ax.plot(
        steps,
        limit,
        color=style.highlight,
        linestyle="--",
        linewidth=style.line_width,
        label=f"limit {formula}",
        zorder=4,
    )
    low, high = ax.get_ylim()
    finite = np.where(np.isfinite(limit), limit, high)  # a learning rate of 0 is stable anywhere
    ax.fill_between(
        steps,
        finite,
        np.maximum(high, finite),
        color=style.highlight,
        alpha=0.08,
        linewidth=0,
        zorder=1,
    )
    ax.set_ylim(low, high)
    return line


def note_limit(ax: Axes, note: str, style: Style) -> None:
    """Say at the top where a limit far above the picture is."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.12 * (high - low))
    ax.text(
        0.985,
        0.97,
        f"↑ {note}",
        transform=ax.transAxes,
        ha="right",
        va="top",
        color=style.highlight,
        fontsize=style.small_size,
    )
