"""Many trainings at once: rates, maps of two settings, fans of losses, basins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from toyml.plots.style import STYLE, Style, as_grid, dress, set_step_axis, set_value_axis

Array = NDArray[np.float64]


class RateCurve(NamedTuple):
    """The artists of a rate over a setting: its line and the band of its intervals."""

    line: Line2D
    band: PolyCollection | None


class Fan(NamedTuple):
    """The artists of losses over steps: bands from the outermost inwards, and the median."""

    bands: Sequence[PolyCollection]
    median: Line2D


def plot_rate(
    ax: Axes,
    values: ArrayLike,
    shares: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    *,
    name: str = "converged",
    index: int = 0,
    style: Style = STYLE,
) -> RateCurve:
    """Draw the share of trainings that converged over a setting, with its intervals.

    Args:
        ax: Where.
        values: Values of the setting [g].
        shares: Shares [g], 0 to 1.
        low: Lower ends of the intervals [g]; ``None`` where there are none.
        high: Upper ends [g].
        name: Its name in the legend.
        index: Number of the curve, for its color and dashes.
        style: Colors and sizes.

    Raises:
        ValueError: Arrays of different lengths.
    """
    at, share = same_length(values, shares)
    color, band = style.color(index), None
    if low is not None and high is not None:
        _, bottom, top = same_length(at, low, high)
        band = ax.fill_between(at, bottom, top, color=color, alpha=0.18, linewidth=0)
    (line,) = ax.plot(
        at,
        share,
        color=color,
        linestyle=style.dashes[index % len(style.dashes)],
        linewidth=style.line_width,
        marker="o",
        markersize=4 if len(at) <= 40 else 0,
        label=name,
    )
    ax.set_ylim(-0.03, 1.03)
    return RateCurve(line, band)


def plot_rate_bars(
    ax: Axes,
    names: Sequence[str],
    shares: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    *,
    name: str = "converged",
    index: int = 0,
    count: int = 1,
    style: Style = STYLE,
) -> ErrorbarContainer:
    """Draw the share of trainings that converged for each of several settings.

    Args:
        ax: Where.
        names: Names of the settings [g].
        shares: Shares [g], 0 to 1.
        low: Lower ends of the intervals [g]; ``None`` where there are none.
        high: Upper ends [g].
        name: Its name in the legend.
        index: Number of the series, for its color and its place beside the others.
        count: Number of series.
        style: Colors and sizes.

    Raises:
        ValueError: Arrays of different lengths.
    """
    at, share = same_length(np.arange(len(names)), shares)
    shift, spread = (index - (count - 1) / 2) * 0.16, None
    if low is not None and high is not None:
        _, bottom, top = same_length(at, low, high)
        # The bounds hold the share but for rounding.
        spread = np.maximum([share - bottom, top - share], 0)
    drawn = ax.errorbar(
        at + shift,
        share,
        yerr=spread,
        color=style.color(index),
        marker=("o", "s", "^", "D", "v", "P")[index % 6],
        markersize=7,
        linestyle="none",
        elinewidth=2.2,
        capsize=4,
        label=name,
    )
    ax.set_xticks(at, list(names))
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(-0.03, 1.03)
    return drawn


def plot_shares(
    ax: Axes,
    values: ArrayLike,
    shares: Mapping[str, ArrayLike],
    colors: Mapping[str, str],
) -> Sequence[PolyCollection]:
    """Draw what became of all trainings over a setting: shares that add up to one.

    Args:
        ax: Where.
        values: Values of the setting [g].
        shares: Name of an outcome to its shares [g].
        colors: Name of an outcome to its color.

    Returns:
        One area per outcome, from the bottom up.

    Raises:
        ValueError: Shares that do not add up to one, or of another length.
    """
    at, *layers = same_length(values, *shares.values())
    if not np.allclose(np.sum(layers, axis=0), 1):
        raise ValueError("shares do not add up to 1; give one for every outcome")
    edges = np.concatenate([[np.zeros_like(at)], np.cumsum(layers, axis=0)])
    areas = [
        ax.fill_between(at, low, high, color=colors[name], linewidth=0, label=name)
        for name, low, high in zip(shares, edges[:-1], edges[1:], strict=True)
    ]
    ax.set_ylim(0, 1)
    return areas


def plot_map(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    field: ArrayLike,
    *,
    low: float = 0.0,
    high: float = 1.0,
    style: Style = STYLE,
) -> QuadMesh:
    """Draw a number for every pair of two settings, one tile each.

    Args:
        ax: Where.
        xs: Values of the horizontal setting [g1], increasing.
        ys: Values of the vertical setting [g2], increasing.
        field: [g2, g1]; NaN leaves a tile white.
        low: Value of the faintest color.
        high: Value of the strongest.
        style: Colors and sizes.

    Raises:
        ValueError: A shape other than [g2, g1].
    """
    values = as_grid(xs, ys, field)
    logs = [spaced_by_ratio(v) for v in (xs, ys)]
    mesh = ax.pcolormesh(
        edges(xs, logs[0]),
        edges(ys, logs[1]),
        np.ma.masked_invalid(values),
        cmap=rate_map(),
        vmin=low,
        vmax=high,
        rasterized=True,
    )
    for log, axis in zip(logs, (ax.set_xscale, ax.set_yscale), strict=True):
        axis("log" if log else "linear")
    dress(ax, grid=False, style=style)
    return mesh


def plot_limit(
    ax: Axes, xs: ArrayLike, ys: ArrayLike, name: str, *, style: Style = STYLE
) -> Line2D:
    """Draw a line that theory knows over a map.

    Args:
        ax: Where.
        xs: Along the horizontal axis [g].
        ys: Along the vertical axis [g].
        name: Its name in the legend.
        style: Colors and sizes.
    """
    at, values = same_length(xs, ys)
    # A white line under the dark one: seen on every tile.
    ax.plot(at, values, color="white", linewidth=4.5, solid_capstyle="butt", label="_under")
    (line,) = ax.plot(at, values, color=style.ink, linewidth=2, label=name)
    return line


def plot_fan(
    ax: Axes,
    steps: ArrayLike,
    losses: ArrayLike,
    *,
    quantiles: Sequence[float] = (0.0, 0.1, 0.25),
    log_value: bool = True,
    style: Style = STYLE,
) -> Fan:
    """Draw the losses of many trainings over steps as nested bands around their median.

    Args:
        ax: Where.
        steps: [t].
        losses: [t, r]; trainings that diverged count as greatest, with what is not finite at the
            upper edge.
        quantiles: Lower ends of the bands; each reaches up to 1 minus it.
        log_value: Logarithmic losses.
        style: Colors and sizes.

    Raises:
        ValueError: Shapes that do not fit, or no finite loss.
    """
    at, values = np.asarray(steps, dtype=float), np.asarray(losses, dtype=float)
    if values.ndim != 2 or len(values) != len(at):
        raise ValueError(f"losses have shape {list(values.shape)}; give [{len(at)}, r]")
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError(f"none of {values.shape[1]} trainings has a finite loss; nothing to draw")
    # A few trainings that explode would squeeze all others into one line.
    top = min(float(finite.max()), 10 * float(np.nanmax(values[0])))
    bottom = max(float(finite.min()), top * 1e-16)
    lost = np.where(np.isfinite(values), values, np.inf)
    shown = np.clip(lost, bottom if log_value else None, top)
    color, bands = style.color(0), []
    for low, alpha in zip(quantiles, (0.14, 0.22, 0.34), strict=False):
        lower, upper = np.quantile(shown, [low, 1 - low], axis=1)
        name = "all" if low == 0 else f"middle {1 - 2 * low:.0%}"
        bands.append(
            ax.fill_between(at, lower, upper, color=color, alpha=alpha, linewidth=0, label=name)
        )
    middle = np.quantile(shown, 0.5, axis=1)
    (median,) = ax.plot(at, middle, color=style.highlight, linewidth=2.2, label="median")
    set_step_axis(ax, True, style=style)
    set_value_axis(ax, "loss", log_value, shown, style=style)
    ax.set_xlim(at[0], at[-1])
    return Fan(bands, median)


def plot_basins(
    ax: Axes,
    xs: ArrayLike,
    ys: ArrayLike,
    places: ArrayLike,
    speed: ArrayLike,
    names: Sequence[str],
    colors: Sequence[str],
    *,
    style: Style = STYLE,
) -> AxesImage:
    """Color a plane of starting points by where training ends, paler the longer it takes.

    Args:
        ax: Where.
        xs: Starting values along the horizontal axis [g1], increasing.
        ys: Along the vertical axis [g2].
        places: Number of the place at which training from there ends [g2, g1].
        speed: 1 for the fastest, 0 for the slowest [g2, g1].
        names: Names of the places, for the legend.
        colors: Their colors.
        style: Colors and sizes.

    Raises:
        ValueError: Shapes other than [g2, g1], or a place without a name.
    """
    where = as_grid(xs, ys, places).astype(int)
    strength = 0.25 + 0.75 * np.clip(as_grid(xs, ys, speed), 0, 1)[..., None]
    if where.min() < 0 or where.max() >= min(len(names), len(colors)):
        raise ValueError(f"places go from {where.min()} to {where.max()} for {len(names)} names")
    base = np.array([to_rgb(color) for color in colors])[where]
    tiles = 1 - strength * (1 - base)
    image: AxesImage = ax.pcolorfast(edges(xs, False), edges(ys, False), tiles, zorder=1)  # type: ignore[assignment]
    for i, name in enumerate(names):
        if (where == i).any():
            ax.plot([], [], "s", color=colors[i], markersize=9, label=name)  # for the legend
    dress(ax, grid=False, style=style)
    return image


def rate_map() -> LinearSegmentedColormap:
    """From never to always: one hue, faint to strong, so that it survives grey printing."""
    return LinearSegmentedColormap.from_list(
        "rate", ["#F4EFE6", "#C9D8E3", "#8DB4CF", "#4486B4", "#0B4F7F"]
    )


def map_colors(low: float, high: float) -> ScalarMappable:
    """Values to the colors of a map."""
    mappable = ScalarMappable(cmap=rate_map())
    mappable.set_clim(low, high)
    return mappable


def spaced_by_ratio(values: ArrayLike) -> bool:
    """Whether positive values are spaced by ratios rather than by differences.

    Example:
        >>> spaced_by_ratio([0.01, 0.1, 1.0]), spaced_by_ratio([0.0, 0.5, 0.9])
        (True, False)
    """
    at = np.asarray(values, dtype=float)
    if len(at) < 3 or (at <= 0).any():
        return False
    ratios, steps = np.diff(np.log(at)), np.diff(at)
    return bool(ratios.std() / abs(ratios.mean()) < steps.std() / abs(steps.mean()))


def edges(values: ArrayLike, log: bool) -> Array:
    """Edges [g + 1] of tiles around values [g]: halfway between neighbors.

    Example:
        >>> edges([1.0, 2.0, 4.0], log=False)
        array([0.5, 1.5, 3. , 5. ])
    """
    at = np.asarray(values, dtype=float)
    at = np.log(at) if log else at
    if len(at) == 1:
        found = np.array([at[0] - 0.5, at[0] + 0.5])
    else:
        middle = (at[1:] + at[:-1]) / 2
        found = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(found) if log else found


def same_length(*arrays: ArrayLike) -> list[Array]:
    """Arrays as float [g].

    Raises:
        ValueError: They differ in length.
    """
    flat = [np.asarray(a, dtype=float).ravel() for a in arrays]
    if len({len(a) for a in flat}) != 1:
        raise ValueError(f"lengths are {[len(a) for a in flat]}; give one value for each setting")
    return flat
