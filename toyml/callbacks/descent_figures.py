"""Figures of SGD on a loss of two parameters: landscape and path, stability, prediction."""

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
from toyml.claims.quadratic import Settings, companion_path, quadratic, sgd_settings
from toyml.claims.replay import replayed
from toyml.plots.style import step_ticks
from toyml.run import Run

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


class Landscape(Figure):
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
        return Drawing(
            canvas,
            f"Landscape and path: {self.words(run)}",
            f"The loss over {names[0]} and {names[1]}, with {steps:,} steps from the same start "
            "(circle) to the end (square); the star is the exact minimum. "
            + "; ".join(end_words(p) for p in panels)
            + ".",
            f"A panel for each loss ({', '.join(p.name for p in panels)}): contours "
            f"over the two parameters from {self.low:g} to {self.high:g}, with the path of "
            f"{self.words(run)} from start to end.",
        )

    def words(self, run: Run) -> str:
        """The optimizer and its settings."""
        with ExitStack() as stack:
            other = stack.enter_context(replayed(run, 0, optimizer=self.optimizer))
            try:
                return f"SGD with {sgd_settings(other).words()}"
            except NotApplicable:
                optimizer = other.task.optimizer(other.net.parameters())  # type: ignore[operator]
                return type(optimizer).__name__

    def length(self, run: Run) -> int:
        """Steps of each path."""
        return self.steps or min(int(run.trajectory.steps[-1]), 10_000)

    def panels(self, run: Run, axis: NDArray[np.float64], names: Sequence[str]) -> list[Panel]:
        """Everything the panels show."""
        x, y = (rows.double() for rows in run.data)
        own = loss_name(run.loss)
        losses = {own: run.loss, **{loss_name(loss): loss for loss in self.losses}}
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


def two_parameters(run: Run) -> tuple[str, str]:
    """Names of the two scalar parameters.

    Raises:
        NotApplicable: There are more or fewer, or the start was not recorded.
    """
    shapes = run.trajectory.shapes
    names = measures.scalar_names({k: torch.zeros(1, *shape) for k, shape in shapes.items()})
    if len(names) != 2:
        raise NotApplicable(f"a landscape of all parameters needs two; the net has {len(names)}")
    if not len(run.trajectory) or run.trajectory.steps[0] != 0:
        raise NotApplicable("the start of the path was not recorded")
    return names[0], names[1]


def make_panel(path: Run, name: str, loss: nn.Module, surface: NDArray[np.float64]) -> Panel:
    """Read what a panel shows off a run on this loss."""
    chosen = path.trajectory.thinned(DRAWN)
    x, y = path.data
    ends = measures.losses(path.net, loss, path.trajectory.select([0, -1]), x, y)
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
    return f"{panel.name} ends at ({w:.4f}, {b:.4f}) with {panel.losses[1]:.6f}"


def loss_name(loss: nn.Module) -> str:
    """The loss's class, without the word that says so."""
    return type(loss).__name__.removesuffix("Loss") or type(loss).__name__


class Lines(Figure):
    """The data with the line over the steps, and the lines that each loss would have in the end.

    Args:
        losses: Losses whose exact line is drawn; by default MSE, L1 and Huber.
        count: Number of lines of the training, evenly spread in log(step).
        name: Stem of the files.

    Raises:
        ValueError: Fewer than two lines.
    """

    def __init__(
        self, losses: list[nn.Module] | None = None, count: int = 8, name: str = "lines"
    ) -> None:
        super().__init__(name)
        if count < 2:
            raise ValueError(f"count is {count}; draw at least 2 lines")
        self.losses = losses or [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss()]
        self.count = count

    def draw(self, run: Run) -> Drawing:
        """Read the lines off the trajectory; solve for the exact ones."""
        x, y = affine_rows(run)
        if x.shape[1] != 1:
            raise NotApplicable(f"a line has one input; the data have {x.shape[1]}")
        chosen = run.trajectory.thinned_log(self.count)
        steps = run.trajectory.steps[chosen]
        w, b = np.array(run.trajectory.parameters.flat[chosen], dtype=np.float64).T
        room = 0.08 * float(x.max() - x.min())
        grid = np.array([float(x.min()) - room, float(x.max()) + room])
        exact = {loss_name(loss): exact_minimum(run, loss).numpy() for loss in self.losses}
        canvas = plots.new_figure(8.2, 5.0)
        ax = canvas.subplots()
        drawn = plots.plot_fits(ax, x, y, grid, w[:, None] * grid + b[:, None], steps)
        for i, (name, (slope, offset)) in enumerate(exact.items()):
            label = f"exact {name}: {slope:.4f} x + {offset:.4f}"
            color, dash = plots.STYLE.color(i + 1), plots.STYLE.dashes[1 + i % 3]
            ax.plot(
                grid,
                slope * grid + offset,
                color=color,
                linestyle=dash,
                lw=1.7,
                zorder=6,
                label=label,
            )
        low, high = float(y.min()), float(y.max())
        ax.set_ylim(low - 0.3 * (high - low), high + 0.15 * (high - low))
        plots.add_colorbar(ax, drawn.mappable, "step", ticks=step_ticks(steps[0], steps[-1]))
        plots.add_legend(ax)
        plots.set_title(ax, f"After {steps[-1]:,} steps: y = {w[-1]:.4f} x + {b[-1]:.4f}")
        return Drawing(
            canvas,
            "The line and the data",
            f"The line at {len(steps)} steps, faint to strong, and the exact lines of "
            f"{', '.join(exact)}: no line fits a parabola, and each loss settles for another.",
            f"Scatter plot of {len(x)} points with {len(steps)} lines of the training, the last "
            f"with slope {w[-1]:.4f}, and the best lines of {', '.join(exact)}.",
        )


