"""Relative errors."""

from __future__ import annotations

from torch import Tensor, nn


class PercentageError(nn.Module):
    r"""Half the squared relative error, averaged.

    .. math:: \frac{1}{2N} \sum_{i=1}^N \Bigl( \frac{f(x_i) - y_i}{y_i} \Bigr)^2

    with N the number of targets. It weighs every target by :math:`1 / y_i^2`, so a target near zero
    outweighs all others: with the smallest :math:`|y_i| = 10^{-13}` one row is the whole loss, and
    the gradient says nothing about the rest. A target of exactly zero makes the loss infinite or
    NaN. Use it only where every :math:`|y_i|` is far from zero.

    Example:
        >>> import torch
        >>> float(PercentageError()(torch.tensor([[3.0], [8.0]]), torch.tensor([[2.0], [10.0]])))
        0.07249999791383743
    """

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of outputs [n, k] against targets [n, k]: one number."""
        return ((output - y) / y).square().mean() / 2
