r"""Maximum-margin lines, and how gradient descent approaches one of them.

A line (hyperplane) is the pair w [d], b [] with :math:`w \cdot x + b = 0`; labels are 0 and 1 and
label 1 lies on the positive side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toyml.measures.geometry import angle, distances
from toyml.theory.rows import as_rows, as_signs, split, with_ones

__all__ = [
    "angle",
    "descent_asymptote",
    "distances",
    "fit_log_t",
    "log_t_constant",
    "max_margin",
    "max_margin_augmented",
    "perpendicular_bisector",
    "residual",
    "support_vector_log_ratios",
    "support_vectors",
]

SEPARABLE = 1e-10
"""Hulls nearer than this, relative to the size of the data, count as touching."""

Vertex = tuple[Tensor, tuple[int, ...]]
"""A vertex of a polytope and the rows that it is made of."""


def perpendicular_bisector(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The line of equal distance from two points, label 1 on its positive side.

    With p labelled 1 and q labelled 0, scaled so that both functional margins are 1,

    .. math:: w = \frac{2 (p - q)}{\|p - q\|^2}, \qquad b = -w \cdot \frac{p + q}{2}.

    Args:
        x: The two points [2, d].
        y: Their labels, one 0 and one 1, [2] or [2, 1].

    Returns:
        w [d] and b [], float64.

    Raises:
        ValueError: Not two points, equal points, or equal labels.

    Example:
        >>> perpendicular_bisector(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 0]))
        (tensor([1., 0.], dtype=torch.float64), tensor(-2., dtype=torch.float64))
    """
    x = as_rows(x)
    signs = as_signs(y, len(x))
    if len(x) != 2 or torch.equal(x[0], x[1]):
        raise ValueError(f"a bisector belongs to two different points; x is {x.tolist()}")
    difference = signs @ x
    w = 2 * difference / difference.dot(difference)
    return w, -w @ x.mean(0)


def max_margin(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The hard-margin line with a free bias: the widest street between the classes.

    .. math:: \min_{w, b} \tfrac12 \|w\|^2
       \quad\text{subject to}\quad (2 y_i - 1)(w \cdot x_i + b) \ge 1.

    It bisects the shortest segment between the two convex hulls, which is found by Wolfe's
    finite active-set method (Wolfe 1976, "Finding the nearest point in a polytope").

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].

    Returns:
        w [d] and b [], float64; the smallest functional margin is 1.

    Raises:
        ValueError: The classes cannot be separated by a hyperplane.

    Example:
        >>> max_margin(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1, 1]))
        (tensor([1.], dtype=torch.float64), tensor(-2., dtype=torch.float64))
    """
    x = as_rows(x)
    signs = as_signs(y, len(x))
    # Differences do not see a shift of the data; centred, they are not rounded by one either.
    center = x.mean(0)
    centred = x - center
    positive, negative = (signs > 0).nonzero()[:, 0], (signs < 0).nonzero()[:, 0]

    def lowest(direction: Tensor) -> Vertex:
        heights = centred @ direction
        i = int(positive[heights[positive].argmin()])
        j = int(negative[heights[negative].argmax()])
        return centred[i] - centred[j], (i, j)

    z, _, _ = nearest_point(lowest, centred[positive[0]] - centred[negative[0]])
    check_separable(z, centred)
    w = 2 * z / z.dot(z)
    heights = centred @ w
    b = -(heights[positive].min() + heights[negative].max()) / 2
    return w, b - w @ center


def max_margin_augmented(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The hard-margin line of the rows (x, 1): the bias counts in the norm.

    .. math:: \min_{w, b} \tfrac12 (\|w\|^2 + b^2)
       \quad\text{subject to}\quad (2 y_i - 1)(w \cdot x_i + b) \ge 1.

    Gradient descent on the logistic loss of a model with a bias, without weight decay, tends to
    this direction from every start (Soudry et al. 2018, theorem 3); it is not :func:`max_margin`,
    and it changes when the origin is moved.

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].

    Returns:
        w [d] and b [], float64; the smallest functional margin is 1.

    Raises:
        ValueError: The classes cannot be separated by a hyperplane.

    Example:
        >>> w, b = max_margin_augmented(torch.tensor([[3.0, 2], [1, 1]]), torch.tensor([1, 0]))
        >>> [round(6 * v, 12) for v in (*w.tolist(), b.item())]  # the line 7x - 2y = 11
        [7.0, -2.0, -11.0]
    """
    return split(support_vectors(x, y)[0])


