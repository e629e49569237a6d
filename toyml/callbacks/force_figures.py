"""What an optimizer adds up to a step."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.callbacks.loss_landscapes import optimizer_words
from toyml.claims.replay import replayed
from toyml.run import Run
from toyml.views import RunPlane, forces_view, landscape_view
from toyml.views.forces import on_plane

LONG = 1000  # steps from which on time is logarithmic


class Forces(Figure):
    """The update split into gradient, momentum, dampening, weight decay and look-ahead.

    As arrows on the landscape at some steps, and as lengths over all of them. The parts are
    computed from the recorded parameters as PyTorch adds them; their sum is the step.

    Args:
        optimizer: Another optimizer, trained once more from the run's start, in float64; ``null``
            takes the run as it is.
        loss: Another loss for it; ``null`` keeps the run's own.
        steps: Steps of that other training; ``null`` takes those of the run, 10,000 at most.
        plane: The plane of the picture; ``null`` as for ``Landscape``.
        arrows: Steps with arrows, at most.
        grid: Points per side.
        name: Stem of the files.

    Raises:
        ValueError: No steps, no arrows or too few points.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable | None = None,
        loss: nn.Module | None = None,
        steps: int | None = None,
        plane: RunPlane | None = None,
        arrows: int = 6,
        grid: int = 51,
        name: str = "forces",
    ) -> None:
        super().__init__(name)
        if steps is not None and steps < 1:
            raise ValueError(f"steps is {steps}; a path needs at least 1")
        if arrows < 1:
            raise ValueError(f"arrows is {arrows}; draw them at 1 step or more")
        if grid < 3:
            raise ValueError(f"grid is {grid}; draw at least 3 points per side")
        self.optimizer, self.loss, self.steps = optimizer, loss, steps
        self.plane, self.arrows, self.grid = plane, arrows, grid

    def draw(self, run: Run) -> Drawing:
        """Train once more where asked to, take the updates apart, draw."""
        with ExitStack() as stack:
            path = run
            if self.optimizer is not None or self.loss is not None:
                steps = self.steps or min(int(run.trajectory.steps[-1]), 10_000)
                path = stack.enter_context(
                    replayed(
                        run,
                        steps,
                        optimizer=self.optimizer,
                        loss=self.loss,
                        dtype=torch.float64,
                    )
                )
            return self.draw_path(path)

    def draw_path(self, run: Run) -> Drawing:
        """Draw the updates of one run."""
        forces = forces_view(run)
        view = landscape_view(run, self.plane, self.grid)
        parts = {**forces.components, "the step": forces.step}
        arrows = on_plane(parts, view.directions)
        on_path = forces.steps[forces.steps <= view.steps[-1]]  # of what diverges it ends before
        feet = view.path[np.searchsorted(view.steps, on_path)]
        canvas = plots.new_figure(11.6, 5.4)
        left, right = canvas.subplots(1, 2, width_ratios=[5.6, 4.6])
        drawn = plots.plot_landscape(
            left,
            view.a,
            view.b,
            view.surface,
            levels=plots.landscape_levels(view.surface, count=14, decades=3),
            path=view.path,
            path_label="path",
            xlabel=view.names[0],
            ylabel=view.names[1],
        )
        width, height = np.ptp(view.a), np.ptp(view.b)
        chosen = plots.spread_out(feet, float(width), float(height), self.arrows)
        plots.plot_forces(
            left,
            feet[chosen],
            {name: vectors[chosen] for name, vectors in arrows.items()},
        )
        plots.add_colorbar(left, drawn.filled, "loss")
        last = int(forces.steps[-1])
        plots.plot_force_sizes(right, forces.steps, forces.sizes, log_time=last >= LONG)
        plots.add_legend(right)
        where = ", ".join(f"{step:,}" for step in forces.steps[chosen])
        plots.set_title(left, f"What adds up to the step, at steps {where}")
        plots.set_title(right, forces.words.split(". ")[0].rstrip("."))
        plane = "" if view.whole else f" {view.words}"
        return Drawing(
            canvas,
            f"What adds up to a step: {optimizer_words(run)}",
            f"{forces.words} The arrows of one step are in proportion, those of different steps "
            f"are not; beside them the length of each part over the steps.{plane}",
            f"Arrows for {', '.join(parts)} on the contours of the loss at steps {where}, and "
            f"their lengths over {last:,} steps on a logarithmic axis. {forces.words}",
        )
