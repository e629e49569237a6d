"""How fast SGD contracts, over its learning rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from toyml.plots.style import STYLE, Style, dress


def plot_radii(
    ax: Axes,
    rates: ArrayLike,
    radii: Mapping[str, ArrayLike],
    limits: Mapping[str, float],
    rate: float,
    *,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw spectral radii over the learning rate, the edge at 1, and where the training is.

    Args:
        ax: Where.
        rates: Learning rates [g], increasing.
        radii: Name of an optimizer to its spectral radii [g].
        limits: Name of an optimizer to the learning rate at which its radius is 1.
        rate: The learning rate of the training, marked on the first curve.
        style: Colors and sizes.

    Returns:
        One line per optimizer.

    Raises:
        ValueError: No curves, or one whose length is not that of the rates.
    """
    at = np.asarray(rates, dtype=float).ravel()
    if not radii:
        raise ValueError("no radii to draw; give at least one curve")
    lines: list[Line2D] = []
    for index, (name, values) in enumerate(radii.items()):
        series = np.asarray(values, dtype=float).ravel()
        if len(series) != len(at):
            raise ValueError(f"{name} has {len(series)} radii for {len(at)} rates; give one each")
        color = style.color(index)
        lines += ax.plot(
            at,
            series,
            color=color,
            linestyle=style.dashes[index % len(style.dashes)],
            linewidth=style.line_width + (0.8 if index == 0 else 0.0),
            label=name,
            zorder=4 - 0.1 * index,
        )
        if name in limits:
            ax.plot([limits[name]], [1.0], marker="o", color=color, label="_limit", zorder=6)
            ax.annotate(
                f"{limits[name]:.4g}",
                (limits[name], 1.0),
                xytext=(-4, 7),
                textcoords="offset points",
                ha="right",
                color=color,
                fontsize=style.small_size,
            )
    first = np.asarray(next(iter(radii.values())), dtype=float).ravel()
    ax.axhspan(1.0, 10.0, color=style.highlight, alpha=0.07, linewidth=0, zorder=0)
    ax.axhline(1.0, color=style.ink, linewidth=style.thin_width, linestyle=":", label="_edge")
    own, top = float(np.interp(rate, at, first)), 1.25
    above = own > top  # where the picture ends
    ax.plot(
        [rate],
        [top - 0.03 if above else own],
        marker="^" if above else "*",
        markersize=15,
        markerfacecolor="white",
        markeredgecolor=style.ink,
        linestyle="none",
        label=f"this training, lr {rate:g}{f', far above at {own:.3g}' if above else ''}",
        zorder=7,
    )
    ax.set_xlim(0, at[-1])
    shown = np.concatenate([np.asarray(v, dtype=float).ravel() for v in radii.values()])
    low = float(np.nanmin(shown))
    ax.set_ylim(max(0.0, low - 0.1), top)
    ax.text(
        0.015,
        0.97,
        "diverges",
        transform=ax.transAxes,
        ha="left",
        va="top",
        color=style.muted,
        fontsize=style.small_size,
    )
    dress(ax, "learning rate", "spectral radius of one step", style=style)
    return lines
