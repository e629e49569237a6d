"""The basin map: a plane of starting points, colored by where training ends and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from toyml import plots
from toyml.callbacks.figure import Drawing
from toyml.callbacks.sweep_figures import SweepFigure, plane
from toyml.claims import NotApplicable
from toyml.configured import instantiate
from toyml.measures import hessian_spectrum, losses
from toyml.palette import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILLION
from toyml.plots.style import dress
from toyml.run import network
from toyml.sweep.axis import label_of
from toyml.sweep.basin import places, speeds
from toyml.sweep.curvature import highest_sharpness
from toyml.sweep.folder import Sweep
from toyml.sweep.keys import end_column
from toyml.sweep.outcome import CONVERGED, DIVERGED, MOVING, PLATEAU
from toyml.sweep.start import entry

COLORS = {
    CONVERGED: (BLUE, GREEN, PURPLE, SKY),
    PLATEAU: (ORANGE, VERMILLION, "#8C6D1F"),
    MOVING: ("#9AA1AB",),
    DIVERGED: (INK,),
}


class SweepBasins(SweepFigure):
    """Where training ends from every starting point of a plane, and how fast it gets there.

    The two varied initial parameters span the plane. Trainings that converged are told apart by
    their end points (those that hang together are one place), plateaus by their loss. The fewer
    steps, the stronger the color. Where the net has just these two parameters, the loss is drawn as
    contours, and for SGD the line on which the sharpness reaches the limit of the learning rate: no
    training can stay at a minimum beyond it.

    Args:
        grid: Points a side of the contours.
        name: Stem of the files.

    Raises:
        ValueError: Fewer than two points.
    """

    def __init__(self, grid: int = 201, name: str = "sweep_basins") -> None:
        super().__init__(name)
        if grid < 2:
            raise ValueError(f"grid is {grid}; give at least 2 points a side")
        self.grid = grid

    def draw_sweep(self, sweep: Sweep) -> Drawing:
        """Read the table."""
        keys = [k for k, v in sweep.varied.items() if k.startswith("initial.") and len(v) > 1]
        r = len(sweep.table)
        if len(keys) != 2 or r != len(sweep.varied[keys[0]]) * len(sweep.varied[keys[1]]):
            raise NotApplicable("a basin map needs two varied initial parameters, and only these")
        x, y = keys
        xs, ys = (sorted(sweep.varied[k]) for k in keys)
        found = places(sweep.table, [end_column(k) for k in keys])
        where, speed = (
            plane(sweep.table, x, y, xs, ys, v) for v in (found.number, speeds(sweep.table))
        )
        canvas = plots.new_figure(7.6, 7.6)
        ax = canvas.add_subplot()
        plots.plot_basins(ax, xs, ys, where, speed, found.names, colors_of(found.kinds))
        box = ax.get_xlim(), ax.get_ylim()
        drawn = self._landscape(ax, sweep, keys, xs, ys)
        plot_ends(ax, sweep, keys)
        ax.set_xlim(box[0])
        ax.set_ylim(box[1])
        dress(ax, label_of(x), label_of(y), grid=False)
        plots.add_legend(ax, below=True, columns=2)
        plots.set_title(ax, f"Where training ends, and how fast, from {r:,} starting points")
        shares = [float((found.number == i).mean()) for i in range(len(found.names))]
        said = "; ".join(f"{n} {s:.1%}" for n, s in zip(found.names, shares, strict=True) if s)
        caption = (
            "Color: where a training ends that starts at this point; strength: how fast (the fewer "
            f"steps, the stronger). Of all starting points: {said}.{drawn}"
        )
        return Drawing(canvas, f"Where {r:,} starting points lead", caption, caption)

    def _landscape(
        self, ax: Axes, sweep: Sweep, keys: Sequence[str], xs: list[float], ys: list[float]
    ) -> str:
        """Contours of the loss and the limit of the sharpness, for a net of two parameters."""
        built = instantiate(sweep.config, ["model", "data"], "the sweep's config", sweep.trust)
        task = built["model"].double()
        net = network(task)
        if sum(p.numel() for p in net.parameters()) != 2:
            return ""
        x, y = built["data"].arrays()
        across, up = (np.linspace(v[0], v[-1], self.grid) for v in (xs, ys))
        grid = {
            name: torch.zeros(self.grid**2, *p.shape, dtype=torch.float64)
            for name, p in net.named_parameters()
        }
        for key, values in zip(keys, np.meshgrid(across, up), strict=True):
            entry(grid, key).copy_(torch.as_tensor(values.ravel()))
        surface = losses(net, task.loss, grid, x, y).numpy().reshape(self.grid, self.grid)
        levels = np.unique(np.quantile(surface, np.linspace(0.02, 0.8, 7)))
        lines: dict[str, Any] = {"colors": "white", "linewidths": 0.8, "alpha": 0.75}
        ax.contour(across, up, surface, levels=levels, zorder=2, **lines)
        limit = highest_sharpness(sweep)
        if limit is None:
            return " White lines: the loss."
        top = hessian_spectrum(net, task.loss, grid, x, y).amax(1).numpy()
        if not top.min() < limit < top.max():
            side = "above" if top.min() >= limit else "below"
            return (
                f" White lines: the loss; its sharpness is {side} the limit of the step, "
                f"{limit:.4g}, everywhere."
            )
        dashed: dict[str, Any] = {"colors": INK, "linewidths": 1.8, "linestyles": "--"}
        ax.contour(across, up, top.reshape(surface.shape), levels=[limit], zorder=3, **dashed)
        label = f"sharpness {limit:.4g}, the limit of this learning rate"
        ax.plot([], [], "--", color=INK, linewidth=1.8, label=label)
        return " White lines: the loss; dashed: where the sharpness is at the limit of the step."


def plot_ends(ax: Axes, sweep: Sweep, keys: Sequence[str]) -> None:
    """Mark where trainings ended."""
    ended = np.isin(sweep.table["outcome"].to_numpy(), [CONVERGED, PLATEAU])
    at = sweep.table.select(end_column(k) for k in keys).to_numpy()[ended]
    at = at[:: max(1, len(at) // 1500)]
    dot: dict[str, Any] = {
        "markersize": 5,
        "markeredgewidth": 0.5,
        "color": "white",
        "markeredgecolor": INK,
    }
    ax.plot(*at.T, ".", label="where trainings end", zorder=5, **dot)


def colors_of(kinds: Sequence[str]) -> list[str]:
    """A color for every place, by its outcome."""
    taken = dict.fromkeys(COLORS, 0)
    found = []
    for kind in kinds:
        found.append(COLORS[kind][taken[kind] % len(COLORS[kind])])
        taken[kind] += 1
    return found
