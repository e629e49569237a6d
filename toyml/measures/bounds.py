"""Two losses between which a training can be placed: the best constant's, and the least one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from toyml.measures.forward import evaluating
from toyml.measures.meaning import BY_CLASS, of_kind

REFUSALS = (RuntimeError, ValueError, TypeError, IndexError)
"""What a loss may say of outputs or targets that it does not take."""

MOST_NUMBERS = 2**24
"""Entries of the matrix for which the exact least squares are solved."""

REACH = 12.0
"""Constants are looked for up to sinh(12), about 80,000 times the spread of the targets."""

GRID = 241
UNBOUNDED = 1e15
"""A least loss beyond it is that of a loss without a least one."""

GOLDEN = (math.sqrt(5) - 1) / 2

CONVEX = (
    nn.MSELoss,
    nn.HuberLoss,
    nn.SmoothL1Loss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.MultiLabelSoftMarginLoss,
    nn.SoftMarginLoss,
)
"""Smooth losses whose only flat place is the least one, so that no other has to be looked for."""


def best_constant(loss: nn.Module, y: Tensor, outputs: int = 1) -> float:
    r"""The least loss of one output c [k] for all rows, :math:`\min_c L(c, y)`.

    For the mean squared error that is the variance of the targets, for two balanced classes under
    cross-entropy :math:`\ln 2`. It is searched for in float64: each entry of c in turn on a grid
    and by golden section, all together by L-BFGS where there are several.

    Args:
        loss: The loss module.
        y: Targets in the form that the loss takes.
        outputs: k.

    Returns:
        The loss; NaN where no constant that was tried has one.

    Example:
        >>> y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
        >>> round(best_constant(nn.MSELoss(), y), 12), round(best_constant(nn.BCELoss(), y), 12)
        (0.25, 0.69314718056)
    """
    loss = copy.deepcopy(loss).double()
    y = y.double() if y.is_floating_point() else y
    n = len(y)

    def value(c: Tensor) -> Tensor:
        c = torch.log_softmax(c, 0) if isinstance(loss, nn.NLLLoss) else c
        result: Tensor = loss(c.expand(n, outputs), y)
        return result

    def number(c: Tensor) -> float:
        with suppress(*REFUSALS), torch.no_grad():
            found = float(value(c))
            return found if math.isfinite(found) else math.inf
        return math.inf

    c = torch.zeros(outputs, dtype=torch.float64)
    middle, spread = torch.zeros_like(c), torch.ones_like(c)
    if of_kind(loss, BY_CLASS) is None and y.is_floating_point() and y.ndim == 2:
        middle = y.mean(0).expand(outputs).clone()
        spread = (y.amax(0) - y.amin(0)).expand(outputs).clone()
        spread[spread == 0] = 1.0
    c = min((c, middle, middle.clamp(0.0, 1.0)), key=number).clone()
    settled = False
    if outputs > 1 or isinstance(loss, CONVEX):
        end, settled = together(value, c)
        c = min((c, end), key=number)
    for _ in range(0 if settled else 1 if outputs == 1 else 3):
        for i in range(outputs):
            c[i] = along(number, c, i, float(middle[i]), float(spread[i]))
    least = number(c)
    return least if abs(least) < UNBOUNDED else math.nan


def together(value: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, bool]:
    """The end of L-BFGS over all entries, and whether the gradient has vanished there."""
    c = start.clone().requires_grad_()
    solver = torch.optim.LBFGS([c], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)
    solver.param_groups[0]["line_search_fn"] = "strong_wolfe"

    def closure() -> Tensor:
        solver.zero_grad()
        found = value(c)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    with suppress(*REFUSALS), torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
        closure()
    if c.grad is None or not bool(c.isfinite().all()):
        return start, False
    return c.detach(), bool(c.grad.abs().max() < 1e-7)


def along(
    number: Callable[[Tensor], float], c: Tensor, i: int, middle: float, spread: float
) -> float:
    """The value of one entry with the least loss, the others as they are."""

    def at(x: float) -> float:
        moved = c.clone()
        moved[i] = x
        return number(moved)

    grid = middle + spread * torch.sinh(torch.linspace(-REACH, REACH, GRID, dtype=torch.float64))
    places = sorted({*grid.tolist(), float(c[i]), 0.0})
    found = [at(x) for x in places]
    best = min(range(len(places)), key=lambda k: found[k])
    low, high = places[max(best - 1, 0)], places[min(best + 1, len(places) - 1)]
    for _ in range(100):
        a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if at(a) <= at(b):
            high = b
        else:
            low = a
    ends: tuple[float, float] = (places[best], (low + high) / 2)
    return min(ends, key=at)


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
