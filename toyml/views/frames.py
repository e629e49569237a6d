"""Which snapshots are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toyml.run import Run


def frames(run: Run, most: int, each: int = 1) -> NDArray[np.int64]:
    """Indices of at most ``most`` snapshots, dense enough for linear and logarithmic time alike.

    Half of them are spread evenly over the record, half evenly in the logarithm of step + 1; first
    and last are among them.

    Args:
        run: The run.
        most: How many at most, 2 or more; fewer of large nets
            (:meth:`~toyml.trajectory.Trajectory.affordable`).
        each: Numbers held, or passes over the net made, for each parameter of a snapshot.

    Returns:
        Increasing positions in the trajectory; all of them where it is short.

    Raises:
        ValueError: Fewer than 2.
    """
    if most < 2:
        raise ValueError(f"most is {most}; draw at least the first and the last snapshot")
    trajectory = run.trajectory
    most = trajectory.affordable(most, each)
    if len(trajectory) <= most:
        return np.arange(len(trajectory))
    logarithmic = trajectory.thinned_log(max(2, most // 2))
    return np.union1d(trajectory.thinned(max(2, most - len(logarithmic))), logarithmic)


def looked_at(count: int, steps: NDArray[np.int64]) -> str:
    """The start of a sentence on some steps of a run; empty where it is on all of them.

    Args:
        count: How many were looked at.
        steps: From the first to the last step that the sentence is about, increasing.

    Example:
        >>> looked_at(3, np.array([0, 5, 9])), looked_at(10, np.arange(10))
        ('At the 3 of 10 steps looked at, ', '')
    """
    total = int(steps[-1] - steps[0]) + 1
    return f"At the {count:,} of {total:,} steps looked at, " if count < total else ""
