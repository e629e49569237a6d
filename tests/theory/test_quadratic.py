from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toyml import theory

SETTINGS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "dampening": 0.5},
    {"dampening": 0.5},
    {"weight_decay": 2.0},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 2.0},
    {"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.1},
]


def parabola() -> tuple[Tensor, Tensor]:
    generator = np.random.RandomState(20240215)
    x = generator.randn(50).astype(np.float32)
    y = (0.75 * x**2 + x + 2 + 0.3 * generator.randn(50)).astype(np.float32)
    return torch.from_numpy(x).double(), torch.from_numpy(y).double()


def sgd(steps: int, lr: float, **options: Any) -> Tensor:
    """torch.optim.SGD on the mean squared error itself."""
    x, y = parabola()
    theta = torch.tensor([6.0, -3.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=lr, **options)
    states = [theta.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (theta[0] * x + theta[1] - y).square().mean()
        (theta.grad,) = torch.autograd.grad(loss, theta)
        optimizer.step()
        states.append(theta.detach().clone())
    return torch.stack(states)


def exact(steps: int, lr: float, **options: Any) -> Tensor:
    x, y = parabola()
    w, b = theory.least_squares(x, y)
    start = torch.tensor([6.0, -3.0])
    return theory.path(theory.mse_hessian(x), torch.cat([w, b[None]]), start, steps, lr, **options)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_path_is_that_of_pytorch(options: dict[str, Any]) -> None:
    difference = (exact(100, 0.1, **options) - sgd(100, 0.1, **options)).abs().max()
    assert float(difference) < 1e-14


def test_path_has_the_known_ends_and_overshoots() -> None:
    assert exact(100, 0.1)[-1].tolist() == pytest.approx([0.92583066, 2.48438513], abs=1e-7)
    momentum = exact(100, 0.1, momentum=0.9)
    assert momentum[-1].tolist() == pytest.approx([0.92808291, 2.51770988], abs=1e-7)
    assert float(momentum[:, 0].min()) == pytest.approx(-2.24, abs=5e-3)
    assert float(momentum[:, 1].max()) == pytest.approx(6.65, abs=5e-3)
    nesterov = exact(100, 0.1, momentum=0.9, nesterov=True)
    assert float(nesterov[:, 0].min()) == pytest.approx(-0.98, abs=5e-3)
    assert float(nesterov[:, 1].max()) == pytest.approx(4.93, abs=5e-3)
    decayed = exact(100, 0.1, momentum=0.9, nesterov=True, weight_decay=2.0)
    assert decayed[-1].tolist() == pytest.approx([0.30007609, 1.21277212], abs=1e-7)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 8, 9])
def test_shorter_paths_are_beginnings_of_longer_ones(steps: int) -> None:
    short, long = exact(steps, 0.1, momentum=0.9), exact(50, 0.1, momentum=0.9)
    assert short.shape == (steps + 1, 2)
    torch.testing.assert_close(short, long[: steps + 1], rtol=1e-14, atol=1e-14)


def test_limits_of_the_parabola() -> None:
    largest = 2.04990801
    assert theory.stability_limit(largest) == pytest.approx(0.97565354, abs=1e-8)
    assert theory.stability_limit(largest, 0.9) == pytest.approx(1.85374172, abs=1e-8)
    assert theory.stability_limit(largest, 0.9, True) == pytest.approx(0.66205061, abs=1e-8)
    assert theory.optimal_learning_rate(1.29135027, largest) == pytest.approx(0.59857689, abs=1e-8)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_radius_crosses_one_at_the_limit(options: dict[str, Any]) -> None:
    H = torch.diag(torch.tensor([0.3, 2.0]))
    limit = theory.stability_limit(2.0, **options)
    assert theory.spectral_radius(H, 0.999 * limit, **options) < 1
    assert theory.spectral_radius(H, limit, **options) == pytest.approx(1, abs=1e-12)
    assert theory.spectral_radius(H, 1.001 * limit, **options) > 1


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(st.just(0.0), st.floats(1e-3, 0.95)),
    st.floats(-1, 0.95),
    st.floats(0, 2),
    st.booleans(),
    st.floats(1e-3, 0.9),
)
def test_radius_is_the_companion_matrix_largest_eigenvalue(
    momentum: float, dampening: float, decay: float, nesterov: bool, share: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    H = root @ root.T
    nesterov = nesterov and momentum > 0
    options: dict[str, Any] = {
        "momentum": momentum,
        "dampening": 0.0 if nesterov else dampening,
        "weight_decay": decay,
        "nesterov": nesterov,
    }
    largest = float(torch.linalg.eigvalsh(H)[-1])
    lr = share * theory.stability_limit(largest, **options)
    matrix = theory.companion_matrix(H, lr, **options)
    by_matrix = float(torch.linalg.eigvals(matrix).abs().max())
    # A defective pair costs the general solver half its digits.
    assert theory.spectral_radius(H, lr, **options) == pytest.approx(by_matrix, abs=1e-6)


def test_momentum_nine_tenths_is_slower_here_and_far_from_its_limit() -> None:
    H = theory.mse_hessian(parabola()[0])
    assert theory.spectral_radius(H, 0.1, 0.9) == pytest.approx(sqrt(0.9), abs=1e-14)
    assert theory.spectral_radius(H, 0.1) == pytest.approx(0.871, abs=5e-4)
    largest = float(torch.linalg.eigvalsh(H)[-1])
    assert theory.stability_limit(largest, 0.9) / 0.1 == pytest.approx(18.5, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 10), st.floats(1, 100), st.floats(-0.2, 0.2), st.floats(-0.04, 0.04))