def support_vectors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The augmented hard-margin solution and its Lagrange multipliers.

    .. math:: \hat\theta = \sum_i \alpha_i s_i (x_i, 1), \qquad s_i = 2 y_i - 1,\; \alpha_i \ge 0,

    with :math:`\alpha_i > 0` only where the functional margin is 1: the support vectors.

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].

    Returns:
        (w, b) as one vector [d + 1], and the multipliers [n], float64.

    Raises:
        ValueError: The classes cannot be separated by a hyperplane.
    """
    points = signed_rows(x, y)

    def lowest(direction: Tensor) -> Vertex:
        i = int((points @ direction).argmin())
        return points[i], (i,)

    z, keys, weights = nearest_point(lowest, points[0])
    check_separable(z, points)
    # min z.p over the hull is |z|^2, so this scale makes the smallest functional margin 1.
    multipliers = points.new_zeros(len(points))
    multipliers[[key[0] for key in keys]] = weights / z.dot(z)
    return z / z.dot(z), multipliers


def support_vector_log_ratios(x: Tensor, y: Tensor) -> Tensor:
    r"""Differences of the support vectors' margins in the limit of gradient descent.

    All support vectors have equal margins in the limit direction, but the margins themselves,
    which grow like ln t, keep finite differences: with the multipliers :math:`\alpha` of
    :func:`support_vectors`,

    .. math:: m_i(t) - m_j(t) \to \ln\frac{\alpha_j}{\alpha_i}

    (from the stationarity of the residual, Soudry et al. 2018, theorem 4).

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].

    Returns:
        [n, n], float64, the limit of :math:`m_i - m_j` at [i, j]; NaN for rows that are no
        support vectors.

    Raises:
        ValueError: The classes cannot be separated by a hyperplane.

    Example:
        >>> ratios = support_vector_log_ratios(torch.tensor([[3.0, 2], [1, 1]]),
        ...                                    torch.tensor([1, 0]))
        >>> round(float(ratios[0, 1].exp()), 12)  # 20/9
        2.222222222222
    """
    alpha = support_vectors(x, y)[1]
    logs = torch.where(alpha > 0, alpha, torch.nan).log()
    return logs[None, :] - logs[:, None]


def residual(x: Tensor, y: Tensor, lr: float, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    r"""What gradient descent keeps beside its logarithmic growth.

    On the mean logistic loss, :math:`\theta(t) = \hat\theta \ln t + \tilde\theta + o(1)` with

    .. math:: \frac{\eta}{n} \exp(-s_i \tilde\theta \cdot (x_i, 1)) = \alpha_i
       \quad\text{on the support vectors},

    and the part of the start that is orthogonal to all rows unchanged
    (Soudry et al. 2018, theorem 4; the 1/n is the mean's).

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].
        lr: Learning rate.
        w: Weights at the start, d values.
        b: Bias at the start.

    Returns:
        w [d] and b [] of the residual, float64.

    Raises:
        ValueError: Not separable; lr not positive; support vectors that do not span the rows or
            that are degenerate (a row on the margin without force): the limit then depends on the
            whole path.
    """
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr is {lr}; it has to be positive and finite")
    points = signed_rows(x, y)
    start = torch.cat([w.detach().reshape(-1), b.detach().reshape(-1)]).to(points)
    if len(start) != points.shape[1]:
        raise ValueError(
            f"the start has {len(start)} values; w and b of {list(x.shape)} rows "
            f"have {points.shape[1]}"
        )
    theta, alpha = support_vectors(x, y)
    support = points[alpha > 0]
    on_margin = int((points @ theta < 1 + 1e-9).sum())
    rank = int(torch.linalg.matrix_rank(points))
    if not len(support) == on_margin == rank:
        raise ValueError(
            f"{len(support)} support vectors with force, {on_margin} rows on the margin, rank "
            f"{rank}: the residual is known in closed form only where the three are equal"
        )
    wanted = -torch.log(len(points) * alpha[alpha > 0] / lr)
    # The shortest correction leaves everything orthogonal to the rows as it was.
    correction = torch.linalg.lstsq(support, (wanted - support @ start)[:, None]).solution
    return split(start + correction[:, 0])


def descent_asymptote(
    x: Tensor, y: Tensor, lr: float, w: Tensor, b: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Weights of gradient descent after many steps.

    .. math:: \theta(t) \approx \hat\theta \ln t + \tilde\theta

    Args:
        x: Points [n, d].
        y: Labels 0 or 1, [n] or [n, 1].
        lr: Learning rate.
        w: Weights at the start, d values.
        b: Bias at the start.
        steps: Numbers of steps t [t], each at least 1.

    Returns:
        w [t, d] and b [t], float64; the error is O(ln t / t) on nets of one linear layer.

    Raises:
        ValueError: As :func:`residual`; a step below 1.
    """
    if not bool((steps >= 1).all()):
        raise ValueError(f"the smallest step is {int(steps.min())}; ln t needs steps from 1 on")
    w_rest, b_rest = residual(x, y, lr, w, b)
    w_hat, b_hat = max_margin_augmented(x, y)
    logs = steps.to(w_hat).log()
    return logs[:, None] * w_hat + w_rest, logs * b_hat + b_rest


