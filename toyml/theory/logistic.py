r"""Logistic regression with weight decay: the exact minimum that training has to reach.

The objective is PyTorch's: mean binary cross-entropy plus :math:`\frac\lambda2\|\theta\|^2`, whose
gradient is what ``weight_decay=λ`` adds in SGD (λ, not λ/n; the bias decayed like a weight unless
it has its own parameter group).
"""

from __future__ import annotations

from math import exp, inf, log, sqrt

import torch
from torch import Tensor

from toyml.theory.margin import signed_rows
from toyml.theory.rows import split


def regularized_logistic(
    x: Tensor, y: Tensor, weight_decay: float, decay_bias: bool = True
) -> tuple[Tensor, Tensor]:
    r"""The unique minimiser of the regularised logistic loss, by Newton's method.

    .. math:: \frac1n \sum_i \ln(1 + e^{-s_i (w \cdot x_i + b)})
       + \frac\lambda2 \bigl(\|w\|^2 [+ b^2]\bigr), \qquad s_i = 2 y_i - 1

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1]; both have to occur.
        weight_decay: λ > 0.
        decay_bias: Whether b counts in the penalty, as it does with ``net.parameters()``.

    Returns:
        w [d] and b [], float64; the gradient there is below 1e-12.

    Raises:
        ValueError: λ not positive, or data that do not fit together.

    Example:
        >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 0])
        >>> w, b = regularized_logistic(x, y, weight_decay=0.25 / log(3))
        >>> round(float(w.exp()), 12), abs(round(float(b), 12))  # sigmoid(-ln 3) is 1/4
        (3.0, 0.0)
    """
    check_decay(weight_decay)
    points = signed_rows(x, y)
    return split(minimizer(points, penalty(points, weight_decay, decay_bias)))


def logistic_hessian(
    x: Tensor, y: Tensor, w: Tensor, b: Tensor, weight_decay: float = 0.0, decay_bias: bool = True
) -> Tensor:
    r"""Second derivatives of the (regularised) mean logistic loss.

    .. math:: \frac1n \sum_i \sigma(m_i)\,\sigma(-m_i)\,(x_i, 1)(x_i, 1)^T + \lambda D,

    D the identity, without its last entry where the bias is not decayed.

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].
        w: Weights, d values.
        b: Bias.
        weight_decay: λ ≥ 0.
        decay_bias: Whether b is decayed.

    Returns:
        [d + 1, d + 1], float64, bias last.

    Raises:
        ValueError: λ negative, or shapes that do not fit together.
    """
    if not 0 <= weight_decay < inf:
        raise ValueError(f"weight_decay is {weight_decay}; it has to be at least 0 and finite")
    points = signed_rows(x, y)
    theta = torch.cat([w.detach().reshape(-1), b.detach().reshape(-1)]).to(points)
    if len(theta) != points.shape[1]:
        raise ValueError(
            f"w and b have {len(theta)} values; rows {list(x.shape)} need {points.shape[1]}"
        )
    return hessian(points, theta, penalty(points, weight_decay, decay_bias))


def logistic_sharpness(x: Tensor, y: Tensor, weight_decay: float, decay_bias: bool = True) -> float:
    """Largest Hessian eigenvalue at the regularised minimum, the decay's λ included.

    Gradient descent settles at the minimum only for lr below 2 / sharpness; above 1 / sharpness
    it swings around it from step to step.

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].
        weight_decay: λ > 0.
        decay_bias: Whether b is decayed.

    Returns:
        The sharpness, positive.

    Raises:
        ValueError: As :func:`regularized_logistic`.
    """
    w, b = regularized_logistic(x, y, weight_decay, decay_bias)
    curvature = logistic_hessian(x, y, w, b, weight_decay, decay_bias)
    return float(torch.linalg.eigvalsh(curvature)[-1])


def two_point_threshold(x: Tensor, y: Tensor) -> float:
    r"""The weight decay above which one of two points is misclassified, in closed form.

    With rows :math:`p_i = s_i (x_i, 1)` and the bias decayed, the minimum is
    :math:`\theta = \frac{1}{2\lambda} \sum_i \sigma(-m_i) p_i`. Point j on the line means
    :math:`m_j = 0`, hence :math:`q = \sigma(-m_i) = -\|p_j\|^2 / (2 p_i \cdot p_j)` and

    .. math:: \lambda^* = \frac{q \|p_i\|^2 + \frac12 p_i \cdot p_j}{2 \ln((1 - q)/q)}.

    Args:
        x: The two points [2, d].
        y: One 0 and one 1, [2] or [2, 1].

    Returns:
        λ*, or infinity where both points stay on their sides for every λ.

    Raises:
        ValueError: Not two points.

    Example:
        >>> threshold = two_point_threshold(torch.tensor([[3.0, 2], [1, 1]]), torch.tensor([1, 0]))
        >>> round(threshold * 4 * log(3), 12)
        1.0
    """
    points = signed_rows(x, y)
    if len(points) != 2:
        raise ValueError(f"x has {len(points)} rows; the closed form is for two points")
    for i, j in ((0, 1), (1, 0)):
        product = float(points[i] @ points[j])
        q = -float(points[j] @ points[j]) / (2 * product) if product < 0 else inf
        # q is the error on the other point, which is on its side: below one half.
        if q < 0.5:
            norm = float(points[i] @ points[i])
            return (q * norm + product / 2) / (2 * log((1 - q) / q))
    return inf


