"""The exclusive or."""

from __future__ import annotations

import numpy as np

from toyml.data.memory import Arrays, InMemory


def xor(repeats: int = 1) -> Arrays:
    """The four rows of the exclusive or, each as often as asked for.

    Args:
        repeats: How often the four rows are there; the mean over them does not change, a sum does.

    Returns:
        x [4 repeats, 2] in the order 00, 01, 10, 11 and y [4 repeats, 1], each 0 or 1.

    Raises:
        ValueError: No row.

    Example:
        >>> x, y = xor()
        >>> [(*map(int, row), int(label)) for row, (label,) in zip(x, y)]
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; the four rows have to be there at least once")
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([[0.0], [1.0], [1.0], [0.0]])
    return np.tile(x, (repeats, 1)), np.tile(y, (repeats, 1))


class Xor(InMemory):
    """The four rows of the exclusive or.

    Args:
        repeats: How often the four rows are there.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        seed: Seed of the row order.
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.

    Raises:
        ValueError: No row.
    """

    def __init__(
        self,
        repeats: int = 1,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        block_size: int = 500,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size)
        self._rows = xor(repeats)

    def sample(self, held_out: bool) -> Arrays:
        """The rows."""
        return self._rows
