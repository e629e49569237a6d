"""The curvature that the training meets."""

from __future__ import annotations

from toyml import plots
from toyml.callbacks.figure import Drawing, Figure
from toyml.run import Run
from toyml.views import curvature_view

LONG = 1000  # steps from which on time is logarithmic


class Curvature(Figure):
    """The sharpness over the steps against the limit of the optimizer in use.

    Sharpness is the largest eigenvalue of the Hessian of loss plus weight decay, over all training
    rows and in float64. Beyond the limit (2 / lr for plain descent) SGD moves away along that
    direction.

    Args:
        most: Snapshots looked at, at most.
        log_time: Logarithmic steps; ``null`` from 1,000 steps on.
        name: Stem of the files.

    Raises:
        ValueError: Fewer than two snapshots.
    """

    def __init__(
        self, most: int = 200, log_time: bool | None = None, name: str = "curvature"
    ) -> None:
        super().__init__(name)
        if most < 2:
            raise ValueError(f"most is {most}; look at 2 snapshots or more")
        self.most, self.log_time = most, log_time

    def draw(self, run: Run) -> Drawing:
        """Differentiate the loss twice along the path."""
        view = curvature_view(run, self.most)
        last = int(view.steps[-1])
        log_time = last >= LONG if self.log_time is None else self.log_time
        canvas = plots.new_figure(7.6, 4.6)
        ax = canvas.subplots()
        plots.plot_curvature(
            ax,
            view.steps,
            view.spectrum,
            limit=view.limit,
            formula=view.formula,
            log_time=log_time,
        )
        plots.add_legend(ax, below=True, columns=3)
        plots.set_title(ax, view.headline)
        seen = "Eigenvalues of the Hessian of the loss"
        return Drawing(
            canvas,
            "Curvature and the limit of stability",
            view.words,
            f"{seen} at {len(view.steps)} steps up to {last:,}"
            + ("" if view.limit is None else f", with the limit {view.formula}")
            + f". {view.headline}.",
        )
