"""Exact minimisers of the absolute and the Huber loss of a linear model."""

from __future__ import annotations

from bisect import bisect_left
from math import inf

import torch
from torch import Tensor

from toyml.theory.rows import as_column, as_rows, split, with_ones

PAIRS_AT_ONCE = 2**22
"""Residuals held at one time by the enumeration (32 MiB)."""


def l1_minimizer(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The line of least absolute deviations, exactly.

    .. math:: \min_{w, b} \frac1n \sum_i |w x_i + b - y_i|

    The loss is piecewise linear, so a minimum lies at a vertex: on a line through two of the
    points. All n(n - 1)/2 of them are evaluated (Bloomfield and Steiger 1983, chapter 1).

    Args:
        x: One input, [n] or [n, 1], at least two different values.
        y: Targets [n] or [n, 1].

    Returns:
        w [1] and b [], float64. Where the minimum is not unique, one of its vertices.

    Raises:
        ValueError: More than one input, or all of them equal.

    Example:
        >>> l1_minimizer(torch.tensor([0.0, 1, 2, 3]), torch.tensor([1.0, 3, 99, 7]))
        (tensor([2.], dtype=torch.float64), tensor(1., dtype=torch.float64))
    """
    x = as_rows(x)
    y = as_column(y, len(x))
    if x.shape[1] != 1:
        raise ValueError(f"x has {x.shape[1]} inputs; the enumeration is for lines, [n] or [n, 1]")
    inputs = x[:, 0]
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    different = inputs[i] != inputs[j]
    i, j = i[different], j[different]
    if not len(i):
        raise ValueError(f"all {len(x)} inputs are {float(inputs[0])}; two have to differ")
    w = (y[i] - y[j]) / (inputs[i] - inputs[j])
    b = y[i] - w * inputs[i]
    chunk = max(1, PAIRS_AT_ONCE // len(x))
    losses = torch.cat(
        [
            (w[k : k + chunk, None] * inputs + b[k : k + chunk, None] - y).abs().mean(1)
            for k in range(0, len(w), chunk)
        ]
    )
    best = losses.argmin()
    return w[best, None], b[best]


def huber_minimizer(x: Tensor, y: Tensor, delta: float = 1.0) -> tuple[Tensor, Tensor]:
    r"""The minimiser of the mean Huber loss of a linear model, by Newton's method.

    With residuals :math:`r_i = w \cdot x_i + b - y_i`, the mean of

    .. math:: \tfrac12 r^2 \;\text{for}\; |r| \le \delta, \qquad
       \delta\,(|r| - \tfrac12 \delta) \;\text{beyond}.

    ``SmoothL1Loss`` (β) is this loss divided by δ = β: the same minimiser, and at the defaults
    (δ = β = 1) the same loss. The gradient is piecewise linear, so Newton ends after finitely
    many steps (Madsen and Nielsen 1990).

    Args:
        x: Inputs [n, d] or [n].
        y: Targets [n] or [n, 1].
        delta: δ > 0, in the units of y.

    Returns:
        w [d] and b [], float64; the gradient there is below 1e-12 for data of order one. Where
        the minimum is not unique, one of its points.

    Raises:
        ValueError: δ not positive, or shapes that do not fit together.

    Example:
        >>> x, y = torch.tensor([0.0, 0, 0, 1]), torch.tensor([0.0, 0, 9, 5])
        >>> w, b = huber_minimizer(x, y)  # the far point pulls with delta: 2 b = 1
        >>> round(float(b), 12), round(float(w + b), 12)
        (0.5, 5.0)
    """
    if not 0 < delta < inf:
        raise ValueError(f"delta is {delta}; it has to be positive and finite")
    x = as_rows(x)
    y = as_column(y, len(x))
    rows = with_ones(x)
    theta = torch.linalg.lstsq(rows, y[:, None]).solution[:, 0]
    g = huber_gradient(rows, y, theta, delta)
    size = float(rows.square().mean())
    scale = delta * size**0.5
    for _ in range(500):
        inside = ((rows @ theta - y).abs() <= delta).to(rows)
        curvature = (rows.T * inside) @ rows / len(rows)
        # Too few points within delta leave flat directions: a ridge as small as the gradient
        # keeps the step a descent and vanishes at the minimum.
        curvature.diagonal().add_(size * (1e-3 * g.norm() / scale + 1e-14))
        step = -torch.linalg.solve(curvature, g)
        theta_new = huber_search(rows, y, theta, step, delta)
        g_new = huber_gradient(rows, y, theta_new, delta)
        if g.norm() <= 1e-10 * scale and g_new.norm() >= g.norm():
            break
        theta, g = theta_new, g_new
    return split(theta)


def huber_gradient(rows: Tensor, y: Tensor, theta: Tensor, delta: float) -> Tensor:
    """Gradient of the mean Huber loss [d + 1]."""
    return (rows @ theta - y).clamp(-delta, delta) @ rows / len(rows)


def huber_search(rows: Tensor, y: Tensor, theta: Tensor, step: Tensor, delta: float) -> Tensor:
    """The exact minimum along a step: the slope is piecewise linear and does not fall."""
    r, u = rows @ theta - y, rows @ step
    moving = u != 0
    r, u = r[moving], u[moving]
    if not len(u):
        return theta
    # The slope bends where a residual passes +delta or -delta.
    bends = torch.cat([(delta - r) / u, (-delta - r) / u])
    bends = torch.cat([bends.new_zeros(1), bends[bends > 0].sort().values])

    def slope(i: int) -> float:
        return float((r + bends[i] * u).clamp(-delta, delta).dot(u))

    after = bisect_left(range(len(bends)), 0.0, key=slope)
    if after in (0, len(bends)):
        return theta + bends[min(after, len(bends) - 1)] * step
    low, high = slope(after - 1), slope(after)
    size = bends[after - 1] - low * (bends[after] - bends[after - 1]) / (high - low)
    return theta + size * step
