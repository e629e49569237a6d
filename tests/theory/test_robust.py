from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toyml import theory


def parabola() -> tuple[Tensor, Tensor]:
    generator = np.random.RandomState(20240215)
    x = generator.randn(50).astype(np.float32)
    y = (0.75 * x**2 + x + 2 + 0.3 * generator.randn(50)).astype(np.float32)
    return torch.from_numpy(x).double(), torch.from_numpy(y).double()


def descend(x: Tensor, y: Tensor, loss: torch.nn.Module, lr: float, steps: int) -> Tensor:
    theta = torch.tensor([6.0, -3.0], dtype=torch.float64, requires_grad=True)
    for k in range(steps):
        value = loss(theta[0] * x + theta[1], y)
        (gradient,) = torch.autograd.grad(value, theta)
        theta = (theta - lr / (1 + k / 100) * gradient).detach().requires_grad_()
    return theta.detach()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40), st.booleans())
def test_no_subgradient_step_leaves_the_l1_minimum(seed: int, n: int, rounded: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    y = torch.randn(n, generator=generator, dtype=torch.float64)
    if rounded:  # many equal inputs and ties
        x, y = x.round(), y.round()
        x[0], x[1] = -1.0, 1.0
    w, b = theory.l1_minimizer(x, y[:, None])
    r = w * x + b - y
    on = r.abs() < 1e-12
    # The loss is convex: no direction of descent at the point, so no better point anywhere.
    angles = torch.linspace(0, 2 * torch.pi, 721, dtype=torch.float64)
    moves = angles.cos()[:, None] * x + angles.sin()[:, None]
    slopes = (moves[:, on].abs().sum(1) + moves[:, ~on] @ r[~on].sign()) / n
    assert float(slopes.min()) >= -1e-12


def test_parabola_minimum_is_what_descent_approaches() -> None:
    x, y = parabola()
    for exact, loss in (
        (theory.l1_minimizer(x, y), torch.nn.L1Loss()),
        (theory.huber_minimizer(x, y), torch.nn.HuberLoss()),
    ):
        theta = torch.cat([exact[0], exact[1][None]])
        ended = descend(x, y, loss, 0.3, 1500)
        assert float((ended - theta).norm()) < 0.02
        best = loss(theta[0] * x + theta[1], y)
        assert float(best) <= float(loss(ended[0] * x + ended[1], y)) + 1e-15


def test_enumeration_in_chunks_finds_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = parabola()
    whole = theory.l1_minimizer(x, y)
    monkeypatch.setattr("toyml.theory.robust.PAIRS_AT_ONCE", 1000)
    assert torch.equal(
        torch.cat([whole[0], whole[1][None]]),
        torch.cat([each.reshape(1) for each in theory.l1_minimizer(x, y)]),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(4, 60),
    st.integers(1, 3),
    st.floats(-3, 2),
    st.booleans(),
)
def test_huber_gradient_by_autograd_is_zero(
    seed: int, n: int, d: int, exponent: float, outliers: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(n, generator=generator, dtype=torch.float64)
    if outliers:
        y[::4] += 50
    delta = 10.0**exponent
    w, b = theory.huber_minimizer(x, y, delta)
    theta = torch.cat([w, b[None]]).requires_grad_()
    loss = torch.nn.HuberLoss(delta=delta)(x @ theta[:-1] + theta[-1], y)
    (gradient,) = torch.autograd.grad(loss, theta)
    assert float(gradient.norm()) < 1e-12


def test_huber_tends_to_least_squares_and_to_least_absolute_deviations() -> None:
    x, y = parabola()
    wide, squares = theory.huber_minimizer(x, y, 1e3), theory.least_squares(x, y)
    assert float(wide[0]) == pytest.approx(float(squares[0]), abs=1e-12)
    narrow, absolute = theory.huber_minimizer(x, y, 1e-6), theory.l1_minimizer(x, y)
    assert float(narrow[0]) == pytest.approx(float(absolute[0]), abs=1e-5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"delta is 0\.0"):
        theory.huber_minimizer(torch.ones(3), torch.ones(3), 0.0)
    with pytest.raises(ValueError, match="x has 2 inputs"):
        theory.l1_minimizer(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(ValueError, match=r"all 3 inputs are 1\.0"):
        theory.l1_minimizer(torch.ones(3), torch.ones(3))
