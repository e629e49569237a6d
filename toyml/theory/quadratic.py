r"""SGD with momentum on a quadratic: stability, best settings, and the whole path.

The quadratic is :math:`\frac12 (\theta - \theta^*)^T H (\theta - \theta^*)`; the update is that of
``torch.optim.SGD``: with :math:`g = H(\theta - \theta^*) + \lambda\theta`,

.. math:: v \leftarrow \mu v + (1 - \tau) g, \qquad
   \theta \leftarrow \theta - \eta v \;\;\text{or, with Nesterov,}\;\;
   \theta \leftarrow \theta - \eta (g + \mu v),

η the learning rate, μ the momentum, τ the dampening, λ the weight decay. The first step takes
:math:`v = g` undampened, and without momentum dampening plays no part.
"""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor


def stability_limit(
    lambda_max: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
) -> float:
    r"""The learning rate from which on SGD diverges along the sharpest direction.

    With :math:`\ell = \lambda_{\max} + \lambda`:

    .. math:: \frac{2(1 + \mu)}{(1 - \tau)\,\ell}, \qquad\text{Nesterov:}\quad
       \frac{2(1 + \mu)}{(1 + 2\mu)\,\ell}

    (Polyak 1964; for Nesterov the root -1 of
    :math:`z^2 - (1 + \mu)(1 - \eta\ell) z + \mu(1 - \eta\ell)`).

    Args:
        lambda_max: Largest eigenvalue of the Hessian.
        momentum: μ in [0, 1).
        nesterov: Nesterov's form; needs momentum and no dampening, as in PyTorch.
        dampening: τ below 1.
        weight_decay: λ ≥ 0.

    Returns:
        The limit; every smaller positive learning rate converges.

    Raises:
        ValueError: A setting out of its range, or a curvature that is not positive.

    Example:
        >>> stability_limit(4.0), stability_limit(4.0, momentum=0.5)
        (0.5, 0.75)
    """
    check_settings(0.0, momentum, dampening, weight_decay, nesterov)
    curvature = lambda_max + weight_decay
    if not 0 < curvature < inf:
        raise ValueError(f"lambda_max + weight_decay is {curvature}; it has to be positive")
    if nesterov:
        return 2 * (1 + momentum) / ((1 + 2 * momentum) * curvature)
    return 2 * (1 + momentum) / ((1 - effective(momentum, dampening)) * curvature)


def sharpness_limit(
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
) -> float:
    r"""The sharpness from which on SGD with this learning rate diverges along that direction.

    .. math:: \frac{2(1 + \mu)}{(1 - \tau)\,\eta} - \lambda, \qquad\text{Nesterov:}\quad
       \frac{2(1 + \mu)}{(1 + 2\mu)\,\eta} - \lambda

    ``stability_limit`` solved for the curvature; 2/η for plain gradient descent. Weight decay adds
    λ to every eigenvalue of the loss's Hessian, which takes it from the limit for the loss alone;
    below 0 not even a flat loss is stable.

    Args:
        lr: η > 0.
        momentum: μ in [0, 1).
        nesterov: Nesterov's form; needs momentum and no dampening, as in PyTorch.
        dampening: τ below 1; plays no part without momentum.
        weight_decay: λ ≥ 0.

    Returns:
        The limit on the largest eigenvalue of the Hessian of the loss without its decay.

    Raises:
        ValueError: A setting out of its range.

    Example:
        >>> sharpness_limit(0.5), sharpness_limit(0.5, momentum=0.5)
        (4.0, 6.0)
        >>> sharpness_limit(0.5, momentum=0.5, nesterov=True, weight_decay=1.0)
        2.0
    """
    if not 0 < lr < inf:
        raise ValueError(f"lr is {lr}; it has to be above 0 and finite")
    return stability_limit(lr, momentum, nesterov, dampening) - weight_decay


def optimal_learning_rate(lambda_min: float, lambda_max: float) -> float:
    r"""The learning rate of plain gradient descent with the fastest worst direction.

    .. math:: \eta = \frac{2}{\lambda_{\min} + \lambda_{\max}}, \qquad
       \rho = \frac{\kappa - 1}{\kappa + 1}

    Args:
        lambda_min: Smallest eigenvalue of the Hessian, positive.
        lambda_max: Largest.

    Returns:
        The learning rate.

    Raises:
        ValueError: Eigenvalues that are not 0 < min ≤ max.

    Example:
        >>> optimal_learning_rate(1.0, 3.0)
        0.5
    """
    check_eigenvalues(lambda_min, lambda_max)
    return 2 / (lambda_min + lambda_max)