def log_t_constant(x: Tensor, y: Tensor, lr: float, w: Tensor, b: Tensor) -> float:
    r"""The constant C of the law: angle of w(t) minus its limit ≈ C / ln t.

    With :math:`w(t) = \hat w \ln t + \tilde w` in the plane,

    .. math:: C = \frac{\hat w_1 \tilde w_2 - \hat w_2 \tilde w_1}{\|\hat w\|^2},

    in degrees. Both vectors are those of :func:`residual`.

    Args:
        x: Points [n, 2].
        y: Labels 0 or 1, [n] or [n, 1].
        lr: Learning rate.
        w: Weights at the start, 2 values.
        b: Bias at the start.

    Returns:
        Degrees, counter-clockwise positive.

    Raises:
        ValueError: As :func:`residual`; points that are not in the plane.
    """
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x has shape {list(x.shape)}; an angle needs points of the plane, [n, 2]")
    w_hat, _ = max_margin_augmented(x, y)
    rest, _ = residual(x, y, lr, w, b)
    turn = (w_hat[0] * rest[1] - w_hat[1] * rest[0]) / w_hat.dot(w_hat)
    return float(torch.rad2deg(turn))


def fit_log_t(steps: Tensor, error: Tensor) -> tuple[float, float]:
    r"""C of a measured angle error, by the law that a straight line in ln t obeys exactly.

    A vector :math:`\hat w \ln t + \tilde w` makes the angle e with its limit where

    .. math:: \cot e = \frac{\ln t + a}{C},

    so C is 1 / slope of the least-squares line of cot e against ln t, which meets the law C/ln t
    without its slowly vanishing bias from the offset a.

    Args:
        steps: Numbers of steps [t], each at least 1, at least two different.
        error: Angles minus the limit angle [t], degrees, not zero.

    Returns:
        C in degrees and a.

    Raises:
        ValueError: Shapes that differ, fewer than two different steps, or an error of zero.

    Example:
        >>> steps = torch.tensor([10.0, 100.0, 1000.0])
        >>> error = torch.rad2deg(torch.atan(0.5 / (steps.log() + 1)))
        >>> C, a = fit_log_t(steps, error)
        >>> round(C * torch.pi / 180, 5), round(a, 5)
        (0.5, 1.0)
    """
    t, e = steps.to(torch.float64), torch.deg2rad(error.to(torch.float64))
    if t.ndim != 1 or t.shape != e.shape or t.aminmax()[0] == t.aminmax()[1]:
        raise ValueError(
            f"steps {list(t.shape)} and error {list(e.shape)} have to be two vectors of one "
            "length with at least two different steps"
        )
    if not bool((t >= 1).all()) or not bool((e != 0).all()):
        raise ValueError(
            f"steps from {float(t.min())} on with {int((e == 0).sum())} errors of "
            "zero; steps have to be at least 1 and errors not zero"
        )
    solution = torch.linalg.lstsq(with_ones(t.log()[:, None]), 1 / torch.tan(e)[:, None]).solution
    slope, intercept = solution[:, 0].tolist()
    return 180 / torch.pi / slope, intercept / slope


