"""The parameters over the steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toyml import measures
from toyml.claims import NotApplicable
from toyml.run import Run
from toyml.views.frames import frames
from toyml.views.kept import kept


class WeightsView(NamedTuple):
    """Scalar parameters over the steps.

    Attributes:
        steps: Numbers of updates done [t].
        names: Such as ``"linear.weight[0,1]"``, in the order of the net [p].
        values: [t, p].
        total: Number of parameters of the net.
        norms: Euclidean length of ``"all parameters"`` and of each tensor [t], by name.
    """

    steps: NDArray[np.int64]
    names: tuple[str, ...]
    values: NDArray[np.float64]
    total: int
    norms: dict[str, NDArray[np.float64]]

    @property
    def of(self) -> str:
        """Which parameters are shown, in words."""
        shown = len(self.names)
        if shown == self.total:
            return f"all {shown}"
        return f"the {shown} that travel farthest of {self.total:,}"


@kept
def weights_view(run: Run, most: int = 400, parameters: int = 41) -> WeightsView:
    """Read the parameters off the trajectory.

    Args:
        run: The run.
        most: Snapshots looked at, at most.
        parameters: Parameters shown, at most; of more those that travel farthest.

    Raises:
        NotApplicable: Nothing was recorded.
    """
    chosen = frames(run, most)
    if not len(chosen):
        raise NotApplicable("the run has recorded no step")
    values = np.array(run.trajectory.parameters.flat[chosen], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        travel = np.ptp(values, axis=0)
    # A parameter that diverged to NaN travelled farthest of all.
    farthest = np.argsort(-np.nan_to_num(travel, nan=np.inf), kind="stable")[:parameters]
    shown = np.sort(farthest)
    stack = {name: p.double() for name, p in run.trajectory.points(chosen).items()}
    norms = {"all parameters": measures.norms(stack), **measures.tensor_norms(stack)}
    return WeightsView(
        run.trajectory.steps[chosen],
        tuple(run.trajectory.scalar_name(i) for i in shown),
        values[:, shown],
        values.shape[1],
        {name: norm.numpy() for name, norm in norms.items()},
    )
