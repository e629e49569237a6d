"""How far two trainings that should be one are apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from toyml.plots.style import STYLE, Style, dress, set_step_axis


def plot_deviations(
    ax: Axes,
    steps: ArrayLike,
    deviations: Mapping[str, ArrayLike],
    *,
    spacing: float,
    tolerance: float | None = None,
    log_time: bool = False,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw absolute deviations over the steps on a logarithmic axis that has a zero.

    Equal bit for bit is drawn on the lowest line of the axis, labelled 0, since its logarithm is
    nowhere; between that line and the first value there is nothing to read off.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        deviations: Name to largest absolute deviation [t]; values that are not finite leave a gap.
        spacing: Distance of 1 to the next number of the precision, drawn as a level line.
        tolerance: Largest deviation that counts as rounding, drawn as well.
        log_time: Logarithmic steps (linear from 0 to 1).
        style: Colors and sizes.

    Returns:
        One line per name.

    Raises:
        ValueError: Nothing to draw, lengths that are not that of the steps, or negative values.
    """
    order = np.asarray(steps).ravel()
    curves = {name: np.asarray(values, dtype=float).ravel() for name, values in deviations.items()}
    if not curves:
        raise ValueError("no deviations to draw; give at least one")
    for name, values in curves.items():
        if len(values) != len(order):
            raise ValueError(f"{name} has {len(values)} values for {len(order)} steps")
        if (values < 0).any():
            raise ValueError(
                f"{name} is {np.nanmin(values):g} somewhere; deviations are at least 0"
            )
    shown = np.concatenate([*curves.values(), [spacing, tolerance or spacing]])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    floor = 10.0 ** (np.floor(np.log10(shown.min())) - 1)
    lines = []
    for index, (name, values) in enumerate(curves.items()):
        lines += ax.plot(
            order,
            np.where(np.isfinite(values), np.maximum(values, floor), np.nan),
            color=style.color(index),
            linestyle=style.dash(index),
            linewidth=style.line_width - 0.5 * (index > 0),
            label=name,
        )
    for level, words, dash in (
        (spacing, f"spacing of numbers at 1: {spacing:.1e}", ":"),
        (tolerance, f"tolerance: {tolerance or 0:.0e}", "--"),
    ):
        if level is not None:
            ax.axhline(
                level, color=style.muted, linestyle=dash, linewidth=style.thin_width, label=words
            )
    ax.set_yscale("log")
    set_step_axis(ax, log_time, style=style)
    dress(ax, ylabel="largest absolute deviation", style=style)
    ax.set_ylim(floor * 0.6, shown.max() * 6)
    decades = np.arange(np.log10(floor), np.ceil(np.log10(shown.max())) + 1)
    chosen = decades[1 :: max(1, int(np.ceil(len(decades) / 7)))]
    ax.set_yticks(
        [floor, *10.0**chosen],
        ["0", *(f"$10^{{{round(power)}}}$" for power in chosen)],
    )
    ax.minorticks_off()
    if log_time:
        set_step_axis(ax, log_time, style=style)
    ax.margins(x=0.02)
    return lines
