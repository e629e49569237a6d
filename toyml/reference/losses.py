r"""Losses by hand: value and gradient, means over all n·k entries as in ``torch.nn``."""

from __future__ import annotations

from math import inf
from typing import Protocol

import numpy as np

from toyml.reference.optimizers import Array


class Loss(Protocol):
    """A loss and its gradient."""

    def value(self, output: Array, target: Array) -> float:
        """The loss, a mean over the N entries."""

    def gradient(self, output: Array, target: Array) -> Array:
        """Derivative by every entry of the output, with the mean's 1/N."""


class MSE:
    r"""Mean squared error :math:`\frac1N \sum (o - y)^2`, gradient :math:`\frac2N (o - y)`.

    Example:
        >>> MSE().value(np.array([[3.0], [5.0]]), np.array([[7.0], [11.0]]))
        26.0
    """

    def value(self, output: Array, target: Array) -> float:
        """The loss."""
        return float(np.mean((output - target) ** 2))

    def gradient(self, output: Array, target: Array) -> Array:
        """Its gradient."""
        return 2 / output.size * (output - target)


class L1:
    r"""Mean absolute error :math:`\frac1N \sum |o - y|`; the gradient at 0 is 0."""

    def value(self, output: Array, target: Array) -> float:
        """The loss."""
        return float(np.mean(np.abs(output - target)))

    def gradient(self, output: Array, target: Array) -> Array:
        """Its gradient."""
        return np.sign(output - target) / output.size


class Huber:
    r"""Huber loss: :math:`\frac12 r^2` within δ, :math:`\delta(|r| - \frac12\delta)` beyond.

    At δ = 1 it is ``SmoothL1Loss`` with β = 1 as well.

    Args:
        delta: δ > 0.

    Raises:
        ValueError: δ not positive.
    """

    def __init__(self, delta: float = 1.0) -> None:
        if not 0 < delta < inf:
            raise ValueError(f"delta is {delta}; it has to be positive and finite")
        self.delta = delta

    def value(self, output: Array, target: Array) -> float:
        """The loss."""
        r = np.abs(output - target)
        inside, beyond = 0.5 * r * r, self.delta * (r - 0.5 * self.delta)
        return float(np.mean(np.where(r <= self.delta, inside, beyond)))

    def gradient(self, output: Array, target: Array) -> Array:
        """Its gradient."""
        return np.clip(output - target, -self.delta, self.delta) / output.size


class BCE:
    r"""Binary cross-entropy of probabilities, as ``torch.nn.BCELoss``.

    .. math:: -\frac1N \sum y \ln p + (1 - y) \ln(1 - p), \qquad
       \frac1N \frac{p - y}{p (1 - p)}

    PyTorch's guards are kept: logarithms are at least -100, the denominator at least 1e-12.
    """

    def value(self, output: Array, target: Array) -> float:
        """The loss."""
        with np.errstate(divide="ignore"):
            hit, miss = np.maximum(np.log(output), -100), np.maximum(np.log1p(-output), -100)
        return float(np.mean((target - 1) * miss - target * hit))

    def gradient(self, output: Array, target: Array) -> Array:
        """Its gradient."""
        slope = (output - target) / np.maximum((1 - output) * output, 1e-12)
        return np.asarray(slope / output.size)


class BCEWithLogits:
    r"""Binary cross-entropy of logits, as ``torch.nn.BCEWithLogitsLoss``.

    .. math:: \frac1N \sum \ln(1 + e^z) - y z, \qquad \frac1N (\sigma(z) - y)
    """

    def value(self, output: Array, target: Array) -> float:
        """The loss."""
        return float(np.mean(np.logaddexp(0, output) - target * output))

    def gradient(self, output: Array, target: Array) -> Array:
        """Its gradient."""
        return (sigmoid(output) - target) / output.size


def sigmoid(z: Array) -> Array:
    r"""The logistic function :math:`1 / (1 + e^{-z})`, without overflow at either end.

    Example:
        >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
        array([0. , 0.5, 1. ])
    """
    tail = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1 / (1 + tail), tail / (1 + tail)))
