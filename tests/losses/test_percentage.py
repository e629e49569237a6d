from __future__ import annotations

import pytest
import torch

from toyml.losses import PercentageError


def test_scaling_outputs_and_targets_changes_nothing() -> None:
    torch.manual_seed(0)
    output, y = torch.randn(2, 9, 1, dtype=torch.float64)
    loss = PercentageError()
    assert float(loss(7 * output, 7 * y)) == pytest.approx(float(loss(output, y)))
    by_hand = sum((float(o) / float(t) - 1) ** 2 for o, t in zip(output, y, strict=True)) / 18
    assert float(loss(output, y)) == pytest.approx(by_hand)


def test_a_target_near_zero_is_the_whole_gradient() -> None:
    y = torch.tensor([[1.0], [1e-13]], dtype=torch.float64)
    output = torch.full_like(y, 0.5, requires_grad=True)
    PercentageError()(output, y).backward()
    assert output.grad is not None
    share = output.grad.abs() / output.grad.abs().sum()
    assert float(share[1]) == pytest.approx(1.0, abs=1e-12)
