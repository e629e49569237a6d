"""Two losses between which a training can be placed: the best constant's, and the least one."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from toyml.measures.forward import evaluating

MOST_NUMBERS = 2**24
"""Entries of the matrix for which the exact least squares are solved."""


def constant_loss(loss: nn.Module, y: Tensor, width: int) -> float:
    r"""The least loss of a prediction that is the same for all rows, :math:`\min_c L(c, y)`.

    The mean of the targets for squares and probabilities; for other losses a descent from there
    (from 0 where targets are numbers of classes), which is exact where L is smooth and convex in c.

    Args:
        loss: The loss module.
        y: Targets in the form that it takes, [n, k] or numbers of classes [n].
        width: Number of outputs k.

    Returns:
        The loss; NaN where it cannot be evaluated there.

    Example:
        >>> constant_loss(nn.MSELoss(), torch.tensor([[0.0], [1.0], [1.0], [0.0]]), 1)
        0.25
        >>> round(constant_loss(nn.CrossEntropyLoss(), torch.tensor([0, 1, 2]), 3), 4)
        1.0986
    """
    measure, found = copy.deepcopy(loss).double(), [math.nan]
    y = y.double() if y.is_floating_point() else y
    beside = y.is_floating_point() and y.ndim == 2 and y.shape[1] == width
    starts = [y.mean(0), y.median(0).values] if beside else [y.new_zeros(width).double()]
    with torch.enable_grad():
        for start in starts:
            constant = start.clone().requires_grad_()
            descent = torch.optim.LBFGS([constant], max_iter=200, line_search_fn="strong_wolfe")

            def closure(at: Tensor = constant, descent: torch.optim.LBFGS = descent) -> Tensor:
                descent.zero_grad()
                value: Tensor = measure(at.expand(len(y), width), y)
                value.backward()  # type: ignore[no-untyped-call]
                found.append(value.item())
                return value

            try:
                descent.step(closure)  # type: ignore[no-untyped-call]
            except (RuntimeError, ValueError, TypeError, IndexError):
                continue  # a step out of what the loss takes (BCELoss: 0 to 1), or no loss of these
    return min((value for value in found if math.isfinite(value)), default=math.nan)


def least_squares_loss(net: nn.Module, loss: nn.Module, x: Tensor, y: Tensor) -> float | None:
    """The least mean squared error of a net that is affine in its parameters, on these rows.

    Args:
        net: The net; whether its output is affine in its parameters is found out by trying.
        loss: The loss.
        x: Inputs [n, d].
        y: Targets [n, k].

    Returns:
        The loss at the exact solution; ``None`` for any other net or loss.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [0.0], [3.0]])
        >>> round(least_squares_loss(nn.Linear(1, 1), nn.MSELoss(), x, y), 6)
        0.5
    """
    if not isinstance(loss, nn.MSELoss) or loss.reduction == "none":
        return None
    twin, x, y = copy.deepcopy(net).double(), x.double(), y.double()
    named = dict(twin.named_parameters())
    free = {name: p for name, p in named.items() if p.requires_grad}
    count = sum(p.numel() for p in free.values())
    if not count or count * y.numel() > MOST_NUMBERS:
        return None

    def output(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, [p.numel() for p in free.values()])
        given = {n: v.view_as(p) for (n, p), v in zip(free.items(), pieces, strict=True)}
        result: Tensor = functional_call(twin, given, (x,))
        return result

    with torch.no_grad(), evaluating(twin), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        zero, (a, b) = x.new_zeros(count), torch.randn(2, count).double()
        try:
            base, sums = output(zero), output(a) + output(b)
            if base.shape != y.shape or not torch.allclose(output(a + b) + base, sums, rtol=1e-9):
                return None
            columns = vmap(output)(torch.eye(count).double()) - base
        except (RuntimeError, ValueError):
            return None
        matrix = columns.flatten(1).T
        best = torch.linalg.lstsq(matrix, (y - base).reshape(-1, 1), driver="gelsd").solution
        return float(loss(base + (matrix @ best).view_as(y), y))
