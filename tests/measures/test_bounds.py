"""The loss of the best constant output and the least squares, beside closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from toyml.losses import PercentageError
from toyml.measures import best_constant, least_squares_loss
from toyml.models import MLP

LABELS = torch.tensor([[0.0]] * 9 + [[1.0]])
ENTROPY = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
VALUES = torch.tensor([[-3.0], [1.0], [2.0], [10.0]])


class Hinge(nn.Module):
    """max(0, 1 - y output), averaged; a loss of one's own."""

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        return (1 - y * output).clamp_min(0).mean()


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "least"),
    [
        (nn.MSELoss(), VALUES, 1, float(VALUES.var(unbiased=False))),
        (nn.MSELoss(reduction="sum"), VALUES, 1, 4 * float(VALUES.var(unbiased=False))),
        (nn.L1Loss(), VALUES, 1, (3 + 10 - 1 + 2) / 4),  # |y - 1| or any median
        (nn.BCELoss(), LABELS, 1, ENTROPY),
        (nn.BCEWithLogitsLoss(), LABELS, 1, ENTROPY),
        # Weight 9 on the one positive balances it: 9 ln 2 twice, over 10 rows.
        (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([9.0])), LABELS, 1, 1.8 * math.log(2)),
        (nn.SoftMarginLoss(), 2 * LABELS - 1, 1, ENTROPY),
        (Hinge(), 2 * LABELS - 1, 1, 0.2),  # at -1: the positive row alone costs 2
        (nn.CrossEntropyLoss(), torch.tensor([0, 1, 2] * 5), 3, math.log(3)),
        (nn.NLLLoss(), torch.tensor([0, 1, 2] * 5), 3, math.log(3)),
        (nn.MSELoss(), torch.eye(4), 4, 3 / 16),
        (nn.L1Loss(), torch.eye(4), 4, 1 / 4),
    ],
)
def test_the_least_loss_is_that_of_theory(
    loss: nn.Module, y: Tensor, outputs: int, least: float
) -> None:
    assert best_constant(loss, y, outputs) == pytest.approx(least, rel=1e-7)


def test_targets_of_any_scale_have_one() -> None:
    y = 1e6 + VALUES.double()
    least = float(VALUES.double().var(unbiased=False))
    assert best_constant(nn.MSELoss(), y) == pytest.approx(least, rel=1e-7)


def test_one_class_alone_costs_nothing() -> None:
    assert best_constant(nn.BCEWithLogitsLoss(), torch.zeros(5, 1)) == pytest.approx(0.0, abs=1e-12)


class Endless(nn.Module):
    """A loss without a least value."""

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        return (output * output * output * output * output).mean() + 0 * y.sum()


def test_a_loss_without_a_least_value_has_none() -> None:
    assert math.isnan(best_constant(Endless(), VALUES))


def test_a_loss_that_refuses_the_targets_has_none() -> None:
    assert math.isnan(best_constant(nn.CrossEntropyLoss(), torch.tensor([0, 5]), 2))
    assert best_constant(PercentageError(), VALUES.abs() + 1, 1) > 0


def test_least_squares_of_a_net_that_is_affine_in_its_parameters() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64)
    design = torch.cat([x, torch.ones(9, 1)], 1)
    residual = y - design @ torch.linalg.lstsq(design, y).solution
    expected = residual.square().mean().item()
    assert least_squares_loss(nn.Linear(2, 3), nn.MSELoss(), x, y) == pytest.approx(expected)
    fixed = nn.Linear(2, 3)
    with torch.no_grad():
        fixed.bias.copy_(torch.tensor([1.0, 2, 3]))
    fixed.bias.requires_grad_(False)
    rest = y - fixed.bias.double()
    expected = (rest - x @ torch.linalg.lstsq(x, rest).solution).square().mean().item()
    assert least_squares_loss(fixed, nn.MSELoss(), x, y) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("net", "loss"),
    [
        (MLP([2, 3, 3]), nn.MSELoss()),
        (nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 3, bias=False)), nn.MSELoss()),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.MSELoss()),
        (nn.Linear(2, 3), nn.L1Loss()),
    ],
)
def test_of_other_nets_and_losses_it_is_not_known(net: nn.Module, loss: nn.Module) -> None:
    x, y = torch.randn(9, 2), torch.randn(9, 3)
    before = {name: p.clone() for name, p in net.named_parameters()}
    assert least_squares_loss(net, loss, x, y) is None
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
