"""What weight decay does: quantities over its strength, and swings around a minimum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from toyml.plots.style import STYLE, Style, dress


def plot_sweep(
    ax: Axes,
    settings: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    setting: str,
    quantity: str,
    threshold: float | None = None,
    threshold_label: str = "threshold",
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw named quantities over a setting on a logarithmic axis.

    Args:
        ax: Where.
        settings: Values of the setting [g], positive.
        curves: Name to values [g]; values that are not finite leave a gap.
        setting: Label of the horizontal axis.
        quantity: Label of the vertical axis, with the unit.
        threshold: A value of the setting to mark; ``None`` or one out of range marks nothing.
        threshold_label: Its name.
        style: Colors and sizes.

    Returns:
        One line per curve.

    Raises:
        ValueError: Settings that are not positive, or a curve of another length.
    """
    at = np.asarray(settings, dtype=float).ravel()
    if not len(at) or not (at > 0).all():
        raise ValueError(f"settings start at {at[:1].tolist()}; a logarithmic axis needs them > 0")
    lines: list[Line2D] = []
    for index, (name, values) in enumerate(curves.items()):
        series = np.asarray(values, dtype=float).ravel()
        if len(series) != len(at):
            raise ValueError(f"{name} has {len(series)} values for {len(at)} settings")
        lines += ax.plot(
            at,
            series,
            color=style.color(index),
            linestyle=style.dashes[index % len(style.dashes)],
            linewidth=style.line_width + 0.4,
            label=name,
        )
    if threshold is not None and at.min() < threshold < at.max():
        ax.axvline(
            threshold,
            color=style.muted,
            linewidth=1.3,
            linestyle=":",
            label=threshold_label,
            zorder=1.5,
        )
    ax.set_xscale("log")
    dress(ax, setting, quantity, style=style)
    ax.margins(x=0.02)
    return lines


def plot_mark(
    ax: Axes, at: float, value: float, label: str, *, style: Style = STYLE
) -> list[Line2D]:
    """Mark one measured value with a star.

    Args:
        ax: Where.
        at: Place on the horizontal axis.
        value: The value.
        label: Name for the legend.
        style: Colors and sizes.
    """
    return ax.plot(
        [at],
        [value],
        marker="*",
        markersize=15,
        markerfacecolor="white",
        markeredgecolor=style.ink,
        linestyle="none",
        label=label,
        zorder=7,
    )


def plot_swing(
    ax: Axes,
    steps: ArrayLike,
    measured: ArrayLike,
    level: float,
    deviation: ArrayLike,
    *,
    quantity: str,
    level_label: str = "exact minimum",
    law_label: str = "theory",
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw a quantity that swings around a level, step by step, in the envelope of theory.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        measured: Measured values [t]; those that are not positive are drawn hollow.
        level: The level they settle at.
        deviation: Predicted deviations from the level [t]; their magnitude is the envelope.
        quantity: Label of the vertical axis.
        level_label: Name of the level.
        law_label: Name of the prediction, with its formula.
        style: Colors and sizes.

    Returns:
        The measurement and the level.

    Raises:
        ValueError: Lengths that differ.
    """
    order = np.asarray(steps).ravel()
    found = np.asarray(measured, dtype=float).ravel()
    size = np.abs(np.asarray(deviation, dtype=float).ravel())
    if not len(order) == len(found) == len(size):
        raise ValueError(
            f"{len(order)} steps, {len(found)} measured and {len(size)} predicted values; "
            "give one each"
        )
    span = max(np.ptp(found), 1e-300)
    low, high = float(found.min()) - 0.12 * span, float(found.max()) + 0.12 * span
    ax.fill_between(
        order,
        level - size,
        level + size,
        color=style.color(3),
        alpha=0.22,
        linewidth=0,
        label=law_label,
    )
    lines = ax.plot(
        order, found, color=style.color(0), linewidth=style.thin_width, label="_path", zorder=3
    )
    for right, label, face in (
        (found > 0, "right side", style.color(0)),
        (found <= 0, "wrong side", "white"),
    ):
        if right.any():
            ax.plot(
                order[right],
                found[right],
                marker="o",
                markersize=5.5,
                linestyle="none",
                color=style.color(0) if face != "white" else style.highlight,
                markerfacecolor=face,
                markeredgewidth=1.6,
                label=label,
                zorder=4,
            )
    lines.append(
        ax.axhline(level, color=style.ink, linewidth=1.3, dashes=(4, 2.5), label=level_label)
    )
    if low < 0:
        ax.axhspan(low - 10 * span, 0, color=style.highlight, alpha=0.07, linewidth=0, zorder=0)
        ax.axhline(0, color=style.highlight, linewidth=1.2, label="on the line")
    ax.set_ylim(low, high)
    ax.margins(x=0.02)
    dress(ax, "step", quantity, style=style)
    return lines
