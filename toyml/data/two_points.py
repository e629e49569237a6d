"""Two labelled points in the plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from toyml.data.memory import Arrays, InMemory


def two_points(points: ArrayLike, labels: ArrayLike, centered: bool = False) -> Arrays:
    """Points as x [n, 2] and their labels as y [n, 1], float64.

    Args:
        points: Coordinates [n, 2].
        labels: 0 or 1 for each point.
        centered: Subtract the mean of the points.

    Returns:
        x [n, 2] and y [n, 1].

    Raises:
        ValueError: Shapes that do not match, or a label other than 0 and 1.

    Example:
        >>> two_points([[3, 2], [1, 1]], [1, 0], centered=True)[0]
        array([[ 1. ,  0.5],
               [-1. , -0.5]])
    """
    x, y = np.asarray(points, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 2 or y.shape != (len(x),):
        raise ValueError(
            f"points have shape {list(x.shape)} and labels {list(y.shape)}; "
            "give [n, 2] coordinates and n labels"
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"labels are {y.tolist()}; each has to be 0 or 1")
    return (x - x.mean(axis=0) if centered else x), y[:, None]


class TwoPoints(InMemory):
    """The two points of the perceptron experiment, (3, 2) -> 1 and (1, 1) -> 0, by default.

    Args:
        points: Coordinates, one [x, y] per point.
        labels: 0 or 1 for each point.
        centered: Subtract the mean of the points first.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        seed: Seed of the row order.
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.

    Raises:
        ValueError: Shapes that do not match, or a label other than 0 and 1.
    """

    def __init__(
        self,
        points: Sequence[Sequence[float]] = ((3.0, 2.0), (1.0, 1.0)),
        labels: Sequence[int] = (1, 0),
        centered: bool = False,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        block_size: int = 500,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size)
        self._rows = two_points(points, labels, centered)

    def sample(self, held_out: bool) -> Arrays:
        """The points and their labels."""
        return self._rows
