"""Which of several classes a net says over the plane of its inputs, over the steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toyml import measures
from toyml.claims import NotApplicable
from toyml.run import Run
from toyml.views.boundary import square
from toyml.views.frames import frames
from toyml.views.kept import kept
from toyml.views.rows import classed, some_of_each

MOST_CLASSES = 7
"""There are no more colors that everybody can tell apart."""


class ClassesView(NamedTuple):
    """The class with the largest output over a square of the input plane.

    Attributes:
        steps: Numbers of updates done [t].
        xs: Values of the first input [g].
        ys: Values of the second input [g].
        winner: Number of the class with the largest output [t, g, g]; rows go up the second input.
        lead: By how much it is ahead of the second largest [t, g, g], a difference of
            probabilities where the loss works on logits; NaN where an output is.
        x: Rows of the data that are shown [n, 2].
        y: Numbers of their classes [n].
        total: Number of rows in the data.
        number: Number of classes.
        accuracy: Share of all rows whose class has the largest output [t].
    """

    steps: NDArray[np.int64]
    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    winner: NDArray[np.int64]
    lead: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    total: int
    number: int
    accuracy: NDArray[np.float64]


@kept
def classes_view(run: Run, most: int = 100, grid: int = 101, rows: int = 300) -> ClassesView:
    """Evaluate some snapshots on a grid of the input plane.

    Args:
        run: The run.
        most: Snapshots looked at, at most.
        grid: Points per side.
        rows: Rows of the data shown, at most; of each class its share.

    Raises:
        NotApplicable: The data are not points of a plane that belong to 2 to 7 classes with an
            output each.
    """
    x, y, count = classed(run)
    if x.shape[1] != 2:
        raise NotApplicable(f"the inputs have {x.shape[1]} dimensions; a plane has 2")
    if count > MOST_CLASSES:
        raise NotApplicable(f"there are {count} classes, and colors for {MOST_CLASSES}")
    chosen = frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    xs, ys = square(x, grid)
    across, up = torch.meshgrid(xs, ys, indexing="xy")
    points = torch.stack([across, up], dim=-1).reshape(-1, 2)
    winner, lead = ranked(run, run.trajectory.select(chosen), points)
    said, _ = ranked(run, run.trajectory.select(chosen), x)
    shown = some_of_each(y, rows)
    return ClassesView(
        run.trajectory.steps[chosen],
        xs.double().numpy(),
        ys.double().numpy(),
        winner.reshape(-1, grid, grid).numpy(),
        lead.reshape(-1, grid, grid).numpy(),
        x[shown].double().numpy(),
        y[shown].numpy(),
        len(x),
        count,
        (said == y).double().mean(1).numpy(),
    )


def ranked(
    run: Run, parameters: measures.Parameters, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Number of the largest output [t, n], and its lead over the second largest in float64 [t, n].

    Raises:
        NotApplicable: The net has one output, or does not take these inputs.
    """
    try:
        output = measures.outputs(run.net, parameters, x)
    except ValueError as why:
        raise NotApplicable(str(why)) from why
    if output.ndim != 3 or output.shape[2] < 2:
        raise NotApplicable(f"the net has outputs {list(output.shape[2:])}, and no choice of class")
    first, second = run.meaning.prediction(output).double().topk(2, dim=2).values.unbind(2)
    # A NaN counts as the largest of all: the lead is NaN there too.
    return output.argmax(2), first - second
