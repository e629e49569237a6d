"""Two rows for a line: few enough to do a step by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from toyml.data.memory import Arrays, InMemory


def two_rows(x: ArrayLike, y: ArrayLike) -> Arrays:
    """Numbers x and y as columns.

    Args:
        x: One input per row [n].
        y: One target per row [n].

    Returns:
        x [n, 1] and y [n, 1], float64.

    Raises:
        ValueError: Lengths that differ, no row, or a value that is not finite.

    Example:
        >>> two_rows([2, 4], [7, 11])[0].tolist()
        [[2.0], [4.0]]
    """
    inputs, targets = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if inputs.ndim != 1 or inputs.shape != targets.shape or inputs.size == 0:
        raise ValueError(
            f"x has shape {list(inputs.shape)} and y {list(targets.shape)}; give one number each "
            "per row"
        )
    if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
        raise ValueError(f"x is {inputs.tolist()} and y {targets.tolist()}; give finite numbers")
    return inputs[:, None], targets[:, None]


class TwoRows(InMemory):
    """The rows 2 -> 7 and 4 -> 11 by default: both lie on the line y = 2x + 3.

    Args:
        x: One input per row.
        y: One target per row.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        seed: Seed of the row order.
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.

    Raises:
        ValueError: Lengths that differ, no row, or a value that is not finite.
    """

    def __init__(
        self,
        x: Sequence[float] = (2.0, 4.0),
        y: Sequence[float] = (7.0, 11.0),
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        block_size: int = 500,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size)
        self._rows = two_rows(x, y)

    def sample(self, held_out: bool) -> Arrays:
        """The rows."""
        return self._rows
