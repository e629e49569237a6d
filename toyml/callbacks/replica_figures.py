"""Figures of a run that trains many replicas in one fit."""

from __future__ import annotations

import numpy as np

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure, replicas_of
from toyml.claims import NotApplicable
from toyml.palette import BLUE, VERMILLION
from toyml.plots.style import set_step_axis, set_value_axis
from toyml.run import Run


class ReplicaLosses(Figure):
    """The median loss of all replicas over the steps, and the band that holds 80 % of them.

    Read from the log of :class:`~toyml.tasks.Replicas`; replicas that diverged are counted in the
    title, and no part of the band.

    Args:
        name: Stem of the files.
    """

    of_replicas = True

    def __init__(self, name: str = "replica_losses") -> None:
        super().__init__(name)

    def draw(self, run: Run) -> Drawing:
        """Read the log.

        Raises:
            NotApplicable: The run trains one net, or nothing was logged.
        """
        count = replicas_of(run)
        if not count or "loss_10" not in run.metrics:
            raise NotApplicable("it shows replicas, and this run trains one net")
        low, middle, high = (
            np.array(run.metrics[name]["value"], dtype=float)
            for name in ("loss_10", "loss", "loss_90")
        )
        steps = np.array(run.metrics["loss"]["step"])
        canvas = plots.new_figure(7.6, 4.2)
        ax = canvas.add_subplot()
        ax.fill_between(
            steps, low, high, color=BLUE, alpha=0.25, linewidth=0, label="middle 80% of replicas"
        )
        ax.plot(steps, middle, color=VERMILLION, linewidth=2.2, label="median")
        set_step_axis(ax, True)
        set_value_axis(ax, "loss", True, np.concatenate([low, middle, high]))
        ax.set_xlim(steps[0], steps[-1])
        plots.add_legend(ax)
        lost = int(run.metrics["diverged"]["value"][-1])
        title = f"The median of {count:,} losses goes from {middle[0]:.4g} to {middle[-1]:.4g}"
        plots.set_title(ax, title)
        caption = (
            f"At the end 80 % of the losses lie between {low[-1]:.4g} and {high[-1]:.4g}; "
            f"{lost:,} of {count:,} replicas diverged."
        )
        return Drawing(canvas, "Loss of all replicas", caption, f"{title}. {caption}")
