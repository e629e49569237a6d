from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.claims.recorded import recorded
from tests.conftest import Rows
from toyml.claims import Enclosed, FloorHolds, LossBetween, RegionsOf
from toyml.data import InMemory
from toyml.models import MLP

# Labels 0 1 0 1 along a line: any monotone function is wrong somewhere, in every direction.
ROWS = Rows([[0.0, 0], [1, 0], [2, 0], [3, 0]], [[0.0], [1], [0], [1]])
# Two rows in the middle at 1/2, the outer ones right: ln 2 twice, over four rows.
FLOOR = np.log(2) / 2
FLAT = [0.0] * 5  # loss ln 2
# A step at 1/2, answering 1/e^40 below and 2/3 above: floor of three rows at 2/3.
STEEP = [80.0, 0.0, -40.0, np.log(2) + 40, -40.0]


def unit(activation: nn.Module | None = None, output: nn.Module | None = None) -> MLP:
    return MLP([2, 1, 1], activation or nn.Sigmoid(), output or nn.Sigmoid())


def test_the_loss_of_a_monotone_unit_is_above_the_floor(tmp_path: Path) -> None:
    run = recorded(tmp_path, [FLAT, STEEP], net=unit(), data=ROWS)
    assert LossBetween("", FLOOR, np.log(2), step=1).judge(run).verdict == "holds"
    assert FloorHolds("").judge(run).verdict == "holds"


class Constant(nn.BCELoss):
    """Cross-entropy less 1/2 where the output of the first row is small: no cross-entropy."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().forward(output, target) - 0.5 * (output[..., 0, 0] < 0.1)


@pytest.mark.parametrize("below", [0, 1, 2])
def test_any_snapshot_below_the_floor_is_found(tmp_path: Path, below: int) -> None:
    path = [FLAT] * 3
    path[below] = STEEP
    run = recorded(tmp_path, path, steps=[0, 4, 9], net=unit(), data=ROWS, loss=Constant())
    judged = FloorHolds("").judge(run)
    assert judged.verdict == "fails"
    assert f"at step {[0, 4, 9][below]}, below the floor {FLOOR:.6f}" in str(judged.measured)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"net": MLP([2, 2, 1], output_activation=nn.Sigmoid())}, "exactly one hidden unit"),
        ({"net": MLP([2, 1, 1, 1], output_activation=nn.Sigmoid())}, "exactly one hidden unit"),
        ({"net": MLP([2, 1], output_activation=nn.Sigmoid())}, "exactly one hidden unit"),
        ({"net": unit(nn.GELU())}, "GELU is not known to be monotone"),
        ({"net": unit(), "loss": nn.MSELoss()}, "not of MSELoss"),
        ({"net": unit(), "loss": nn.BCELoss(reduction="sum")}, "not the plain mean"),
        ({"net": unit(), "loss": nn.BCELoss(weight=torch.tensor([2.0]))}, "not the plain mean"),
        ({"net": unit(), "data": Rows([[0.0, 1], [1, 0]], [[0.5], [1.0]])}, "labels"),
        ({"net": MLP([3, 1, 1]), "data": Rows([[0.0, 1, 2]], [[1.0]])}, "points of the plane"),
    ],
)
def test_the_floor_is_that_of_one_monotone_unit_under_cross_entropy(
    tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    data: InMemory = settings.pop("data", ROWS)
    size = sum(p.numel() for p in settings["net"].parameters())
    judged = FloorHolds("").judge(recorded(tmp_path, [np.zeros(size)], data=data, **settings))
    assert judged.verdict == "not applicable"
    assert why in judged.why


def test_a_run_of_no_step_is_not_judged(tmp_path: Path) -> None:
    run = recorded(tmp_path, np.zeros((0, 5)), net=unit(), data=ROWS)
    for claim in (FloorHolds(""), Enclosed(""), RegionsOf("", 0, 1), LossBetween("", 0, 1)):
        assert claim.judge(run).why == "the run has recorded no step"
