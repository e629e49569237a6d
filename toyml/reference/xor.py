r"""XOR trained the way a hand-written script often does it, and what that script reports.

The script differs from PyTorch in four ways, each of which can be undone:

1. No biases.
2. Its gradient is that of :math:`\frac12 \sum (p - y)^2`, without the mean's :math:`\frac2N`: at
   equal learning rates it moves N/2 times as far, which is 2 for the N = 4 rows of XOR only.
3. Weights uniform in [0, 1) instead of symmetric about zero.
4. What it prints as loss is :func:`signal`, the product of half the mean squared error and the
   mean error. That is no loss: it has the sign of the mean error, so it passes through zero, and
   below, while the squared error still stands at its plateau.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from toyml.reference.losses import MSE
from toyml.reference.mlp import MLP, Sigmoid
from toyml.reference.optimizers import SGD, Array

INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
"""The four rows of XOR [4, 2]."""
TARGETS = np.array([[0.0], [1.0], [1.0], [0.0]])
"""Their targets [4, 1]."""


class HalfSum:
    r"""The loss that the script's gradient belongs to: :math:`\frac12 \sum (o - y)^2`.

    Example:
        >>> HalfSum().gradient(np.array([[3.0]]), np.array([[1.0]]))
        array([[2.]])
    """

    def value(self, output: Array, target: Array) -> float:
        """The loss."""
        return float(0.5 * np.sum((output - target) ** 2))

    def gradient(self, output: Array, target: Array) -> Array:
        """Its gradient, the plain difference."""
        return output - target


class HandWritten(NamedTuple):
    """A hand-written run, seen before each of its updates and after the last."""

    hidden: Array
    """Weights of the hidden layer [steps + 1, h, d]."""
    output: Array
    """Weights of the output layer [steps + 1, k, h]."""
    signal: Array
    """What the script prints [steps + 1]."""
    mse: Array
    """The mean squared error [steps + 1]."""


def signal(prediction: Array, target: Array) -> float:
    r"""What the script prints as its loss.

    .. math:: \operatorname{mean}(p - y) \cdot \tfrac12 \operatorname{mean}\bigl((p - y)^2\bigr)

    Args:
        prediction: [n, k].
        target: [n, k].

    Returns:
        Any sign.

    Example:
        >>> signal(np.array([[0.0], [0.5]]), np.array([[1.0], [0.5]]))
        -0.125
    """
    difference = prediction - target
    return float(np.mean(difference * (0.5 * np.mean(np.square(difference)))))


def uniform_start(hidden: int = 5, seed: int = 0) -> tuple[Array, Array]:
    """The script's start: uniform in [0, 1), hidden layer first, drawn as [in, out].

    Args:
        hidden: h, at least 1.
        seed: Of NumPy's legacy generator, whose stream is the script's.

    Returns:
        Weights [h, 2] and [1, h] in PyTorch's layout.

    Raises:
        ValueError: No hidden unit.
    """
    if hidden < 1:
        raise ValueError(f"hidden is {hidden}; at least one unit is needed")
    generator = np.random.RandomState(seed)
    first = generator.random_sample((2, hidden))
    return first.T.copy(), generator.random_sample((hidden, 1)).T.copy()


def hand_written(hidden: Array, output: Array, lr: float = 0.3, steps: int = 5000) -> HandWritten:
    """Train two sigmoid layers without biases on XOR, as the script does.

    Args:
        hidden: Weights at the start [h, 2].
        output: Weights at the start [1, h].
        lr: Learning rate on the gradient without 2/N.
        steps: Number of updates.

    Returns:
        Weights and both curves for steps 0 to ``steps``.

    Raises:
        ValueError: Shapes that do not chain, or a negative setting.
    """
    if steps < 0:
        raise ValueError(f"steps is {steps}; it has to be at least 0")
    net = MLP([hidden, output], None, [Sigmoid(), Sigmoid()])
    optimizer = SGD(lr)
    run = HandWritten(
        np.empty((steps + 1, *hidden.shape)),
        np.empty((steps + 1, *output.shape)),
        np.empty(steps + 1),
        np.empty(steps + 1),
    )
    for t in range(steps + 1):
        run.hidden[t], run.output[t] = net.parameters
        prediction = net.forward(INPUTS)
        run.signal[t] = signal(prediction, TARGETS)
        run.mse[t] = MSE().value(prediction, TARGETS)
        if t < steps:
            optimizer.step(net.parameters, net.gradients(INPUTS, TARGETS, HalfSum()))
    return run
