from __future__ import annotations

from typing import Any

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
    return torch.from_numpy(x), torch.from_numpy(y)


def objective(theta: Tensor, x: Tensor, y: Tensor, decay: float, decay_bias: bool) -> Tensor:
    decayed = theta if decay_bias else theta[:-1]
    return (x @ theta[:-1] + theta[-1] - y).square().mean() + decay / 2 * decayed.square().sum()


def test_parabola_has_the_known_line_loss_and_curvature() -> None:
    x, y = parabola()
    w, b = theory.least_squares(x, y)
    assert [float(w), float(b)] == pytest.approx([0.92582732, 2.48438425], abs=5e-9)
    loss = (w * x + b - y).square().mean()
    assert float(loss) == pytest.approx(0.4994412813498641, abs=1e-15)
    eigenvalues = torch.linalg.eigvalsh(theory.mse_hessian(x))
    assert eigenvalues.tolist() == pytest.approx([1.29135027, 2.04990801], abs=5e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.one_of(st.just(0.0), st.floats(1e-6, 1e3)),
    st.booleans(),
)
def test_gradient_is_zero_and_the_hessian_is_autograds(
    seed: int, d: int, decay: float, decay_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, d, generator=generator, dtype=torch.float64)
    y = torch.randn(20, generator=generator, dtype=torch.float64)
    w, b = theory.ridge(x, y[:, None], decay, decay_bias)
    theta = torch.cat([w, b[None]])

    def at(theta: Tensor) -> Tensor:
        return objective(theta, x, y, decay, decay_bias)

    (gradient,) = torch.autograd.grad(at(leaf := theta.requires_grad_()), leaf)
    assert float(gradient.norm()) < 1e-12 * (1 + decay)
    torch.testing.assert_close(
        theory.mse_hessian(x, decay, decay_bias),
        torch.func.jacrev(torch.func.jacrev(at))(theta.detach()),
    )


@pytest.mark.parametrize("decay_bias", [True, False])
def test_ridge_is_where_sgd_with_weight_decay_ends(decay_bias: bool) -> None:
    x, y = (each.double() for each in parabola())
    w, b = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    groups: list[dict[str, Any]] = [
        {"params": [w]},
        {"params": [b], "weight_decay": 2.0 if decay_bias else 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.3, weight_decay=2.0)
    for _ in range(200):
        optimizer.zero_grad()
        w.grad, b.grad = torch.autograd.grad((w * x + b - y).square().mean(), (w, b))
        optimizer.step()
    expected = theory.ridge(x, y, 2.0, decay_bias)
    assert w.item() == pytest.approx(expected[0].item(), abs=1e-14)
    assert b.item() == pytest.approx(expected[1].item(), abs=1e-14)


def test_large_offsets_cost_no_digits() -> None:
    x, y = (each.double() for each in parabola())
    w, _ = theory.least_squares(x, y)
    moved, _ = theory.least_squares(x + 2.0**20, y)
    torch.testing.assert_close(moved, w, rtol=1e-9, atol=0)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="1 rows of 1 inputs leave the minimiser undetermined"):
        theory.least_squares(torch.ones(1), torch.ones(1))
    with pytest.raises(ValueError, match=r"weight_decay is -1\.0"):
        theory.ridge(torch.ones(2), torch.ones(2), -1.0)
    with pytest.raises(ValueError, match="weight_decay is inf"):
        theory.mse_hessian(torch.ones(2), float("inf"))
    with pytest.raises(ValueError, match=r"y has shape \[1, 2\]; 2 rows need"):
        theory.least_squares(torch.ones(2), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"x has shape \[2, 1, 1\]"):
        theory.least_squares(torch.ones(2, 1, 1), torch.ones(2))
