"""The loss over the steps."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml.claims import NotApplicable
from toyml.errors import UserError
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept

Curve = tuple[NDArray[np.int64], NDArray[np.float64], str]
"""Steps [t], losses [t] and the name of the loss."""


class LossView(NamedTuple):
    """Curves of the loss.

    Attributes:
        steps: Numbers of updates done [t].
        loss: The loss of the parameters at these steps, on the training rows [t]; NaN where it is
            not finite.
        held_out: Steps [v] and losses [v] on rows that were not trained on, as logged; ``None``
            without.
        quantity: Name of the loss.
    """

    steps: NDArray[np.int64]
    loss: NDArray[np.float64]
    held_out: tuple[NDArray[np.int64], NDArray[np.float64]] | None
    quantity: str

    @property
    def words(self) -> str:
        """Start and end, without a full stop; the end is the last loss that is a number."""
        known = np.flatnonzero(np.isfinite(self.loss))
        if not len(known):
            return "no finite loss at any step"
        (first, last), said = known[[0, -1]], ""
        if last < len(self.loss) - 1:
            said = ", the last one with a loss that can be drawn"
        return (
            f"from {self.loss[first]:.6g} at step {self.steps[first]:,} to {self.loss[last]:.6g} "
            f"at step {self.steps[last]:,}{said}"
        )


@kept
def loss_view(run: Run, most: int = 1000) -> LossView:
    """Evaluate the loss at some snapshots; where that cannot be done, read the log.

    Args:
        run: The run.
        most: Snapshots looked at, at most.

    Raises:
        NotApplicable: The loss can neither be evaluated nor was it logged.
    """
    steps, loss, quantity = evaluated(run, most) or logged(run)
    shown = np.where(np.abs(loss) < 1e60, loss, np.nan)  # a diverging tail has no place on an axis
    column = run.metrics.get("val_loss")
    held_out = None
    if column and column["value"]:
        held_out = (np.asarray(column["step"], np.int64), np.asarray(column["value"], np.float64))
    return LossView(steps, shown, held_out, quantity)


@kept
def evaluated(
    run: Run, most: int = 1000
) -> tuple[NDArray[np.int64], NDArray[np.float64], str] | None:
    """Steps and the loss of the recorded parameters; ``None`` where it cannot be evaluated."""
    chosen = frames(run, most)
    if not len(chosen):
        return None
    try:
        values = losses_at(run, chosen)
    except (UserError, ValueError, RuntimeError):
        return None
    return run.trajectory.steps[chosen], values, type(run.loss).__name__


def losses_at(run: Run, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """The loss over all rows at snapshots [t]; NaN where parameters or outputs are not finite.

    Raises:
        UserError: There is no loss module, or there are no rows.
        ValueError: Net, rows and loss do not belong together.
    """
    values = np.full(len(chosen), np.nan)
    finite = np.flatnonzero(np.isfinite(run.trajectory.parameters.flat[chosen]).all(1))
    if not len(finite):
        return values
    try:
        values[finite] = run.losses(chosen[finite])
    except RuntimeError:  # BCELoss refuses an output that is no number, others return NaN
        values[finite[:1]] = run.losses(chosen[finite[:1]])
        for i in finite[1:]:
            with suppress(RuntimeError):
                values[i] = run.losses(chosen[[i]])[0]
    return values


def logged(run: Run) -> Curve:
    """Steps and losses of the log."""
    for name in ("loss", "train_loss"):
        column = run.metrics.get(name)
        if column and column["value"]:
            steps, values = np.asarray(column["step"], np.int64), np.asarray(column["value"], float)
            return steps, values, f"logged {name}"
    raise NotApplicable("the loss can neither be evaluated nor was it logged")
