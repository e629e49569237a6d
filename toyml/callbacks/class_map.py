"""The figure of a net with an output for each of several classes."""

from __future__ import annotations

import numpy as np

from toyml import plots
from toyml.callbacks.figure import Drawing
from toyml.plots.style import step_ticks
from toyml.run import Run
from toyml.views import classes_view

GRID = 161  # points per side


def draw_classes(run: Run, count: int) -> Drawing:
    """The borders between the classes over the steps, above the classes at the last one.

    Args:
        run: The run.
        count: Number of steps whose borders are drawn, evenly spread in log(step), at most.

    Raises:
        NotApplicable: What ``toyml.views.classes_view`` says.
    """
    view = classes_view(run, most=count, grid=GRID, rows=1000)
    chosen = plots.choose_steps(view.steps, count)
    steps = view.steps[chosen]
    canvas = plots.new_figure(6.2, 10.4)
    above, below = canvas.subplots(2, 1)
    for ax in (above, below):
        ax.set_xlim(view.xs[0], view.xs[-1])
        ax.set_ylim(view.ys[0], view.ys[-1])
        ax.set_aspect("equal")
    for which in range(view.number):
        # How far a class is ahead, or behind: its border is where that changes its sign.
        ahead = np.where(view.winner == which, view.lead, -view.lead)[chosen]
        drawn = plots.plot_boundaries(above, view.xs, view.ys, ahead, steps, level=0.0)
    plots.add_colorbar(above, drawn.mappable, "step", ticks=step_ticks(steps[0], steps[-1]))
    plots.plot_class_map(below, view.xs, view.ys, view.winner[-1], view.lead[-1])
    for ax in (above, below):
        plots.plot_class_points(ax, view.x, view.y)
        plots.add_legend(ax, below=True, columns=view.number)
    last = int(steps[-1])
    plots.set_title(above, f"The borders, step {steps[0]:,} (faint) to {last:,}")
    plots.set_title(
        below, f"After {last:,} steps {100 * view.accuracy[-1]:.4g} % of the rows are right"
    )
    return Drawing(
        canvas,
        "Which class the model says",
        f"Above: where the class with the largest output changes, faint to strong, at {len(steps)} "
        f"steps from {steps[0]:,} to {last:,}. Below: that class at the end, faded where the "
        "second largest output is near.",
        f"Plane with rows of {view.number} classes and the borders between them at {len(steps)} "
        f"steps up to {last:,}; below it the plane colored by the class that the model says.",
    )
