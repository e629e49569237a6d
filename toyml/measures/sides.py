"""How well a curve is fitted on its left and on its right half."""

from __future__ import annotations

import torch
from torch import Tensor


def side_errors(output: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r"""Relative squared error of the left and of the right half.

    .. math:: \frac{\sum_{i \in S} (f(x_i) - y_i)^2}{\sum_{i \in S} y_i^2}

    for the half S of the points with the smaller x, and for the other half. 0 is a perfect fit and
    1 is what the constant 0 gets, whatever the size of the targets: the errors of a high and of a
    low half can be compared.

    Args:
        output: Predictions [t, n, 1].
        x: Inputs [n, 1]; of an odd number, the middle point belongs to the right half.
        y: Targets [n, 1].

    Returns:
        Left and right, [t, 2].

    Raises:
        ValueError: Shapes other than these, or fewer than two points.

    Example:
        >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.1], [10.0]])
        >>> side_errors(torch.tensor([[[0.2], [9.0]]]), x, y)
        tensor([[0.0100, 1.0000]])
    """
    n = len(x)
    if n < 2 or x.shape != (n, 1) or y.shape != (n, 1) or output.shape[1:] != (n, 1):
        raise ValueError(
            f"output, x, y have shapes {[list(a.shape) for a in (output, x, y)]}; "
            "give [t, n, 1], [n, 1] and [n, 1] with n at least 2"
        )
    order = x[:, 0].argsort(stable=True)
    squares, sizes = (output - y).square()[..., 0], y.square()[:, 0]
    halves = [order[: n // 2], order[n // 2 :]]
    return torch.stack([squares[:, h].sum(1) / sizes[h].sum() for h in halves], dim=1)
