"""What a net says about every row of its data, over the steps."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toyml import measures
from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept


class RowsView(NamedTuple):
    """The predictions of one output for some rows of the data.

    Attributes:
        steps: Numbers of updates done [t].
        prediction: What the net says [t, n]: a probability where the loss works on logits.
        target: What it should say [n].
        rows: Numbers of these rows in the data [n], by increasing target and last prediction.
        total: Number of rows in the data.
        classes: Whether all targets are 0 or 1.
        accuracy: Share of all rows on the right side of 1/2 [t]; ``None`` without classes.
    """

    steps: NDArray[np.int64]
    prediction: NDArray[np.float64]
    target: NDArray[np.float64]
    rows: NDArray[np.int64]
    total: int
    classes: bool
    accuracy: NDArray[np.float64] | None


@kept
def rows_view(run: Run, most: int = 100, rows: int = 400) -> RowsView:
    """Evaluate some snapshots on all rows.

    Args:
        run: The run.
        most: Snapshots looked at, at most.
        rows: Rows shown, at most; evenly spread over the order in which they are shown.

    Raises:
        NotApplicable: Nothing was recorded, there are no rows, or the net has several outputs.
    """
    x, y = labelled(run)
    chosen = frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    output = predictions(run, run.trajectory.select(chosen), x)[..., 0].double().numpy()
    target = y[:, 0].double().numpy()
    order = np.lexsort((output[-1], target))
    shown = order[spread(len(order), rows)]
    classes = two_classes(y)
    right = ((output > 0.5) == (target > 0.5)).mean(axis=1) if classes else None
    return RowsView(
        run.trajectory.steps[chosen],
        output[:, shown],
        target[shown],
        shown.astype(np.int64),
        len(target),
        classes,
        right,
    )


def labelled(run: Run) -> tuple[Tensor, Tensor]:
    """Rows x [n, d] and targets y [n, 1].

    Raises:
        NotApplicable: The run's data are something else.
    """
    try:
        x, y = run.data
    except UserError as why:
        raise NotApplicable(str(why)) from why
    if x.ndim != 2 or y.ndim != 2 or y.shape[1] != 1 or not len(x):
        raise NotApplicable(f"the data have shapes {list(x.shape)} and {list(y.shape)}")
    return x, y


def classed(run: Run) -> tuple[Tensor, Tensor, int]:
    """Rows x [n, d], the number of each row's class [n], and how many classes there are.

    Of data whose targets have a column for each class, 1 for the row's own and 0 for the others.

    Raises:
        NotApplicable: The run's data are something else.
    """
    try:
        x, y = run.data
    except UserError as why:
        raise NotApplicable(str(why)) from why
    if x.ndim != 2 or y.ndim != 2 or y.shape[1] < 2 or not len(x):
        raise NotApplicable(f"the data have shapes {list(x.shape)} and {list(y.shape)}")
    if not two_classes(y) or not bool((y.sum(1) == 1).all()):
        raise NotApplicable(f"the {y.shape[1]} targets of a row are not one class out of several")
    return x, y.argmax(1), y.shape[1]


def targets(run: Run) -> tuple[Tensor, Tensor, bool]:
    """Rows x [n, d], their targets or the numbers of their classes [n, 1], and whether the latter.

    Raises:
        NotApplicable: The data have several targets that are not one class out of several.
    """
    try:
        x, y = labelled(run)
    except NotApplicable:
        with suppress(NotApplicable):
            x, index, _ = classed(run)
            return x, index[:, None], True
        raise
    return x, y, two_classes(y)


def predictions(run: Run, parameters: measures.Parameters, x: Tensor) -> Tensor:
    """What the net says about inputs at snapshots, [t, n, 1].

    Raises:
        NotApplicable: It has several outputs, or does not take these inputs.
    """
    try:
        output = measures.outputs(run.net, parameters, x)
    except ValueError as why:
        raise NotApplicable(str(why)) from why
    if output.ndim != 3 or output.shape[2] != 1:
        raise NotApplicable(f"the net has {output.shape[-1]} outputs; one can be shown")
    prediction = getattr(run.task, "prediction", lambda raw: raw)
    said: Tensor = prediction(output)
    return said


def two_classes(y: Tensor) -> bool:
    """Whether every target is 0 or 1."""
    return bool(((y == 0) | (y == 1)).all())


def spread(n: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the positions 0 to n - 1, evenly spread, first and last among them.

    Example:
        >>> spread(9, 3)
        array([0, 4, 8])
    """
    if n <= most:
        return np.arange(n)
    return np.linspace(0, n - 1, most).round().astype(np.int64)


def some_of_each(y: Tensor, most: int) -> Tensor:
    """Positions of at most about ``most`` rows in their order, of each class its share."""
    values = torch.unique(y)
    if len(y) <= most or len(values) > 8:
        return torch.from_numpy(spread(len(y), most))
    found = []
    for value in values:
        mine = torch.nonzero(y == value)[:, 0]
        count = max(1, round(most * len(mine) / len(y)))
        found.append(mine[torch.from_numpy(spread(len(mine), count))])
    return torch.cat(found).sort().values
