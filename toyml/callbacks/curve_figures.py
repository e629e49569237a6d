"""Figures of a net that fits a curve of one input."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toyml import measures, plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.claims.sides import curve
from toyml.measures.sides import side_errors
from toyml.plots.style import step_ticks
from toyml.run import Run
from toyml.views import frames

FINE = 801  # points of a drawn curve


class Fit(Figure):
    """The curve over the steps, above the final one.

    Args:
        count: Number of curves drawn, evenly spread in log(step).
        name: Stem of the files.

    Raises:
        ValueError: Fewer than two curves.
    """

    def __init__(self, count: int = 10, name: str = "fit") -> None:
        super().__init__(name)
        if count < 2:
            raise ValueError(f"count is {count}; draw at least 2 curves")
        self.count = count

    def draw(self, run: Run) -> Drawing:
        """Evaluate the chosen snapshots on a fine grid."""
        x, y = curve(run)
        indices = run.trajectory.thinned_log(self.count)
        steps = run.trajectory.steps[indices]
        grid, outputs = fine(run, x, indices)
        canvas = plots.new_figure(9.0, 8.4)
        above, below = canvas.subplots(2, 1, sharex=True, sharey=True)
        drawn = plots.plot_fits(above, x.numpy(), y.numpy(), grid, outputs, steps)
        plots.add_colorbar(above, drawn.mappable, "step", ticks=step_ticks(steps[0], steps[-1]))
        plots.plot_fit(below, x.numpy(), y.numpy(), grid, outputs[-1])
        above.set_xlabel("")
        # A diverging or overshooting early curve must not hide the data.
        low, high = float(y.min()), float(y.max())
        above.set_ylim(low - 0.25 * (high - low), high + 0.25 * (high - low))
        last = int(steps[-1])
        plots.set_title(above, f"The model from step {steps[0]:,} (faint) to {last:,}")
        left, right = final_errors(run)
        outcome = f"the {'right' if left < right else 'left'} half is fitted worse"
        if max(left, right) < 1.1 * min(left, right):
            outcome = "neither half is fitted better"
        plots.set_title(below, f"Step {last:,}: {outcome}")
        plots.add_legend(below)
        return Drawing(
            canvas,
            "The fit over the steps",
            f"At step {last:,} the squared error relative to the squared targets is {left:.4f} in "
            f"the left half and {right:.4f} in the right half (0 is perfect, 1 is what the "
            "constant 0 gets).",
            f"The data and the model's curve at {len(steps)} steps up to {last:,}, below it the "
            f"last one; {outcome}.",
        )


class Thresholds(Figure):
    """Where the hidden units switch, and the staircase that remains of sharp ones.

    Each unit switches at x = -b/w. With every sigmoid replaced by a unit step there, the net's
    prediction is constant between the thresholds.

    Args:
        name: Stem of the files.
    """

    def __init__(self, name: str = "thresholds") -> None:
        super().__init__(name)

    def draw(self, run: Run) -> Drawing:
        """Read the last snapshot."""
        x, y = curve(run)
        last = run.trajectory.select([-1])
        if sum(p.ndim == 3 for p in last.values()) != 2:
            raise NotApplicable("thresholds belong to a net with exactly one hidden layer")
        weights, biases = measures.first_layer(last)
        at = measures.thresholds(weights, biases)[0].double()
        grid, outputs = fine(run, x, np.array([-1]))
        inner = at[(at > grid[0]) & (at < grid[-1])].sort().values
        edges = torch.cat([x[:1, 0], inner, x[-1:, 0]])
        middles = ((edges[1:] + edges[:-1]) / 2)[:, None].to(weights.dtype)
        try:
            stairs = measures.step_prediction(run.net, last, middles)[0, :, 0].double().numpy()
        except ValueError as error:
            raise NotApplicable(str(error)) from error
        canvas = plots.new_figure(9.0, 5.2)
        ax = canvas.subplots()
        plots.plot_fit(ax, x.numpy(), y.numpy(), grid, outputs[0])
        plots.plot_step_prediction(ax, edges.numpy(), stairs)
        plots.plot_thresholds(ax, at.numpy(), (weights[0, :, 0] > 0).numpy())
        plots.add_legend(ax, below=True, columns=2)
        inside = len(edges) - 2
        h, left = len(at), int((edges[1:-1] < x[:, 0].mean()).sum())
        plots.set_title(
            ax, f"{left} of {h} hidden units switch in the left half, {inside - left} in the right"
        )
        where = ", ".join(f"{value:.3g}" for value in edges[1:-1].tolist()) or "nowhere"
        return Drawing(
            canvas,
            "Thresholds of the hidden units",
            f"The units switch at -b/w = {where} inside the data ({h - inside} of {h} outside). "
            "The dashed staircase is the prediction with every sigmoid replaced by a unit step: "
            "how far it is from the curve shows how much the net lives from soft transitions.",
            f"The fit with {inside} thresholds marked and the piecewise constant prediction.",
        )


class SideErrors(Figure):
    """Relative squared error of the left and of the right half over the steps.

    Args:
        log_time: Logarithmic steps.
        name: Stem of the files.
    """

    def __init__(self, log_time: bool = False, name: str = "side_errors") -> None:
        super().__init__(name)
        self.log_time = log_time

    def draw(self, run: Run) -> Drawing:
        """Evaluate the recorded steps on the data."""
        curve(run)
        x, y = run.data
        chosen = frames(run, 1000)
        steps = run.trajectory.steps[chosen]
        output = measures.outputs(run.net, run.trajectory.select(chosen), x)
        errors = side_errors(output, x, y).double().numpy()
        canvas = plots.new_figure(9.0, 4.6)
        ax = canvas.subplots()
        plots.plot_curves(
            ax,
            steps,
            {"left half": errors[:, 0], "right half": errors[:, 1]},
            quantity="squared error / squared targets",
            log_time=self.log_time,
            log_value=True,
        )
        plots.add_legend(ax)
        left, right = errors[-1]
        first, second = ("left", "right") if left < right else ("right", "left")
        ratio = max(left, right) / max(min(left, right), 1e-300)
        plots.set_title(ax, f"The {first} half ends {ratio:,.1f} times better than the {second}")
        return Drawing(
            canvas,
            "Errors of the two halves",
            f"At step {steps[-1]:,} the relative squared error is {left:.4g} at the left and "
            f"{right:.4g} at the right; 1 is what the constant 0 gets.",
            f"Two curves over {steps[-1]:,} steps: relative error of the left and right half.",
        )


def fine(
    run: Run, x: Tensor, indices: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A fine grid over the data [g] and the model on it at the chosen snapshots [t, g]."""
    parameters = run.trajectory.select(indices)
    dtype = next(iter(parameters.values())).dtype
    grid = torch.linspace(float(x.min()), float(x.max()), FINE, dtype=dtype)
    output = measures.outputs(run.net, parameters, grid[:, None])
    if output.shape[2] != 1:
        raise NotApplicable(f"the net has {output.shape[2]} outputs; a curve needs one")
    return grid.double().numpy(), output[..., 0].double().numpy()


def final_errors(run: Run) -> tuple[float, float]:
    """Relative squared errors of the left and the right half at the end."""
    x, y = run.data
    output = measures.outputs(run.net, run.trajectory.select([-1]), x)
    left, right = side_errors(output, x, y)[0].tolist()
    return left, right
