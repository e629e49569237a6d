"""Rows whose labels follow a logistic model: the data that logistic regression assumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from toyml.data.memory import Arrays, InMemory


def logistic_rows(
    n: int, weights: ArrayLike, bias: float, generator: np.random.Generator
) -> Arrays:
    r"""Draw inputs, then a label for each.

    .. math:: x_i \sim N(0, 1)^d, \qquad P(y_i = 1) = \frac{1}{1 + e^{-(w \cdot x_i + b)}}

    All x are drawn before the first label.

    Args:
        n: Number of rows.
        weights: w [d].
        bias: b.
        generator: Where the draws come from.

    Returns:
        x [n, d] and y [n, 1] of 0 and 1, float64.

    Raises:
        ValueError: No row, or weights that are not a list of finite numbers.

    Example:
        >>> x, y = logistic_rows(1000, [0.0], 0.0, np.random.default_rng(0))
        >>> x.shape, y.shape, bool(abs(y.mean() - 0.5) < 0.05)
        ((1000, 1), (1000, 1), True)
    """
    w = np.asarray(weights, dtype=np.float64)
    if n < 1:
        raise ValueError(f"n is {n}; draw at least 1 row")
    if w.ndim != 1 or w.size == 0 or not np.isfinite([*w, bias]).all():
        raise ValueError(f"weights are {w.tolist()} and bias {bias}; give finite numbers [d] and b")
    x = generator.standard_normal((n, len(w)))
    # tanh is the sigmoid that cannot overflow.
    probability = 0.5 + 0.5 * np.tanh(0.5 * (x @ w + bias))
    y = generator.random(n) < probability
    return x, y[:, None].astype(np.float64)


class LogisticRows(InMemory):
    """Rows with normal inputs and labels from a logistic model: 1,096 rows of four by default.

    Args:
        n: Number of rows.
        weights: The model's weights, one per input.
        bias: The model's bias.
        seed: Seed of the data and of the row order.
        batch_size: Rows per step; ``null`` is the full batch, one step per pass over the data.
        shuffle: Draw a new row order for every pass (mini-batches only).
        block_size: Optimizer steps per block, the unit of checkpoints and early stopping.
        validation: Number of held-out rows.

    Raises:
        ValueError: No row, or weights that are not a list of finite numbers.
    """

    def __init__(
        self,
        n: int = 1096,
        weights: Sequence[float] = (1.0, -2.0, 0.5, 0.0),
        bias: float = 0.25,
        seed: int = 0,
        batch_size: int | None = None,
        shuffle: bool = True,
        block_size: int = 500,
        validation: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, block_size, validation)
        self.n, self.weights, self.bias = n, tuple(weights), bias
        self.arrays()  # a wrong setting is an error here, not in the middle of a fit

    def sample(self, held_out: bool) -> Arrays:
        """Draw the training or the held-out rows."""
        generator = np.random.default_rng([self.seed, int(held_out)])
        return logistic_rows(
            self.validation if held_out else self.n, self.weights, self.bias, generator
        )
