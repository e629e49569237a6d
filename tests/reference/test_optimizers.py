from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from toyml import reference

GENERATOR = np.random.default_rng(0)
TARGET = [GENERATOR.standard_normal(shape) for shape in ((3, 2), (3,), ())]
START = [GENERATOR.standard_normal(shape) for shape in ((3, 2), (3,), ())]


def gradients(parameters: Sequence[reference.Array]) -> list[reference.Array]:
    """Of a function with curvature that changes: sum (p - t)^4 + (p - t)^2."""
    pairs = zip(parameters, TARGET, strict=True)
    return [np.asarray(4 * (p - t) ** 3 + 2 * (p - t)) for p, t in pairs]


def ours(optimizer: reference.Optimizer, steps: int) -> list[list[reference.Array]]:
    parameters: list[reference.Array] = [np.array(p) for p in START]
    states: list[list[reference.Array]] = []
    for _ in range(steps):
        optimizer.step(parameters, gradients(parameters))
        states.append([p.copy() for p in parameters])
    return states


def theirs(make: Callable[..., torch.optim.Optimizer], steps: int) -> list[list[reference.Array]]:
    parameters = [torch.from_numpy(np.array(p)).requires_grad_() for p in START]
    optimizer = make(parameters)
    states: list[list[reference.Array]] = []
    for _ in range(steps):
        for p, g in zip(
            parameters, gradients([p.detach().numpy() for p in parameters]), strict=True
        ):
            p.grad = torch.from_numpy(g)
        optimizer.step()
        states.append([*(p.detach().numpy().copy() for p in parameters)])
    return states


def largest_gap(a: list[list[reference.Array]], b: list[list[reference.Array]]) -> float:
    return max(
        float(np.abs(p - q).max())
        for ps, qs in zip(a, b, strict=True)
        for p, q in zip(ps, qs, strict=True)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.5},
        {"dampening": 0.5},
        {"weight_decay": 0.3},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
        {"momentum": 0.8, "dampening": 0.9, "weight_decay": 0.3},
    ],
    ids=str,
)
def test_sgd_is_pytorchs(options: dict[str, Any]) -> None:
    mine = ours(reference.SGD(0.01, **options), 200)
    other = theirs(lambda p: torch.optim.SGD(p, lr=0.01, **options), 200)
    assert largest_gap(mine, other) < 5e-15


def test_first_step_is_undampened() -> None:
    plain, dampened = reference.SGD(0.1, 0.9), reference.SGD(0.1, 0.9, dampening=0.7)
    a, b = ours(plain, 2), ours(dampened, 2)
    assert all(np.array_equal(p, q) for p, q in zip(a[0], b[0], strict=True))
    assert largest_gap(a[1:], b[1:]) > 1e-2


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    ("mine", "other"),
    [(reference.Adam, torch.optim.Adam), (reference.AdamW, torch.optim.AdamW)],
)
def test_adam_is_pytorchs(mine: Any, other: Any, decay: float) -> None:
    options = {"lr": 0.02, "betas": (0.8, 0.99), "weight_decay": decay}
    gap = largest_gap(ours(mine(**options), 300), theirs(lambda p: other(p, **options), 300))
    assert gap < 1e-14


def test_float32_parameters_stay_float32() -> None:
    for optimizer in (reference.SGD(0.1, 0.9, weight_decay=0.1), reference.Adam()):
        p = np.ones(2, dtype=np.float32)
        before = p
        optimizer.step([p], [np.ones(2, dtype=np.float32)])
        assert before is p
        assert p.dtype == np.float32
        assert p[0] < 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: reference.SGD(-1.0), r"lr is -1\.0"),
        (lambda: reference.SGD(0.1, -0.5), r"momentum is -0\.5"),
        (lambda: reference.SGD(0.1, nesterov=True), r"nesterov with momentum 0\.0"),
        (lambda: reference.Adam(weight_decay=float("nan")), "weight_decay is nan"),
        (lambda: reference.Adam(betas=(1.0, 0.9)), r"betas are \(1\.0, 0\.9\)"),
    ],
)
def test_settings_are_checked(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
