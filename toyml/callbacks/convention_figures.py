"""Figures of the two conventions of the L2 penalty."""

from __future__ import annotations

import numpy as np

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims.convention import ROUNDING, checked_penalty, regression_gap
from toyml.run import Run
from toyml.views import frames


class TwoConventions(Figure):
    """How far the run is from logistic regression by hand, under either convention of L2.

    Args:
        penalty: λ: added to the gradient as λθ (PyTorch), or as λθ/m (textbooks).
        name: Stem of the files.

    Raises:
        ValueError: A negative penalty.
    """

    def __init__(self, penalty: float, name: str = "two_conventions") -> None:
        super().__init__(name)
        self.penalty = checked_penalty(penalty)

    def draw(self, run: Run) -> Drawing:
        """Train by hand twice and draw both deviations."""
        names = {
            f"NumPy, λ = {self.penalty:g} as PyTorch has it": False,
            f"NumPy, λ/m = {self.penalty:g}/{len(run.data[0]):,}, the textbook's": True,
        }
        gaps = {name: regression_gap(run, self.penalty, rows) for name, rows in names.items()}
        chosen, steps = frames(run, 2000), run.trajectory.steps
        canvas = plots.new_figure(7.6, 4.6)
        ax = canvas.subplots()
        plots.plot_deviations(
            ax,
            steps[chosen],
            {name: gap[chosen] for name, gap in gaps.items()},
            spacing=float(np.finfo(run.trajectory.parameters.flat.dtype).eps),
            log_time=True,
        )
        plots.add_legend(ax, below=True)
        near, far = sorted(gaps.values(), key=lambda gap: float(gap.max()))
        parted = np.flatnonzero(far > ROUNDING)
        where = f"leaves the other at step {steps[parted[0]]:,}" if len(parted) else "both"
        plots.set_title(ax, f"The run follows one convention and {where}")
        ends = "; ".join(f"{name}: {gap.max():.2e}" for name, gap in gaps.items())
        return Drawing(
            canvas,
            "Two conventions of L2",
            f"Largest deviation from this run, over {len(steps):,} steps and all parameters: "
            f"{ends}. Both conventions are one family: the textbook's λ is a weight_decay of λ/m.",
            f"Two curves over {steps[-1]:,} steps on logarithmic axes: the one stays below "
            f"{near.max():.1e}, the other reaches {far.max():.1e}.",
        )