class Stability(Figure):
    """The spectral radius of SGD's step over the learning rate, with limits and the run's place.

    Args:
        momentum: Momentum of the two curves drawn for comparison, with and without Nesterov.
        name: Stem of the files.

    Raises:
        ValueError: A momentum outside (0, 1).
    """

    def __init__(self, momentum: float = 0.9, name: str = "stability") -> None:
        super().__init__(name)
        if not 0 < momentum < 1:
            raise ValueError(f"momentum is {momentum}; compare with one above 0 and below 1")
        self.momentum = momentum

    def draw(self, run: Run) -> Drawing:
        """Compute the radii from the Hessian of the rows; no training is looked at."""
        problem = quadratic(run)
        own = problem.settings
        curves = {dynamics_words(s): problem._replace(settings=s) for s in self.compared(own)}
        limits = {name: other.limit for name, other in curves.items()}
        rates = np.linspace(0, 1.06 * max(*limits.values(), own.lr), 801)
        radii = {name: [other.radius(lr) for lr in rates] for name, other in curves.items()}
        canvas = plots.new_figure(7.6, 4.8)
        ax = canvas.subplots()
        plots.plot_radii(ax, rates, radii, limits, own.lr)
        plots.add_legend(ax, below=True, columns=2)
        times, radius = problem.limit / own.lr, problem.radius(own.lr)
        plots.set_title(ax, f"The limit is {times:.3g} times this learning rate")
        return Drawing(
            canvas,
            "Learning rate and stability",
            f"Below 1 the path converges. {dynamics_words(own).capitalize()} is stable below lr "
            f"{problem.limit:.8f}; at lr {own.lr:g} the distance shrinks in the long run by "
            f"{radius:.6f} a step, a factor of ten in {tenfold(radius)}.",
            "Curves of the spectral radius over the learning rate for "
            + ", ".join(f"{name} (limit {limits[name]:.4g})" for name in curves)
            + f"; a star marks lr {own.lr:g} with radius {radius:.4f}.",
        )

    def compared(self, own: Settings) -> list[Settings]:
        """The run's settings, then plain descent and both momenta with its weight decay."""
        plain = own._replace(momentum=0.0, dampening=0.0, nesterov=False)
        heavy = plain._replace(momentum=self.momentum)
        return list(dict.fromkeys([own, plain, heavy, heavy._replace(nesterov=True)]))


def dynamics_words(settings: Settings) -> str:
    """The settings without the learning rate."""
    words = settings.words().split(", ")[1:]
    plain = not settings.momentum
    return ", ".join((["plain descent"] if plain else []) + words)


def tenfold(radius: float) -> str:
    """Steps in which the distance shrinks to a tenth, in words."""
    if radius >= 1:
        return "no number of steps"
    return f"{np.log(10) / -np.log(max(radius, 1e-300)):.1f} steps"


class CompanionCheck(Figure):
    """The recorded path against the one that powers of the companion matrix predict.

    Args:
        most_steps: Steps compared at most.
        name: Stem of the files.

    Raises:
        ValueError: Fewer than one step.
    """

    def __init__(self, most_steps: int = 10_000, name: str = "companion") -> None:
        super().__init__(name)
        if most_steps < 1:
            raise ValueError(f"most_steps is {most_steps}; compare at least 1")
        self.most_steps = most_steps

    def draw(self, run: Run) -> Drawing:
        """Predict every recorded step from Hessian, minimum and start."""
        steps, tensor = companion_path(run, self.most_steps)
        predicted = tensor.numpy()
        raw = run.trajectory.parameters.flat[: len(steps)]
        found, unit = np.array(raw, dtype=np.float64), float(np.finfo(raw.dtype).eps)
        one = {k: torch.zeros(1, *s) for k, s in run.trajectory.shapes.items()}
        names = measures.scalar_names(one)
        canvas = plots.new_figure(7.6, 7.6)
        above, below = canvas.subplots(2, 1)
        plots.plot_parameters(above, steps, found, names)
        for i, series in enumerate(predicted.T):
            label = "predicted, without training" if i == 0 else "_predicted"
            above.plot(steps, series, color=plots.STYLE.ink, dashes=(4, 3), lw=1.2, label=label)
        plots.add_legend(above)
        difference = np.abs(found - predicted)
        curves = {
            name: np.where(values > 0, values, np.nan)
            for name, values in zip(names, difference.T, strict=True)
        }
        scale = float(np.abs(predicted).max())
        plots.plot_curves(below, steps, curves, quantity="|recorded − predicted|")
        below.set_yscale("log")
        precision = str(raw.dtype)
        below.axhline(
            unit * scale,
            color=plots.STYLE.muted,
            linestyle=":",
            label=f"spacing of {precision} at {scale:.3g}",
        )
        plots.add_legend(below)
        worst = float(difference.max())
        plots.set_title(above, "Powers of one matrix are the whole training")
        plots.set_title(below, f"They differ by {worst:.1e} at most, rounding of {precision}")
        return Drawing(
            canvas,
            "Path recorded, path predicted",
            f"Above: every recorded step and, dashed, the powers of the companion matrix. Below: "
            f"their difference; the largest is {worst:.2e}, {worst / scale:.2e} of the largest "
            f"parameter. Where no point is drawn the two are equal.",
            f"Parameters over {steps[-1]:,} steps with the predicted path on top of them, and the "
            f"difference on a logarithmic axis, at most {worst:.1e}.",
        )
