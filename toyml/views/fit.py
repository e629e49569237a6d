"""The curve that a net of one input draws, over the steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toyml.claims import NotApplicable
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept
from toyml.views.rows import labelled, predictions, spread


class FitView(NamedTuple):
    """The prediction over the range of the one input.

    Attributes:
        steps: Numbers of updates done [t].
        grid: Values of the input [g], increasing.
        curves: Prediction [t, g].
        x: Inputs of the rows that are shown [n], increasing.
        y: Their targets [n].
        total: Number of rows in the data.
    """

    steps: NDArray[np.int64]
    grid: NDArray[np.float64]
    curves: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    total: int


@kept
def fit_view(run: Run, most: int = 100, points: int = 301, rows: int = 500) -> FitView:
    """Evaluate some snapshots on a fine grid of the input.

    Args:
        run: The run.
        most: Snapshots looked at, at most.
        points: Points of a curve.
        rows: Rows of the data shown, at most, evenly spread.

    Raises:
        NotApplicable: The net has more than one input or output, or nothing was recorded.
    """
    x, y = labelled(run)
    if x.shape[1] != 1:
        raise NotApplicable(f"the inputs have {x.shape[1]} dimensions; a curve has 1")
    chosen = frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    grid = line(x, points)
    said = predictions(run, run.trajectory.select(chosen), grid[:, None])
    order = x[:, 0].argsort(stable=True)
    shown = order[torch.from_numpy(spread(len(order), rows))]
    return FitView(
        run.trajectory.steps[chosen],
        grid.double().numpy(),
        said[..., 0].double().numpy(),
        x[shown, 0].double().numpy(),
        y[shown, 0].double().numpy(),
        len(x),
    )


def line(x: torch.Tensor, points: int) -> torch.Tensor:
    """Values of the input [g], in the precision of x [n, 1], a little beyond its range."""
    low, high = float(x.min()), float(x.max())
    room = 0.04 * (high - low) or 1.0
    return torch.linspace(low - room, high + room, points, dtype=torch.float64).to(x.dtype)