def test_no_neighbour_beats_the_optimal_settings(
    smallest: float, condition: float, lr_change: float, momentum_change: float
) -> None:
    largest = smallest * condition
    H = torch.diag(torch.tensor([smallest, largest], dtype=torch.float64))
    lr = theory.optimal_learning_rate(smallest, largest)
    best = theory.spectral_radius(H, lr)
    assert best == pytest.approx((condition - 1) / (condition + 1), abs=1e-12)
    assert theory.spectral_radius(H, lr * (1 + lr_change)) >= best - 1e-12
    lr, momentum = theory.optimal_momentum(smallest, largest)
    best = theory.spectral_radius(H, lr, momentum)
    assert best == pytest.approx(sqrt(momentum), abs=1e-7)
    other = min(max(momentum + momentum_change, 0.0), 0.99)
    assert theory.spectral_radius(H, lr * (1 + lr_change), other) >= best - 1e-7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"momentum is 1\.0"),
        ({"dampening": 1.0}, r"dampening is 1\.0"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0"),
        ({"nesterov": True}, r"nesterov with momentum 0\.0"),
        ({"momentum": 0.5, "dampening": 0.1, "nesterov": True}, r"dampening 0\.1"),
    ],
)
def test_settings_are_checked_everywhere(options: dict[str, Any], message: str) -> None:
    H = torch.eye(2)
    calls: list[Callable[[], object]] = [
        lambda: theory.stability_limit(1.0, **options),
        lambda: theory.companion_matrix(H, 0.1, **options),
        lambda: theory.spectral_radius(H, 0.1, **options),
        lambda: theory.path(H, H[0], H[0], 1, 0.1, **options),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_shapes_are_checked() -> None:
    H = torch.eye(2)
    with pytest.raises(ValueError, match="symmetric"):
        theory.spectral_radius(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), 0.1)
    with pytest.raises(ValueError, match="two vectors of the Hessian's 2 parameters"):
        theory.path(H, torch.zeros(3), torch.zeros(2), 1, 0.1)
    with pytest.raises(ValueError, match="steps is -1"):
        theory.path(H, H[0], H[0], -1, 0.1)
    with pytest.raises(ValueError, match="lr is -1"):
        theory.path(H, H[0], H[0], 1, -1.0)
    with pytest.raises(ValueError, match="0 < min <= max"):
        theory.optimal_momentum(2.0, 1.0)
    with pytest.raises(ValueError, match="has to be positive"):
        theory.stability_limit(0.0)


@given(
    lr=st.floats(1e-6, 1e3),
    momentum=st.floats(0.0, 0.999),
    dampening=st.floats(-1.0, 0.99),
    weight_decay=st.floats(0.0, 1.0),
    nesterov=st.booleans(),
)
def test_the_sharpness_limit_is_where_the_learning_rate_is_at_its_limit(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool
) -> None:
    nesterov = nesterov and momentum > 0
    options: dict[str, Any] = {
        "momentum": momentum,
        "nesterov": nesterov,
        "dampening": 0.0 if nesterov else dampening,
        "weight_decay": weight_decay,
    }
    sharpest = theory.sharpness_limit(lr, **options)
    assert theory.stability_limit(sharpest, **options) == pytest.approx(lr, rel=1e-9)
    factor = 2 * (1 + momentum)
    factor /= 1 + 2 * momentum if nesterov else 1 - (options["dampening"] if momentum else 0)
    assert sharpest == pytest.approx(factor / lr - weight_decay, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_sgd_passes_from_stable_to_unstable_at_the_sharpness_limit(
    options: dict[str, Any],
) -> None:
    sharpest = theory.sharpness_limit(0.3, **options)
    for factor, stable in ((0.999, True), (1.001, False)):
        curvature = torch.tensor([[factor * sharpest]], dtype=torch.float64)
        assert (theory.spectral_radius(curvature, 0.3, **options) < 1) == stable


@pytest.mark.parametrize("lr", [0.0, -1.0, inf, nan])
def test_a_sharpness_limit_needs_a_learning_rate(lr: float) -> None:
    with pytest.raises(ValueError, match="above 0 and finite"):
        theory.sharpness_limit(lr)
