from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from toyml.losses import PercentageError
from toyml.measures.bounds import best_constant, least_squares_loss
from toyml.models import MLP

Y = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))


@pytest.mark.parametrize(
    ("loss", "y", "width", "expected"),
    [
        (nn.MSELoss(), Y, 1, 3 / 16),
        (nn.L1Loss(), Y, 1, 1 / 4),  # the median, 0
        (nn.BCELoss(), Y, 1, ENTROPY),
        (nn.BCEWithLogitsLoss(), Y, 1, ENTROPY),
        (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0])), Y, 1, 1.5 * math.log(2)),
        (nn.SoftMarginLoss(), 2 * Y - 1, 1, ENTROPY),
        (nn.CrossEntropyLoss(), torch.tensor([0, 0, 0, 1]), 2, ENTROPY),
        (nn.MSELoss(), torch.eye(2), 2, 1 / 4),
        (nn.MSELoss(reduction="sum"), Y, 1, 3 / 4),
        (nn.MSELoss(), torch.ones(3, 1), 1, 0.0),
    ],
)
def test_the_best_constant(loss: nn.Module, y: torch.Tensor, width: int, expected: float) -> None:
    assert best_constant(loss, y, width) == pytest.approx(expected, abs=1e-6)


def test_a_loss_that_refuses_the_targets_has_none() -> None:
    assert math.isnan(best_constant(nn.CrossEntropyLoss(), torch.tensor([0, 5]), 2))
    assert best_constant(PercentageError(), Y + 1, 1) > 0


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