def optimal_momentum(lambda_min: float, lambda_max: float) -> tuple[float, float]:
    r"""Learning rate and momentum of the fastest heavy ball (Polyak 1964).

    .. math:: \eta = \frac{4}{(\sqrt{\lambda_{\max}} + \sqrt{\lambda_{\min}})^2}, \qquad
       \mu = \Bigl(\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}\Bigr)^2, \qquad \rho = \sqrt\mu

    Args:
        lambda_min: Smallest eigenvalue of the Hessian, positive.
        lambda_max: Largest.

    Returns:
        Learning rate and momentum (no dampening, not Nesterov).

    Raises:
        ValueError: Eigenvalues that are not 0 < min ≤ max.

    Example:
        >>> lr, momentum = optimal_momentum(1.0, 9.0)
        >>> lr, momentum
        (0.25, 0.25)
    """
    check_eigenvalues(lambda_min, lambda_max)
    low, high = sqrt(lambda_min), sqrt(lambda_max)
    return 4 / (high + low) ** 2, ((high - low) / (high + low)) ** 2


def companion_matrix(
    hessian: Tensor,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> Tensor:
    r"""One SGD step as a matrix on (error, velocity), for every step but the first.

    With :math:`A = H + \lambda I`, e the distance from the fixed point, and v before the step:

    .. math:: \begin{pmatrix} I - \eta(1 - \tau)A & -\eta\mu I \\ (1 - \tau)A & \mu I \end{pmatrix}
       \quad\text{Nesterov:}\quad
       \begin{pmatrix} I - \eta(1 + \mu)A & -\eta\mu^2 I \\ A & \mu I \end{pmatrix}

    Args:
        hessian: H [p, p], symmetric.
        lr: η ≥ 0.
        momentum: μ in [0, 1).
        dampening: τ below 1.
        weight_decay: λ ≥ 0.
        nesterov: Nesterov's form.

    Returns:
        [2p, 2p], float64.

    Raises:
        ValueError: A setting out of its range, or a matrix that is not symmetric.
    """
    check_settings(lr, momentum, dampening, weight_decay, nesterov)
    eye = torch.eye(len(hessian), dtype=torch.float64, device=hessian.device)
    A = symmetric(hessian) + weight_decay * eye
    taken = (1 - effective(momentum, dampening)) * A
    velocity = torch.cat([taken, momentum * eye], dim=1)
    moved = momentum * velocity if nesterov else velocity
    direct = A if nesterov else 0 * A
    error = torch.cat([eye - lr * (direct + moved[:, : len(A)]), -lr * moved[:, len(A) :]], dim=1)
    return torch.cat([error, velocity])


def spectral_radius(
    hessian: Tensor,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> float:
    r"""The factor by which SGD's distance from its fixed point shrinks a step, in the long run.

    The largest modulus among the roots of one quadratic per eigenvalue ℓ of :math:`H + \lambda I`:
    :math:`z^2 - (1 + \mu - \eta(1 - \tau)\ell) z + \mu`, with Nesterov
    :math:`z^2 - (1 + \mu)(1 - \eta\ell) z + \mu(1 - \eta\ell)`. The roots are exact where the
    eigenvalues of the companion matrix, defective at the best momentum, lose half the digits.

    Args:
        hessian: H [p, p], symmetric.
        lr: η ≥ 0.
        momentum: μ in [0, 1).
        dampening: τ below 1.
        weight_decay: λ ≥ 0.
        nesterov: Nesterov's form.

    Returns:
        The radius; below 1 the path converges.

    Raises:
        ValueError: A setting out of its range, or a matrix that is not symmetric.

    Example:
        >>> spectral_radius(torch.diag(torch.tensor([1.0, 3.0])), lr=0.5)
        0.5
    """
    check_settings(lr, momentum, dampening, weight_decay, nesterov)
    eigenvalues = torch.linalg.eigvalsh(symmetric(hessian)) + weight_decay
    if nesterov:
        half = (1 + momentum) * (1 - lr * eigenvalues) / 2
        product = momentum * (1 - lr * eigenvalues)
    else:
        taken = 1 - effective(momentum, dampening)
        half = (1 + momentum - lr * taken * eigenvalues) / 2
        product = torch.full_like(eigenvalues, momentum)
    inner = half.square() - product
    real = half.abs() + inner.clamp(min=0).sqrt()
    return float(torch.where(inner < 0, product.clamp(min=0).sqrt(), real).max())


def path(
    hessian: Tensor,
    minimum: Tensor,
    start: Tensor,
    steps: int,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> Tensor:
    r"""The parameters at every step of SGD on a quadratic, by powers of the companion matrix.

    The fixed point is :math:`(H + \lambda I)^{-1} H \theta^*`. The first step, undampened, gives
    (error, velocity); from there step k is the (k - 1)-th power. Known states are doubled by one
    product at a time, so a path of t steps costs log2 t products.

    Args:
        hessian: H [p, p], symmetric.
        minimum: θ* [p].
        start: [p].
        steps: At least 0.
        lr: η ≥ 0.
        momentum: μ in [0, 1).
        dampening: τ below 1.
        weight_decay: λ ≥ 0.
        nesterov: Nesterov's form.

    Returns:
        [steps + 1, p], float64; equal to ``torch.optim.SGD``'s path up to rounding.

    Raises:
        ValueError: A setting out of its range, or shapes that do not fit together.

    Example:
        >>> path(torch.eye(1), torch.zeros(1), torch.ones(1), steps=3, lr=0.5)[:, 0]
        tensor([1.0000, 0.5000, 0.2500, 0.1250], dtype=torch.float64)
    """
    check_settings(lr, momentum, dampening, weight_decay, nesterov)
    H = symmetric(hessian)
    p = len(H)
    if steps < 0 or tuple(minimum.shape) != (p,) or tuple(start.shape) != (p,):
        raise ValueError(
            f"steps is {steps}, minimum {list(minimum.shape)}, start {list(start.shape)}; "
            f"give at least 0 steps and two vectors of the Hessian's {p} parameters"
        )
    A = H + weight_decay * torch.eye(p).to(H)
    fixed = minimum.to(H)
    if weight_decay:
        fixed = torch.linalg.solve(A, H @ fixed)
    error = start.to(H) - fixed
    if steps == 0:
        return (fixed + error)[None]
    velocity = A @ error
    first = error - lr * (1 + momentum if nesterov else 1) * velocity
    matrix = companion_matrix(H, lr, momentum, dampening, weight_decay, nesterov).T
    states = torch.cat([first, velocity])[None]
    while len(states) < steps:
        states = torch.cat([states, states[: steps - len(states)] @ matrix])
        matrix = matrix @ matrix
    return torch.cat([start.to(H)[None], fixed + states[:, :p]])


def effective(momentum: float, dampening: float) -> float:
    """Dampening as it acts: PyTorch keeps no velocity without momentum."""
    return dampening if momentum else 0.0


def symmetric(hessian: Tensor) -> Tensor:
    """The Hessian in float64.

    Raises:
        ValueError: A matrix that is not square and symmetric.
    """
    H = hessian.detach().to(torch.float64)
    if H.ndim != 2 or H.shape[0] != H.shape[1] or not torch.allclose(H, H.T, rtol=1e-6):
        raise ValueError(f"hessian has shape {list(H.shape)}; give a symmetric matrix [p, p]")
    return H


def check_eigenvalues(lambda_min: float, lambda_max: float) -> None:
    """Refuse eigenvalues without a best setting."""
    if not 0 < lambda_min <= lambda_max < inf:
        raise ValueError(
            f"eigenvalues are {lambda_min} and {lambda_max}; they have to be 0 < min <= max"
        )


def check_settings(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool
) -> None:
    """Refuse what PyTorch's SGD refuses, and momentum without a limit."""
    if not 0 <= lr < inf:
        raise ValueError(f"lr is {lr}; it has to be at least 0 and finite")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}; it has to be in [0, 1)")
    if not -inf < dampening < 1:
        raise ValueError(f"dampening is {dampening}; it has to be below 1")
    if not 0 <= weight_decay < inf:
        raise ValueError(f"weight_decay is {weight_decay}; it has to be at least 0 and finite")
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            f"nesterov with momentum {momentum} and dampening {dampening}; "
            "it needs momentum above 0 and dampening 0"
        )
