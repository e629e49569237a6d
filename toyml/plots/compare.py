"""Several runs on shared axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from toyml.plots.landscape import plot_path
from toyml.plots.style import STYLE, Style, set_step_axis, set_value_axis


def plot_overlay(
    ax: Axes,
    runs: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    quantity: str,
    log_time: bool = False,
    log_value: bool = False,
    part: int | None = None,
    order: Sequence[str] = (),
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw one quantity of several runs.

    Args:
        ax: Where.
        runs: Name of the run to its steps [t] and values [t]; lengths may differ between runs.
        quantity: Label of the vertical axis.
        log_time: Logarithmic steps (linear from 0 to 1).
        log_value: Logarithmic values; symmetric when some are not positive.
        part: First step at which two runs part, marked by a line.
        order: Names of all runs of the comparison: a run has the color of its place among them.
        style: Colors and sizes.

    Returns:
        One line per run.

    Raises:
        ValueError: No runs, or a run with as many values as it has no steps for.
    """
    if not runs:
        raise ValueError("no runs to draw; give at least one")
    lines, everything, every = [], [], list(order or runs)
    for index, (name, (steps, values)) in enumerate(runs.items()):
        at, series = np.asarray(steps).ravel(), np.asarray(values, dtype=float).ravel()
        if len(at) != len(series):
            raise ValueError(f"{name} has {len(series)} values for {len(at)} steps")
        # Runs that coincide are told apart by the earlier, wider line showing at the rim.
        width = style.line_width + 1.2 * (1 - (index + 1) / len(runs))
        lines += ax.plot(
            at,
            np.where(np.isfinite(series), series, np.nan),
            color=style.color(every.index(name)),
            linestyle=style.dash(every.index(name)),
            linewidth=width,
            label=name,
        )
        everything.append(series)
    if part is not None:
        ax.axvline(
            part,
            color=style.muted,
            linestyle=":",
            linewidth=style.thin_width + 0.3,
            label=f"the runs part at step {part:,}",
        )
    set_step_axis(ax, log_time, style=style)
    set_value_axis(ax, quantity, log_value, np.concatenate(everything), style=style)
    ax.margins(x=0.02)
    return lines


def plot_paths(
    ax: Axes, paths: Mapping[str, ArrayLike], *, order: Sequence[str] = (), style: Style = STYLE
) -> list[Line2D]:
    """Draw the paths of several runs over a landscape that is there already.

    Args:
        ax: Where; limits stay as ``plot_landscape`` left them.
        paths: Name of the run to its points in the plane [t, 2].
        order: Names of all runs of the comparison, as for ``plot_overlay``.
        style: Colors and sizes.

    Returns:
        One line per run.
    """
    every = list(order or paths)
    return [
        plot_path(
            ax,
            path,
            name,
            color=style.color(every.index(name)),
            linestyle=style.dash(every.index(name)),
            style=style,
        )
        for name, path in paths.items()
    ]
