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
from toyml.views.rows import labelled, predictions, some_of_each, two_classes

FEW = 10  # rows that need more room around them to be seen as points of a plane


class BoundaryView(NamedTuple):
    """The prediction over a square of the input plane.

    Attributes:
        steps: Numbers of updates done [t].
        xs: Values of the first input [g].
        ys: Values of the second input [g].
        field: Prediction [t, g, g]; rows go up the second input.
        x: Rows of the data that are shown [n, 2].
        y: Their targets [n].
        total: Number of rows in the data.
        level: Where the predicted class changes; ``None`` where the targets are no classes.
        quantity: What the field is, in words.
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


@kept
def boundary_view(run: Run, most: int = 100, grid: int = 65, rows: int = 300) -> BoundaryView:
    """Evaluate some snapshots on a grid of the input plane.

    Args:
        run: The run.
        most: Snapshots looked at, at most.
        grid: Points per side.
        rows: Rows of the data shown, at most; of each class its share.

    Raises:
        NotApplicable: The data are not points of a plane with one target, or the net has several
            outputs.
    """
    x, y = labelled(run)
    if x.shape[1] != 2:
        raise NotApplicable(f"the inputs have {x.shape[1]} dimensions; a plane has 2")
    chosen = frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    xs, ys = square(x, grid)
    across, up = torch.meshgrid(xs, ys, indexing="xy")
    points = torch.stack([across, up], dim=-1).reshape(-1, 2)
    said = predictions(run, run.trajectory.select(chosen), points)
    shown = some_of_each(y[:, 0], rows)
    classes = two_classes(y)
    return BoundaryView(
        run.trajectory.steps[chosen],
        xs.double().numpy(),
        ys.double().numpy(),
        said.reshape(len(said), grid, grid).double().numpy(),
        x[shown].double().numpy(),
        y[shown, 0].double().numpy(),
        len(x),
        0.5 if classes else None,
        "probability of class 1" if classes else "prediction",
    )


def square(x: torch.Tensor, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes [g] of a square around points [n, 2] in their precision, wider around few of them."""
    left, right, low, high = measures.margin_box(x, 0.6 if len(x) < FEW else 0.12)
    half = max(right - left, high - low) / 2
    across, up = (
        torch.linspace(middle - half, middle + half, grid, dtype=torch.float64).to(x.dtype)
        for middle in ((left + right) / 2, (low + high) / 2)
    )
    return across, up
