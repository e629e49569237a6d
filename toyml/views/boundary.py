"""What a net says over the plane of its inputs, over the steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toyml import measures
from toyml.claims import NotApplicable
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept
from toyml.views.rows import class_names, labelled, predictions, some_of_each, targets

FEW = 10  # rows that need more room around them to be seen as points of a plane


class BoundaryView(NamedTuple):
    """The prediction over a square of the input plane.

    Attributes:
        steps: Numbers of updates done [t].
        xs: Values of the first input [g].
        ys: Values of the second input [g].
        field: Prediction [t, g, g]; rows go up the second input.
        x: Rows of the data that are shown [n, 2].
        y: Their targets [n]; of classes 0 for the lower and 1 for the upper one.
        total: Number of rows in the data.
        level: Where the predicted class changes; ``None`` where the targets are no classes.
        quantity: What the field is, in words.
        names: Of the two classes; empty without classes.
    """

    steps: NDArray[np.int64]
    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    field: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    total: int
    level: float | None
    quantity: str
    names: tuple[str, ...]

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest value of the colors: 0 to 1, or as far as the field goes.

        Of classes whose field is no probability, equally far to both sides of the level.
        """
        if self.quantity.startswith("probability"):
            return 0.0, 1.0
        values = self.field[np.isfinite(self.field)]
        if not len(values):
            return 0.0, 1.0
        if self.level is None:
            values = np.concatenate([values, self.y])
            return float(values.min()), float(values.max())
        # A few corners far out must not leave the middle without colors.
        reach = float(np.quantile(np.abs(values - self.level), 0.98)) or 1.0
        return self.level - reach, self.level + reach


@kept
def boundary_view(
    run: Run,
    most: int = 100,
    grid: int = 65,
    rows: int = 300,
    margin: float | None = None,
    logarithmic: bool = False,
) -> BoundaryView:
    """Evaluate some snapshots on a grid of the input plane.

    Args:
        run: The run.
        most: Snapshots looked at, at most; 1 is the last one.
        grid: Points per side.
        rows: Rows of the data shown, at most; of each class its share.
        margin: Room around the rows, as a share of their extent; by default more around few.
        logarithmic: Spread the snapshots evenly in the logarithm of the step alone.

    Raises:
        NotApplicable: The data are not points of a plane with one target, or the net has several
            outputs.
    """
    labelled(run)
    x, y, classes = targets(run)
    if x.shape[1] != 2:
        raise NotApplicable(f"the inputs have {x.shape[1]} dimensions; a plane has 2")
    if most == 1:
        chosen = np.arange(len(run.trajectory))[-1:]
    else:
        chosen = run.trajectory.thinned_log(most) if logarithmic else frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    xs, ys = square(x, grid, margin)
    across, up = torch.meshgrid(xs, ys, indexing="xy")
    points = torch.stack([across, up], dim=-1).reshape(-1, 2)
    said = predictions(run, run.trajectory.select(chosen), points)
    shown = some_of_each(y[:, 0], rows)
    return BoundaryView(
        run.trajectory.steps[chosen],
        xs.double().numpy(),
        ys.double().numpy(),
        said.reshape(len(said), grid, grid).double().numpy(),
        x[shown].double().numpy(),
        y[shown, 0].double().numpy(),
        len(x),
        run.meaning.undecided,
        run.meaning.quantity,
        class_names(run) if classes else (),
    )


def square(
    x: torch.Tensor, grid: int, margin: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes [g] of a square around points [n, 2] in their precision, wider around few of them."""
    if margin is None:
        margin = 0.6 if len(x) < FEW else 0.12
    left, right, low, high = measures.margin_box(x, margin)
    half = max(right - left, high - low) / 2
    across, up = (
        torch.linspace(middle - half, middle + half, grid, dtype=torch.float64).to(x.dtype)
        for middle in ((left + right) / 2, (low + high) / 2)
    )
    return across, up
