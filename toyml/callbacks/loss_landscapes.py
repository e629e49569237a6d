"""The loss of two parameters for several losses, with the path that the optimizer takes on each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import nn

from toyml import measures, plots, theory
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.claims.minimum import affine_rows, exact_minimum
from toyml.claims.quadratic import sgd_settings
from toyml.claims.replay import replayed
from toyml.run import Run
from toyml.views.landscape import name_of

DRAWN = 1500  # points of a path that a picture can show


class Panel(NamedTuple):
    """What one panel of the landscape shows, all as arrays.

    Attributes:
        name: Of the loss.
        surface: Losses on the grid [g, g].
        path: Points of the training [t, 2].
        losses: The loss at its first and last point.
        minimum: The exact minimiser [2], where known.
        decayed: The minimiser with weight decay [2], where there is one and it is known.
    """

    name: str
    surface: NDArray[np.float64]
    path: NDArray[np.float64]
    losses: tuple[float, float]
    minimum: NDArray[np.float64] | None
    decayed: NDArray[np.float64] | None


class LossLandscapes(Figure):
    """The loss over both parameters of a two-parameter model, with the path of the training.

    One panel per loss. On the run's own loss lies the recorded path; on the others the path that
    the same optimizer takes from the same start, trained once more for the picture.

    Args:
        losses: Losses to draw; the run's own comes first, whatever is listed. By default MSE, L1,
            Huber and smooth L1.
        optimizer: Another optimizer for all panels; ``null`` takes the run's own.
        steps: Steps of each path; ``null`` takes those of the run, 10,000 at most.
        low: Least value of both axes.
        high: Greatest value of both axes.
        grid: Points per side.
        shared_levels: Color all panels by the same levels instead of each by its own.
        name: Stem of the files.

    Raises:
        ValueError: An empty window, too few points, or no steps.
    """

    def __init__(
        self,
        losses: list[nn.Module] | None = None,
        optimizer: OptimizerCallable | None = None,
        steps: int | None = None,
        low: float = -5.0,
        high: float = 8.0,
        grid: int = 101,
        shared_levels: bool = False,
        name: str = "landscape",
    ) -> None:
        super().__init__(name)
        if not low < high:
            raise ValueError(f"the window is {low} to {high}; low has to be below high")
        if grid < 3:
            raise ValueError(f"grid is {grid}; draw at least 3 points per side")
        if steps is not None and steps < 1:
            raise ValueError(f"steps is {steps}; a path needs at least 1")
        self.losses = losses or [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.SmoothL1Loss()]
        self.optimizer, self.steps = optimizer, steps
        self.low, self.high, self.grid, self.shared_levels = low, high, grid, shared_levels

    def draw(self, run: Run) -> Drawing:
        """Evaluate every loss on the grid, train for the missing paths, draw."""
        names = two_parameters(run)
        axis = np.linspace(self.low, self.high, self.grid)
        panels = self.panels(run, axis, names)
        shared = [panel.surface for panel in panels] if self.shared_levels else None
        rows = (len(panels) + 1) // 2
        canvas = plots.new_figure(11.0, 4.9 * rows)
        axes = list(canvas.subplots(rows, 2, squeeze=False).ravel())
        for ax, panel in zip(axes, panels, strict=False):
            draw_panel(ax, axis, panel, names, shared or [panel.surface])
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        plots.add_legend(axes[0])
        steps = self.length(run)
        diamond = (
            ", the diamond that with weight decay"
            if any(p.decayed is not None for p in panels)
            else ""
        )
        return Drawing(
            canvas,
            f"Landscape and path: {self.words(run)}",
            f"The loss over {names[0]} and {names[1]}, with {steps:,} step{'s' * (steps != 1)} "
            "from the same start (circle) to the end (square); the star is the exact "
            f"minimum{diamond}. " + "; ".join(end_words(p) for p in panels) + ".",
            f"A panel for each loss ({', '.join(p.name for p in panels)}): contours "
            f"over the two parameters from {self.low:g} to {self.high:g}, with the path of "
            f"{self.words(run)} from start to end.",
        )

    def words(self, run: Run) -> str:
        """The optimizer and its settings."""
        with ExitStack() as stack:
            return optimizer_words(stack.enter_context(replayed(run, 0, optimizer=self.optimizer)))

    def length(self, run: Run) -> int:
        """Steps of each path."""
        return self.steps or min(int(run.trajectory.steps[-1]), 10_000)

    def panels(self, run: Run, axis: NDArray[np.float64], names: Sequence[str]) -> list[Panel]:
        """Everything the panels show."""
        x, y = run.rows()
        own = name_of(run.loss)
        losses = {own: run.loss, **{name_of(loss): loss for loss in self.losses}}
        losses[own] = run.loss
        first = {name: p.double() for name, p in run.trajectory.at(0).items()}
        plane = measures.plane_of_parameters(first, *names)
        grid = torch.from_numpy(axis)
        surfaces = measures.landscape(run.net, losses, plane, grid, grid, x, y)
        panels = []
        for name, loss in losses.items():
            recorded = name == own and self.optimizer is None
            with ExitStack() as stack:
                path = (
                    run
                    if recorded
                    else stack.enter_context(
                        replayed(run, self.length(run), optimizer=self.optimizer, loss=loss)
                    )
                )
                panels.append(make_panel(path, name, loss, surfaces[name].numpy()))
        return panels


def optimizer_words(run: Run) -> str:
    """The optimizer of a run and its settings."""
    try:
        return f"SGD with {sgd_settings(run).words()}"
    except NotApplicable:
        optimizer = run.task.optimizer(run.net.parameters())  # type: ignore[operator]
        return type(optimizer).__name__


def two_parameters(run: Run) -> tuple[str, str]:
    """Names of the two scalar parameters.

    Raises:
        NotApplicable: There are more or fewer, or the start was not recorded.
    """
    count = run.trajectory.parameters.flat.shape[1]
    if count != 2:
        raise NotApplicable(f"a landscape of all parameters needs two; the net has {count}")
    if not len(run.trajectory) or run.trajectory.steps[0] != 0:
        raise NotApplicable("the start of the path was not recorded")
    return run.trajectory.scalar_name(0), run.trajectory.scalar_name(1)


def make_panel(path: Run, name: str, loss: nn.Module, surface: NDArray[np.float64]) -> Panel:
    """Read what a panel shows off a run on this loss."""
    chosen = path.trajectory.thinned(DRAWN)
    x, y = path.data
    ends = measures.losses(path.net, loss, path.trajectory.points([0, -1]), x, y)
    try:
        minimum = exact_minimum(path, loss).numpy()
    except NotApplicable:
        minimum = None
    return Panel(
        name,
        surface,
        np.array(path.trajectory.parameters.flat[chosen], dtype=np.float64),
        (float(ends[0]), float(ends[1])),
        minimum,
        decayed_minimum(path),
    )


def decayed_minimum(run: Run) -> NDArray[np.float64] | None:
    """The exact minimiser of mean squared error plus weight decay, if there is weight decay."""
    try:
        settings = sgd_settings(run)
        if not settings.weight_decay or not isinstance(run.loss, nn.MSELoss):
            return None
        w, b = theory.ridge(*affine_rows(run), settings.weight_decay)
    except NotApplicable:
        return None
    return torch.cat([w, b.reshape(1)]).numpy()


def draw_panel(
    ax: Axes,
    axis: NDArray[np.float64],
    panel: Panel,
    names: Sequence[str],
    leveled: Sequence[NDArray[np.float64]],
) -> None:
    """One landscape with its path, minima and color bar; its levels span the surfaces given."""
    drawn = plots.plot_landscape(
        ax,
        axis,
        axis,
        panel.surface,
        levels=plots.landscape_levels(*leveled, count=14, decades=2.8),
        path=panel.path,
        minimum=panel.minimum,
        xlabel=names[0],
        ylabel=names[1],
    )
    if panel.decayed is not None:
        ax.plot(
            *panel.decayed,
            marker="D",
            markersize=8,
            markerfacecolor="white",
            markeredgecolor=plots.STYLE.ink,
            linestyle="none",
            label="minimum with weight decay",
            zorder=6,
        )
    ax.set_aspect("equal")
    plots.add_colorbar(ax, drawn.filled, "loss")
    plots.set_title(ax, f"{panel.name}: {panel.losses[0]:.4g} to {panel.losses[1]:.4g}")


def end_words(panel: Panel) -> str:
    """Where a path ends, in words."""
    w, b = panel.path[-1]
    if not np.isfinite([w, b, panel.losses[1]]).all():
        return f"{panel.name} ends where the loss is no finite number"
    return f"{panel.name} ends at ({w:.6g}, {b:.6g}) with {panel.losses[1]:.6g}"
