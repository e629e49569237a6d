"""What a net says about every row of its data, over the steps."""

from __future__ import annotations

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
        classes: Whether they are two classes.
        accuracy: Share of all rows whose class is right [t]; ``None`` without classes.
        undecided: The prediction at which neither class is preferred; ``None`` without classes.
    """

    steps: NDArray[np.int64]
    prediction: NDArray[np.float64]
    target: NDArray[np.float64]
    rows: NDArray[np.int64]
    total: int
    classes: bool
    accuracy: NDArray[np.float64] | None
    undecided: float | None


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
    raw = outputs(run, run.trajectory.select(chosen), x)
    output = run.meaning.prediction(raw)[..., 0].double().numpy()
    target = y[:, 0].double().numpy()
    order = np.lexsort((output[-1], target))
    shown = order[spread(len(order), rows)]
    classes = run.meaning.undecided is not None
    right = run.meaning.right(raw, run.data[1]).numpy() if classes else None
    return RowsView(
        run.trajectory.steps[chosen],
        output[:, shown],
        target[shown],
        shown.astype(np.int64),
        len(target),
        classes,
        right,
        run.meaning.undecided,
    )


def labelled(run: Run) -> tuple[Tensor, Tensor]:
    """Rows x [n, d] and targets y [n, 1].

    Raises:
        NotApplicable: The run's data are something else.
    """
    x, y = given(run)
    if y.ndim != 2 or y.shape[1] != 1:
        raise NotApplicable(f"the data have shapes {list(x.shape)} and {list(y.shape)}")
    return x, y


def given(run: Run) -> tuple[Tensor, Tensor]:
    """Rows x [n, d] and their targets.

    Raises:
        NotApplicable: The run has no rows, or rows of another shape.
    """
    try:
        x, y = run.data
        _ = run.loss
    except UserError as why:
        raise NotApplicable(str(why)) from why
    if x.ndim != 2 or not len(x):
        raise NotApplicable(f"the data have shapes {list(x.shape)} and {list(y.shape)}")
    return x, y


def classed(run: Run) -> tuple[Tensor, Tensor, int]:
    """Rows x [n, d], the number of each row's class [n], and how many classes there are.

    Raises:
        NotApplicable: The run's data are something else.
    """
    x, y = given(run)
    if run.meaning.kind != "classes":
        if y.ndim == 2 and y.shape[1] > 1:
            raise NotApplicable(f"the {y.shape[1]} targets of a row are not one class out of them")
        raise NotApplicable(f"the data have shapes {list(x.shape)} and {list(y.shape)}")
    if y.ndim == 2:
        return x, y.argmax(1), y.shape[1]
    try:
        number = measures.outputs(run.net, run.trajectory.select([-1]), x[:1]).shape[-1]
    except ValueError as why:
        raise NotApplicable(str(why)) from why
    return x, y, number


def targets(run: Run) -> tuple[Tensor, Tensor, bool]:
    """Rows x [n, d], their targets or the numbers of their classes [n, 1], and whether the latter.

    Raises:
        NotApplicable: The data have several targets that are not one class out of several.
    """
    if given(run) and run.meaning.kind == "classes":
        x, index, _ = classed(run)
        return x, index[:, None], True
    x, y = labelled(run)
    if run.meaning.undecided is None:
        return x, y, False
    return x, (y > run.meaning.middle).to(x), True


def class_names(run: Run) -> tuple[str, ...]:
    """What the targets call the classes of :func:`targets`, in their order.

    Example:
        ``("class 0", "class 1")``, or ``("class −1", "class 1")`` for targets -1 and 1.
    """
    y = run.data[1]
    if run.meaning.kind != "classes":
        low, high = float(y.min()), float(y.max())
        return (named(low if low < high else 2 * run.meaning.middle - high), named(high))
    return tuple(named(i) for i in range(classed(run)[2]))


def named(value: float) -> str:
    """The name of a class with a number."""
    return f"class {value:g}".replace("-", "\N{MINUS SIGN}")


def predictions(run: Run, parameters: measures.Parameters, x: Tensor) -> Tensor:
    """What the net says about inputs at snapshots, [t, n, 1].

    Raises:
        NotApplicable: It has several outputs, or does not take these inputs.
    """
    return run.meaning.prediction(outputs(run, parameters, x))


def outputs(run: Run, parameters: measures.Parameters, x: Tensor) -> Tensor:
    """The one output for inputs at snapshots, [t, n, 1].

    Raises:
        NotApplicable: It has several outputs, or does not take these inputs.
    """
    try:
        output = measures.outputs(run.net, parameters, x)
    except ValueError as why:
        raise NotApplicable(str(why)) from why
    if output.ndim != 3 or output.shape[2] != 1:
        raise NotApplicable(f"the net has {output.shape[-1]} outputs; one can be shown")
    return output


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
