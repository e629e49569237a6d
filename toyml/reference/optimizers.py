r"""Optimizers by hand, to the letter of ``torch.optim``: the same operations in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""Parameters, gradients and data; arithmetic is done in the dtype of the parameters."""


class Optimizer(Protocol):
    """What a training loop needs."""

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        """Update the parameters in place."""


class SGD:
    r"""Stochastic gradient descent as ``torch.optim.SGD`` does it.

    With the gradient :math:`g` of the loss,

    .. math:: g \leftarrow g + \lambda\theta, \qquad
       v \leftarrow \mu v + (1 - \tau) g, \qquad
       \theta \leftarrow \theta - \eta v
       \;\;(\text{Nesterov: } \theta - \eta(g + \mu v)).

    The first velocity is g itself, undampened. Without momentum there is no velocity and
    dampening plays no part.

    Args:
        lr: Learning rate η ≥ 0.
        momentum: μ ≥ 0.
        dampening: τ.
        weight_decay: λ ≥ 0; it is added to every gradient, a bias's too.
        nesterov: Nesterov's form; needs momentum and no dampening.

    Raises:
        ValueError: What PyTorch refuses too.

    Example:
        >>> theta = np.array([1.0])
        >>> SGD(lr=0.1, weight_decay=1.0).step([theta], [np.array([-32.0])])
        >>> theta  # 1 - 0.1 (-32 + 1)
        array([4.1])
    """

    def __init__(
        self,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        check_at_least_zero(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"nesterov with momentum {momentum} and dampening {dampening}; "
                "it needs momentum above 0 and dampening 0"
            )
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.velocities: list[Array] | None = None

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        """Update the parameters in place.

        Args:
            parameters: Arrays of any shapes, the same ones at every call.
            gradients: Gradient of the loss for each.
        """
        # Arithmetic on arrays without axes gives scalars, which no velocity can be kept in.
        decayed = [
            np.asarray(g + self.weight_decay * p) if self.weight_decay else g
            for p, g in zip(parameters, gradients, strict=True)
        ]
        for p, direction in zip(parameters, self.directions(decayed), strict=True):
            p -= self.lr * direction

    def directions(self, gradients: list[Array]) -> list[Array]:
        """What the learning rate multiplies."""
        if not self.momentum:
            return gradients
        if self.velocities is None:
            self.velocities = [g.copy() for g in gradients]
        else:
            for v, g in zip(self.velocities, gradients, strict=True):
                v *= self.momentum
                v += (1 - self.dampening) * g
        if self.nesterov:
            pairs = zip(gradients, self.velocities, strict=True)
            return [g + self.momentum * v for g, v in pairs]
        return self.velocities


class Adam:
    r"""Adam as ``torch.optim.Adam`` does it (Kingma and Ba 2015, algorithm 1).

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
       s \leftarrow \beta_2 s + (1 - \beta_2) g^2, \quad
       \theta \leftarrow \theta - \frac{\eta}{1 - \beta_1^k}
       \frac{m}{\sqrt{s} / \sqrt{1 - \beta_2^k} + \epsilon}

    Weight decay is added to the gradient, and so is scaled like it; :class:`AdamW` is the other
    convention.

    Args:
        lr: Learning rate η ≥ 0.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0.

    Raises:
        ValueError: A setting out of its range.

    Example:
        >>> theta = np.array([1.0])
        >>> Adam(lr=0.5, eps=0.0).step([theta], [np.array([1e-4])])
        >>> round(float(theta[0]), 12)  # the first step is lr, whatever the gradient's size
        0.5
    """

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        check_at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}; each has to be in [0, 1)")
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.steps = 0
        self.first: list[Array] = []
        self.second: list[Array] = []

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
        """Update the parameters in place.

        Args:
            parameters: Arrays of any shapes, the same ones at every call.
            gradients: Gradient of the loss for each.
        """
        if self.steps == 0:
            self.first = [np.zeros_like(p) for p in parameters]
            self.second = [np.zeros_like(p) for p in parameters]
        self.steps += 1
        first_beta, second_beta = self.betas
        size = self.lr / (1 - first_beta**self.steps)
        root = sqrt(1 - second_beta**self.steps)
        gradients = self.decay(parameters, gradients)
        for p, g, m, s in zip(parameters, gradients, self.first, self.second, strict=True):
            m += (1 - first_beta) * (g - m)
            s *= second_beta
            s += (1 - second_beta) * g * g
            p -= size * (m / (np.sqrt(s) / root + self.eps))

    def decay(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> Sequence[Array]:
        """Gradients with the weight decay added."""
        if not self.weight_decay:
            return gradients
        pairs = zip(parameters, gradients, strict=True)
        return [g + self.weight_decay * p for p, g in pairs]


class AdamW(Adam):
    r"""Adam with decoupled weight decay, as ``torch.optim.AdamW`` (Loshchilov and Hutter 2019).

    Before each step :math:`\theta \leftarrow (1 - \eta\lambda)\theta`; the gradient stays alone.

    Args:
        lr: Learning rate η ≥ 0.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)

    def decay(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> Sequence[Array]:
        """The gradients as they are; the parameters shrink at once."""
        for p in parameters:
            p *= 1 - self.lr * self.weight_decay
        return gradients


def check_at_least_zero(**settings: float) -> None:
    """Refuse a negative or infinite setting by its name."""
    for name, value in settings.items():
        if not 0 <= value < inf:
            raise ValueError(f"{name} is {value}; it has to be at least 0 and finite")
