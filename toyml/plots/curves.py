"""Quantities over the steps: losses, parameters, laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from toyml.palette import REFERENCES
from toyml.plots.style import STYLE, Style, dress, set_step_axis, set_value_axis


def plot_curves(
    ax: Axes,
    steps: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    quantity: str = "",
    log_time: bool = False,
    log_value: bool = False,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw named quantities over the steps.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        curves: Name to values [t]; values that are not finite leave a gap.
        quantity: Label of the vertical axis; the name when there is only one.
        log_time: Logarithmic steps (linear from 0 to 1, so that step 0 is there).
        log_value: Logarithmic values; symmetric when some are not positive.
        style: Colors and sizes.

    Raises:
        ValueError: A curve whose length is not that of the steps.
    """
    order = np.asarray(steps).ravel()
    lines = []
    for index, (name, values) in enumerate(curves.items()):
        series = _series(order, values, name)
        lines += ax.plot(
            order,
            series,
            color=style.color(index),
            linestyle=style.dash(index),
            linewidth=style.line_width,
            label=name,
        )
    set_step_axis(ax, log_time, style=style)
    everything = np.concatenate([np.ravel(v) for v in curves.values()]) if curves else [1.0]
    only = next(iter(curves)) if len(curves) == 1 else ""
    set_value_axis(ax, quantity or only, log_value, everything, style=style)
    ax.margins(x=0.02)
    return lines


def plot_parameters(
    ax: Axes,
    steps: ArrayLike,
    values: ArrayLike,
    names: Sequence[str],
    *,
    quantity: str = "parameter",
    log_time: bool = False,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw every parameter over the steps.

    Few have a color each. From eight on, all entries of one tensor (the name up to its bracket,
    as in ``weight[0, 1]``) share a color and one entry of the legend.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        values: Parameters [t, p].
        names: Their names [p].
        quantity: Label of the vertical axis.
        log_time: Logarithmic steps (linear from 0 to 1).
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not match.
    """
    order, table = np.asarray(steps).ravel(), np.asarray(values, dtype=float)
    if table.shape != (len(order), len(names)):
        raise ValueError(
            f"parameters have shape {list(table.shape)}; {len(order)} steps and {len(names)} "
            "names ask for that many rows and columns"
        )
    if len(names) <= len(style.palette):
        curves = dict(zip(names, table.T, strict=True))
        return plot_curves(ax, order, curves, quantity=quantity, log_time=log_time, style=style)
    groups = list(dict.fromkeys(name.split("[")[0] for name in names))
    lines = []
    for name, series in zip(names, table.T, strict=True):
        group = name.split("[")[0]
        index, first = groups.index(group), name == _first(names, group)
        lines += ax.plot(
            order,
            series,
            color=style.color(index),
            linestyle=style.dash(index),
            linewidth=style.thin_width,
            alpha=0.75,
            rasterized=table.size > 100_000,  # an SVG with every one of them would not open
            label=group if first else f"_{name}",
        )
    set_step_axis(ax, log_time, style=style)
    dress(ax, ylabel=quantity, style=style)
    ax.margins(x=0.02)
    return lines


def plot_law(
    ax: Axes,
    steps: ArrayLike,
    measured: ArrayLike,
    predicted: ArrayLike,
    *,
    quantity: str,
    measured_label: str = "measured",
    predicted_label: str = "theory",
    limit: float | None = None,
    limit_label: str = "limit",
    log_time: bool = True,
    log_value: bool = False,
    style: Style = STYLE,
) -> list[Line2D]:
    """Draw a measurement and what theory says of it.

    Args:
        ax: Where.
        steps: Optimizer steps [t].
        measured: Measured values [t].
        predicted: Predicted values [t]; not finite where theory is silent.
        quantity: Label of the vertical axis, with the unit.
        measured_label: Name of the measurement.
        predicted_label: Name of the law, with its formula.
        limit: The value the law tends to, drawn as a level line.
        limit_label: Its name.
        log_time: Logarithmic steps (linear from 0 to 1).
        log_value: Logarithmic values; symmetric when some are not positive.
        style: Colors and sizes.

    Returns:
        The measurement, the law and, where given, the limit.

    Raises:
        ValueError: Lengths that are not that of the steps.
    """
    order = np.asarray(steps).ravel()
    found, law = _series(order, measured, measured_label), _series(order, predicted, "law")
    lines = ax.plot(
        order, found, color=style.color(0), linewidth=style.line_width + 1.2, label=measured_label
    )
    # Theory lies on top, thin and dashed: where the two agree, both are seen.
    lines += ax.plot(
        order,
        law,
        color=style.ink,
        linewidth=1.4,
        dashes=(4, 2.5),
        label=predicted_label,
    )
    if limit is not None:
        lines.append(
            ax.axhline(
                limit,
                color=style.palette[REFERENCES[1]],
                linewidth=1.6,
                linestyle=":",
                label=limit_label,
            )
        )
    set_step_axis(ax, log_time, style=style)
    shown = np.concatenate([found, law, [] if limit is None else [limit]])
    set_value_axis(ax, quantity, log_value, shown, style=style)
    ax.margins(x=0.02)
    return lines


def _first(names: Sequence[str], group: str) -> str:
    return next(name for name in names if name.split("[")[0] == group)


def _series(steps: NDArray[np.generic], values: ArrayLike, name: str) -> NDArray[np.float64]:
    series = np.asarray(values, dtype=float).ravel()
    if len(series) != len(steps):
        raise ValueError(f"{name} has {len(series)} values for {len(steps)} steps; give one each")
    return np.where(np.isfinite(series), series, np.nan)
