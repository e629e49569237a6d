from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toyml import reference

PAIRS = [
    (reference.MSE(), nn.MSELoss(), False),
    (reference.L1(), nn.L1Loss(), False),
    (reference.Huber(), nn.HuberLoss(), False),
    (reference.Huber(), nn.SmoothL1Loss(), False),
    (reference.Huber(0.3), nn.HuberLoss(delta=0.3), False),
    (reference.BCEWithLogits(), nn.BCEWithLogitsLoss(), False),
    (reference.BCE(), nn.BCELoss(), True),
]


@pytest.mark.parametrize(("mine", "other", "probability"), PAIRS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 3))
def test_values_and_gradients_are_pytorchs(
    mine: reference.Loss, other: nn.Module, probability: bool, seed: int, n: int, k: int
) -> None:
    generator = np.random.default_rng(seed)
    output: reference.Array = 3 * generator.standard_normal((n, k))
    output = reference.sigmoid(output) if probability else output
    target = (generator.random((n, k)) > 0.5).astype(float)
    leaf = torch.from_numpy(output).requires_grad_()
    value = other(leaf, torch.from_numpy(target))
    (gradient,) = torch.autograd.grad(value, leaf)
    assert mine.value(output, target) == pytest.approx(value.item(), rel=1e-13, abs=1e-15)
    np.testing.assert_allclose(
        mine.gradient(output, target), gradient.numpy(), rtol=1e-13, atol=1e-15
    )


def test_edges_are_pytorchs_too() -> None:
    output, target = np.array([[0.0], [1.0], [0.0]]), np.array([[0.0], [0.0], [1.0]])
    leaf = torch.from_numpy(output).requires_grad_()
    value = nn.BCELoss()(leaf, torch.from_numpy(target))
    (gradient,) = torch.autograd.grad(value, leaf)
    assert reference.BCE().value(output, target) == pytest.approx(value.item(), rel=1e-15)
    np.testing.assert_allclose(reference.BCE().gradient(output, target), gradient.numpy())
    zero = np.zeros((2, 1))
    assert not reference.L1().gradient(zero, zero).any()
    assert reference.BCEWithLogits().value(np.array([[800.0]]), np.array([[0.0]])) == 800


@pytest.mark.parametrize("loss", [reference.MSE(), reference.Huber(0.3), reference.HalfSum()])
def test_gradients_are_the_differences_of_values(loss: reference.Loss) -> None:
    generator = np.random.default_rng(3)
    output, target = generator.standard_normal((4, 2)), generator.standard_normal((4, 2))
    step = generator.standard_normal((4, 2))
    change = loss.value(output + 1e-6 * step, target) - loss.value(output - 1e-6 * step, target)
    slope = float(np.sum(loss.gradient(output, target) * step))
    assert change / 2e-6 == pytest.approx(slope, rel=1e-7)


def test_delta_is_checked() -> None:
    with pytest.raises(ValueError, match=r"delta is 0\.0"):
        reference.Huber(0.0)