def signed_rows(x: Tensor, y: Tensor) -> Tensor:
    """Rows (x, 1), those of label 0 negated: a line separates where all products are positive."""
    x = as_rows(x)
    return as_signs(y, len(x))[:, None] * with_ones(x)


def check_separable(z: Tensor, points: Tensor) -> None:
    """Refuse data whose hulls touch."""
    distance, size = float(z.norm()), float(points.norm(dim=1).max())
    if distance <= SEPARABLE * size:
        raise ValueError(
            f"the two classes are not linearly separable: their hulls are {distance:.2g} apart "
            f"(size {size:.3g}); there is no maximum-margin line"
        )


def nearest_point(
    lowest: Callable[[Tensor], Vertex], start: Tensor
) -> tuple[Tensor, list[tuple[int, ...]], Tensor]:
    """The point of a polytope that is nearest to the origin (Wolfe 1976).

    Args:
        lowest: Direction [d] to the vertex with the smallest product with it.
        start: A point of the polytope [d], for the first direction.

    Returns:
        The point [d], the vertices whose convex combination it is, and their weights.
    """
    point, key = lowest(start)
    vertices, keys, weights = point[None], [key], point.new_ones(1)
    z = point
    while True:
        point, key = lowest(z)
        slack = z.dot(z) - z.dot(point)
        if key in keys or slack <= 1e-14 * z.norm() * max(point.norm(), z.norm()):
            return z, keys, weights
        vertices, keys = torch.cat([vertices, point[None]]), [*keys, key]
        weights = torch.cat([weights, weights.new_zeros(1)])
        while True:
            wanted = affine_weights(vertices)
            if bool((wanted > 0).all()):
                weights = wanted
                break
            # Walk towards the affine optimum until the first weight is zero, and drop it.
            falling = wanted <= 0
            ratio = weights[falling] / (weights[falling] - wanted[falling]).clamp(min=1e-300)
            moved = weights + ratio.min().clamp(max=1.0) * (wanted - weights)
            # The one that decided the walk goes even where rounding left it above zero.
            moved[falling.nonzero()[ratio.argmin(), 0]] = 0
            kept = moved > 0
            vertices, weights = vertices[kept], moved[kept] / moved[kept].sum()
            keys = [k for k, keep in zip(keys, kept.tolist(), strict=True) if keep]
        nearer = weights @ vertices
        # Each round comes nearer; one that does not is rounding going in circles.
        if nearer.norm() >= z.norm():
            return nearer, keys, weights
        z = nearer


def affine_weights(vertices: Tensor) -> Tensor:
    """Weights (sum 1, any sign) of the point nearest to the origin in the vertices' plane."""
    first, rest = vertices[0], vertices[1:]
    if not len(rest):
        return vertices.new_ones(1)
    free = torch.linalg.lstsq((rest - first).T, -first[:, None]).solution[:, 0]
    return torch.cat([1 - free.sum()[None], free])