def misclassification_threshold(x: Tensor, y: Tensor, decay_bias: bool = True) -> float:
    """The weight decay from which on the regularised minimum misclassifies a point.

    The smallest λ at which a point lies on the line of :func:`regularized_logistic`, found by
    safeguarded Newton in ln λ with the minimum's exact derivative in λ, after a scan of λ over
    1e-6 to 1e6 times the mean squared length of a row (20 values a decade). Thresholds below that
    range, and pairs of crossings between two scanned values, are not seen.

    Args:
        x: Points [n, d], linearly separable.
        y: Labels 0 or 1, [n] or [n, 1].
        decay_bias: Whether b is decayed.

    Returns:
        λ*, relative accuracy 1e-12; infinity where no point changes sides.

    Raises:
        ValueError: A point is misclassified however small λ is.
    """
    points = signed_rows(x, y)
    scale = float(points.square().sum(1).mean())
    theta = points.new_zeros(points.shape[1])
    above: float | None = None
    # From strong to weak decay: each minimum is a near start for the next one.
    found: tuple[float, float] | None = None
    for exponent in range(120, -121, -1):
        decay = scale * 10.0 ** (exponent / 20)
        theta = minimizer(points, penalty(points, decay, decay_bias), theta)
        separated = float((points @ theta).min()) > 0
        if separated and above is not None:
            found = (decay, above)
        above = None if separated else decay
    if above is not None:
        raise ValueError(
            f"a point is misclassified even at weight decay {above:.3g}; "
            "a threshold exists only for points that weak decay separates"
        )
    return inf if found is None else crossing(points, *found, decay_bias)


def crossing(points: Tensor, low: float, high: float, decay_bias: bool) -> float:
    """The λ in [low, high] at which the smallest margin is zero."""
    decay = sqrt(low * high)
    theta = points.new_zeros(points.shape[1])
    for _ in range(200):
        diagonal = penalty(points, decay, decay_bias)
        theta = minimizer(points, diagonal, theta)
        margin, row = (points @ theta).min(0)
        low, high = (decay, high) if margin > 0 else (low, decay)
        # The gradient stays zero along the path of minima: H dθ/dlnλ = -λ D θ.
        slope = torch.linalg.solve(hessian(points, theta, diagonal), -diagonal * theta)
        step = -float(margin / (points[row] @ slope))
        if abs(step) < 2e-13 or high - low <= 1e-15 * high:
            return decay
        newton = decay * exp(step) if abs(step) < 50 else inf
        decay = newton if low < newton < high else sqrt(low * high)
    return decay


def check_decay(weight_decay: float) -> None:
    """Refuse a decay without a minimum."""
    if not 0 < weight_decay < inf:
        raise ValueError(
            f"weight_decay is {weight_decay}; a minimum is sure to exist only for a positive, "
            "finite one (without it separable data drive the weights to infinity)"
        )


def penalty(points: Tensor, weight_decay: float, decay_bias: bool) -> Tensor:
    """Diagonal λD of the penalty's Hessian [d + 1]."""
    diagonal = points.new_full(points.shape[1:], weight_decay)
    if not decay_bias:
        diagonal[-1] = 0
    return diagonal


def gradient(points: Tensor, theta: Tensor, diagonal: Tensor) -> Tensor:
    """Gradient of the objective [d + 1]."""
    return diagonal * theta - torch.sigmoid(-(points @ theta)) @ points / len(points)


def hessian(points: Tensor, theta: Tensor, diagonal: Tensor) -> Tensor:
    """Hessian of the objective [d + 1, d + 1]."""
    margins = points @ theta
    weights = torch.sigmoid(margins) * torch.sigmoid(-margins) / len(points)
    return (points.T * weights) @ points + torch.diag(diagonal)


def objective(points: Tensor, theta: Tensor, diagonal: Tensor) -> Tensor:
    """Mean logistic loss plus penalty []."""
    loss = torch.nn.functional.softplus(-(points @ theta), threshold=40.0).mean()
    return loss + (diagonal * theta).dot(theta) / 2


def minimizer(points: Tensor, diagonal: Tensor, start: Tensor | None = None) -> Tensor:
    """Newton's method, halving steps that do not descend, until rounding stops it."""
    theta = points.new_zeros(points.shape[1]) if start is None else start
    g = gradient(points, theta, diagonal)
    value = objective(points, theta, diagonal)
    for _ in range(200):
        step = torch.linalg.solve(hessian(points, theta, diagonal), -g)
        # Where the gradient is nothing but rounding, a full step that does not help is the end.
        size, least = 1.0, 0.6 if g.norm() <= 1e-10 * points.norm() else 1e-12
        while size > least:
            moved = theta + size * step
            g_moved = gradient(points, moved, diagonal)
            new = objective(points, moved, diagonal)
            # Near the minimum the value no longer tells; the gradient still does.
            if new < value + 1e-4 * size * g.dot(step) or g_moved.norm() < 0.9 * g.norm():
                break
            size /= 2
        else:
            return theta
        theta, value, g = moved, new, g_moved
    return theta
