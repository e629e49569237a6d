r"""Least squares and ridge regression of one output, in closed form.

Conventions of PyTorch: the loss is the mean of squares without a half, and weight decay λ adds
:math:`\frac\lambda2\|\theta\|^2`. Textbook ridge (sum of squares plus :math:`\alpha\|w\|^2`) is
:math:`\lambda = 2\alpha/n`.
"""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from toyml.theory.rows import as_column, as_rows, split, with_ones


def least_squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The minimiser of :math:`\frac1n \sum_i (w \cdot x_i + b - y_i)^2`.

    Args:
        x: Inputs [n, d] or [n].
        y: Targets [n] or [n, 1].

    Returns:
        w [d] and b [], float64.

    Raises:
        ValueError: Inputs that do not determine w and b (fewer than d + 1 rows in general
            position), or shapes that do not fit together.

    Example:
        >>> w, b = least_squares(torch.tensor([0.0, 1, 2]), torch.tensor([1.0, 3, 5]))
        >>> round(float(w), 12), round(float(b), 12)
        (2.0, 1.0)
    """
    x = as_rows(x)
    y = as_column(y, len(x))
    # Centring removes the bias from the equations and with it most of their condition number.
    center = x.mean(0)
    centred = x - center
    if int(torch.linalg.matrix_rank(centred)) < x.shape[1]:
        raise ValueError(
            f"{len(x)} rows of {x.shape[1]} inputs leave the minimiser undetermined; "
            "add rows or a weight decay (ridge)"
        )
    w = torch.linalg.lstsq(centred, (y - y.mean())[:, None]).solution[:, 0]
    return w, y.mean() - w @ center


def ridge(
    x: Tensor, y: Tensor, weight_decay: float, decay_bias: bool = True
) -> tuple[Tensor, Tensor]:
    r"""The minimiser of the mean squared error with weight decay.

    .. math:: \frac1n \sum_i (w \cdot x_i + b - y_i)^2
       + \frac\lambda2 \bigl(\|w\|^2 [+ b^2]\bigr)

    Args:
        x: Inputs [n, d] or [n].
        y: Targets [n] or [n, 1].
        weight_decay: λ ≥ 0.
        decay_bias: Whether b counts in the penalty, as it does with ``net.parameters()``.

    Returns:
        w [d] and b [], float64.

    Raises:
        ValueError: λ negative; for λ = 0 as :func:`least_squares`.

    Example:
        >>> x, y = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0])
        >>> ridge(x, y, weight_decay=2.0)[0]  # 2 (w - 1) + 2 w = 0
        tensor([0.5000], dtype=torch.float64)
    """
    if not 0 <= weight_decay < inf:
        raise ValueError(f"weight_decay is {weight_decay}; it has to be at least 0 and finite")
    if weight_decay == 0:
        return least_squares(x, y)
    x = as_rows(x)
    y = as_column(y, len(x))
    p = x.shape[1] + 1
    decayed = torch.eye(p, dtype=x.dtype, device=x.device)[: p if decay_bias else p - 1]
    # The penalty as further rows of one least-squares problem: no squared condition number.
    data, root = (2 / len(x)) ** 0.5, weight_decay**0.5
    rows = torch.cat([data * with_ones(x), root * decayed])
    targets = torch.cat([data * y, y.new_zeros(len(decayed))])
    return split(torch.linalg.lstsq(rows, targets[:, None]).solution[:, 0])


def mse_hessian(x: Tensor, weight_decay: float = 0.0, decay_bias: bool = True) -> Tensor:
    r"""Second derivatives of the mean squared error of a linear model, the same everywhere.

    .. math:: \frac2n \sum_i (x_i, 1)(x_i, 1)^T + \lambda D

    Args:
        x: Inputs [n, d] or [n].
        weight_decay: λ ≥ 0.
        decay_bias: Whether D has its last entry.

    Returns:
        [d + 1, d + 1], float64, order (w, b).

    Raises:
        ValueError: λ negative.

    Example:
        >>> mse_hessian(torch.tensor([1.0, 3.0]))
        tensor([[10.,  4.],
                [ 4.,  2.]], dtype=torch.float64)
    """
    if not 0 <= weight_decay < inf:
        raise ValueError(f"weight_decay is {weight_decay}; it has to be at least 0 and finite")
    rows = with_ones(as_rows(x))
    diagonal = rows.new_full(rows.shape[1:], weight_decay)
    if not decay_bias:
        diagonal[-1] = 0
    return 2 / len(rows) * rows.T @ rows + torch.diag(diagonal)
