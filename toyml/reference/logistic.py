r"""Logistic regression by hand, in both conventions of the L2 penalty.

PyTorch adds :math:`\lambda\theta` to the gradient of the *mean* loss; textbooks put the penalty
inside the mean, :math:`\frac1m(\sum \text{loss} + \frac\lambda2\|\theta\|^2)`, whose gradient has
:math:`\frac\lambda m\theta`. They are one family: a textbook λ is a ``weight_decay`` of λ/m.
"""

from __future__ import annotations

from math import inf

import numpy as np

from toyml.reference.losses import sigmoid
from toyml.reference.optimizers import Array


def textbook_decay(penalty: float, rows: int) -> float:
    r"""The ``weight_decay`` that a textbook's penalty is: λ/m.

    Args:
        penalty: λ of the textbook, at least 0.
        rows: m, the number of rows that the mean is over.

    Returns:
        λ/m.

    Raises:
        ValueError: A negative penalty, or no row.

    Example:
        >>> textbook_decay(1.0, rows=2)
        0.5
    """
    if not 0 <= penalty < inf or rows < 1:
        raise ValueError(f"penalty is {penalty} for {rows} rows; give at least 0 for at least 1")
    return penalty / rows


class LogisticRegression:
    r"""Full-batch gradient descent on the mean binary cross-entropy of a sigmoid.

    .. math:: w \leftarrow w - \eta\Bigl(\frac1m \sum_i (p_i - y_i) x_i + \lambda w\Bigr), \qquad
       b \leftarrow b - \eta\Bigl(\frac1m \sum_i (p_i - y_i) [+ \lambda b]\Bigr)

    Args:
        lr: η ≥ 0.
        weight_decay: λ in PyTorch's convention; :func:`textbook_decay` gives it for the other.
        decay_bias: Whether b is decayed, as it is with ``net.parameters()``.

    Raises:
        ValueError: A negative setting.

    Example:
        >>> regression = LogisticRegression(lr=1.0)
        >>> w, b = regression.train(np.array([[3.0, 2.0], [1.0, 1.0]]), np.array([1, 0]), steps=1)
        >>> w[-1], b[-1]
        (array([0.5 , 0.25]), np.float64(0.0))
    """

    def __init__(self, lr: float, weight_decay: float = 0.0, decay_bias: bool = True) -> None:
        if not 0 <= lr < inf or not 0 <= weight_decay < inf:
            raise ValueError(
                f"lr is {lr} and weight_decay {weight_decay}; both have to be at least 0 and finite"
            )
        self.lr = lr
        self.weight_decay = weight_decay
        self.decay_bias = decay_bias

    def train(
        self, x: Array, y: Array, steps: int, w: Array | None = None, b: float = 0.0
    ) -> tuple[Array, Array]:
        """Train from a start and keep every step.

        Args:
            x: [m, d].
            y: Labels 0 or 1, [m] or [m, 1].
            steps: Number of updates, at least 0.
            w: Weights at the start [d]; zeros if not given.
            b: Bias at the start.

        Returns:
            Weights [steps + 1, d] and biases [steps + 1] after 0, 1, ... updates.

        Raises:
            ValueError: Shapes that do not fit together, or a negative number of steps.
        """
        m, d = x.shape if x.ndim == 2 else (0, 0)
        if m == 0 or y.shape not in ((m,), (m, 1)) or steps < 0:
            raise ValueError(
                f"x has shape {x.shape}, y {y.shape}, steps is {steps}; "
                "give [m, d], [m] or [m, 1], and at least 0"
            )
        y = y.reshape(m)
        weights, biases = np.zeros((steps + 1, d)), np.zeros(steps + 1)
        weights[0], biases[0] = np.zeros(d) if w is None else w, b
        bias_decay = self.weight_decay if self.decay_bias else 0.0
        for t in range(steps):
            error = (sigmoid(x @ weights[t] + biases[t]) - y) / m
            weights[t + 1] = weights[t] - self.lr * (error @ x + self.weight_decay * weights[t])
            biases[t + 1] = biases[t] - self.lr * (error.sum() + bias_decay * biases[t])
        return weights, biases
