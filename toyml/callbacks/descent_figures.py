"""Figures of one affine map under SGD: its lines, its stability, its predicted path."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from toyml import measures, plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.claims.minimum import affine_rows, exact_minimum
from toyml.claims.quadratic import Settings, companion_path, quadratic
from toyml.plots.style import step_ticks
from toyml.run import Run
from toyml.views.landscape import name_of


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
        exact = {name_of(loss): exact_minimum(run, loss).numpy() for loss in self.losses}
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
        plots.set_title(ax, f"After {steps[-1]:,} steps: y = {w[-1]:.4g} x + {b[-1]:.4g}")
        return Drawing(
            canvas,
            "The line and the data",
            f"The line at {len(steps)} steps, faint to strong, and the exact lines of "
            f"{', '.join(exact)}: no line fits a parabola, and each loss settles for another.",
            f"Scatter plot of {len(x)} points with {len(steps)} lines of the training, the last "
            f"with slope {w[-1]:.4g}, and the best lines of {', '.join(exact)}.",
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
            f"{problem.limit:.8f}; at lr {own.lr:g} {long_run(radius)}.",
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


def long_run(radius: float) -> str:
    """What a spectral radius makes of the distance from the minimum, in words.

    Example:
        >>> long_run(0.1)
        'in the long run the distance shrinks to 0.100000 of itself a step, to a tenth in 1.0 steps'
        >>> long_run(2.0)
        'in the long run the distance grows 2-fold a step'
    """
    if radius < 1:
        steps = np.log(10) / -np.log(max(radius, 1e-300))
        change = f"shrinks to {radius:.6f} of itself a step, to a tenth in {steps:.1f} steps"
    else:
        change = "stays" if radius == 1 else f"grows {radius:.6g}-fold a step"
    return f"in the long run the distance {change}"


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
