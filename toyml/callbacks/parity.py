"""The same training by hand in NumPy, beside the run."""

from __future__ import annotations

import numpy as np

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.claims import NotApplicable
from toyml.claims.parity import Beside, beside_reference
from toyml.run import Run
from toyml.views import frames


class Parity(Figure):
    """Train ``toyml.reference`` from the run's start, compare every recorded step, and draw it.

    ``summary.json`` gets the first step at which the two part, the parameter, and the largest
    deviation under ``parity``; the claim ``ParityWithin`` judges them. To be listed before
    ``Verdicts``. The reference knows affine chains with Sigmoid, Tanh or ReLU, the losses MSE, L1,
    Huber, BCE, BCE with logits, and SGD, Adam and AdamW; of other runs it says why not.

    Args:
        tolerance: Largest deviation that still counts as rounding; ``null`` is 450 spacings of the
            numbers at 1: 1e-13 in float64, 5e-5 in float32.
        name: Stem of the files.

    Raises:
        ValueError: A negative tolerance.
    """

    def __init__(self, tolerance: float | None = None, name: str = "parity") -> None:
        super().__init__(name)
        if tolerance is not None and not tolerance >= 0:
            raise ValueError(f"tolerance is {tolerance}; it has to be 0 or more")
        self.tolerance = tolerance
        self._made: tuple[Run, Beside] | None = None

    def finish(self, run: Run) -> None:
        """Compare, note the outcome, draw."""
        try:
            found = self.compare(run).as_dict()
        except NotApplicable as why:
            found = {"not_applicable": str(why)}
        run.update_summary(parity=found)
        super().finish(run)
        self._made = None

    def compare(self, run: Run) -> Beside:
        """Train the reference, once per run."""
        if self._made is None or self._made[0] is not run:
            self._made = (run, beside_reference(run, self.tolerance))
        return self._made[1]

    def draw(self, run: Run) -> Drawing:
        """Draw the deviation of each tensor over the steps."""
        found = self.compare(run)
        chosen = frames(run, 2000)
        canvas = plots.new_figure(7.6, 4.6)
        ax = canvas.subplots()
        plots.plot_deviations(
            ax,
            found.steps[chosen],
            {name: values[chosen] for name, values in found.deviations.items()},
            spacing=float(np.finfo(found.dtype).eps),
            tolerance=found.tolerance,
        )
        plots.add_legend(ax, below=True, columns=3)
        last = int(found.steps[-1])
        plots.set_title(ax, headline(found))
        return Drawing(
            canvas,
            "Parity with NumPy",
            f"The same training by hand in NumPy, from the same start with the same settings: over "
            f"{len(found.steps):,} recorded steps up to {last:,} the largest deviation of any "
            f"parameter is {found.largest:.2e} ({found.parameter} at step {found.at_step:,}). "
            + parting(found),
            f"Largest absolute deviation of each tensor over {last:,} steps on a logarithmic axis; "
            f"the highest value is {found.largest:.1e}.",
        )


def headline(found: Beside) -> str:
    """The outcome in a line."""
    if found.parts_at is not None:
        return f"Run and NumPy part at step {found.parts_at:,}, in {found.parts_in}"
    if found.differs_at is None:
        return "Run and NumPy are equal bit for bit"
    return f"Run and NumPy never differ by more than {found.largest:.1e}"


def parting(found: Beside) -> str:
    """Where the two first differ, in a sentence."""
    if found.differs_at is None:
        return "Not a bit differs."
    beyond = (
        "never exceeds"
        if found.parts_at is None
        else f"is from step {found.parts_at:,} on, first in {found.parts_in}, beyond"
    )
    return (
        f"The first bit differs at step {found.differs_at:,}; the deviation {beyond} the tolerance "
        f"of {found.tolerance:.0e}."
    )
