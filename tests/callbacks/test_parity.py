from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import cloud, small_net, trainer
from toyml.callbacks import Parity
from toyml.claims import NotApplicable, ParityWithin
from toyml.claims.parity import beside_reference, distance
from toyml.logger import run_folder
from toyml.models import MLP, Linear
from toyml.run import Run
from toyml.tasks import Supervised

SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW


def trained(
    folder: Path,
    net: nn.Module,
    loss: nn.Module,
    optimizer: Callable[..., Any],
    steps: int = 60,
    precision: Any = "64-true",
    task: dict[str, Any] | None = None,
    callbacks: tuple[Any, ...] = (),
    **data: Any,
) -> Run:
    fit = trainer(folder, steps, *callbacks, precision=precision)
    supervised = Supervised(net, loss, optimizer, **(task or {}))
    rows = cloud(**data)
    fit.fit(supervised, rows)
    return Run(run_folder(fit), supervised, rows)


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(SGD, lr=0.3),
        partial(SGD, lr=0.1, momentum=0.9, dampening=0.4, weight_decay=0.01),
        partial(SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        partial(Adam, lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
        partial(AdamW, lr=0.02, weight_decay=0.1),
        partial(Adam, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    ],
)
def test_every_optimizer_goes_the_same_way(tmp_path: Path, optimizer: Any) -> None:
    found = beside_reference(trained(tmp_path, small_net(), nn.BCEWithLogitsLoss(), optimizer))
    assert found.steps.tolist() == list(range(61))
    assert found.largest < 1e-13
    assert found.parts_at is None


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(delta=0.3), nn.SmoothL1Loss(), nn.BCELoss()]
)
@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.Tanh(), nn.ReLU()])
def test_every_loss_and_activation_goes_the_same_way(
    tmp_path: Path, loss: nn.Module, activation: nn.Module
) -> None:
    torch.manual_seed(1)
    net = MLP([2, 4, 3, 1], activation, nn.Sigmoid())
    assert beside_reference(trained(tmp_path, net, loss, partial(SGD, lr=0.5))).largest < 1e-13


def test_batches_bias_decay_and_missing_biases(tmp_path: Path) -> None:
    decayed = partial(SGD, lr=0.1, weight_decay=0.3)
    batches = trained(
        tmp_path / "a",
        small_net(),
        nn.MSELoss(),
        decayed,
        batch_size=10,
        task={"decay_bias": False},
    )
    assert beside_reference(batches).largest < 1e-13
    without = trained(tmp_path / "b", Linear(2, bias=False), nn.MSELoss(), decayed)
    assert beside_reference(without).largest < 1e-13


def test_single_precision_is_compared_in_single_precision(tmp_path: Path) -> None:
    run = trained(tmp_path, small_net(), nn.MSELoss(), partial(SGD, lr=0.1), precision="32-true")
    found = beside_reference(run)
    assert found.dtype == "float32"
    assert 1e-12 < found.largest < 1e-5
    assert found.tolerance == pytest.approx(5.36e-5, rel=1e-2)
    assert beside_reference(run, tolerance=0.0).parts_at == found.differs_at


def test_a_changed_step_is_found_and_named(tmp_path: Path) -> None:
    run = trained(tmp_path, small_net(), nn.MSELoss(), partial(SGD, lr=0.1))
    path = run.folder / "trajectory" / "rows.bin"
    rows = np.fromfile(path, run.trajectory._record)
    column = 2 * 3 + 1  # behind the hidden layer's six weights: its second bias
    rows["parameters"][37, column] += 1e-6
    rows.tofile(path)
    found = beside_reference(Run(run.folder, run.task, run.datamodule))
    assert (found.parts_at, found.parts_in) == (37, "hidden1.bias[1]")
    assert (found.at_step, found.parameter) == (37, "hidden1.bias[1]")
    assert found.largest == pytest.approx(1e-6, rel=1e-6)
    assert found.deviations["hidden1.weight"].max() < 1e-13


def test_other_settings_part_at_the_first_step(tmp_path: Path) -> None:
    run = trained(tmp_path, small_net(), nn.MSELoss(), partial(SGD, lr=0.1))
    run.task.optimizer = partial(SGD, lr=0.100001)
    found = beside_reference(run)
    assert found.parts_at == 1
    assert ParityWithin("", 1e-13).judge(run).verdict == "fails"


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def mixed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1, bias=False))


def shared() -> nn.Module:
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(2, 1))


@pytest.mark.parametrize(
    ("net", "loss", "optimizer", "task", "why"),
    [
        (lambda: MLP([2, 2, 1], nn.ELU()), nn.MSELoss(), SGD, {}, "no ELU"),
        (lambda: Doubled(2, 1), nn.MSELoss(), SGD, {}, "no Doubled"),
        (mixed, nn.MSELoss(), SGD, {}, "every layer or in none"),
        (shared, nn.MSELoss(), SGD, {}, "share parameters"),
        (small_net, nn.SoftMarginLoss(), SGD, {}, "no such SoftMarginLoss"),
        (small_net, nn.MSELoss(reduction="sum"), SGD, {}, "means only"),
        (small_net, nn.SmoothL1Loss(beta=0.5), SGD, {}, "no such SmoothL1Loss"),
        (small_net, nn.MSELoss(), torch.optim.Rprop, {}, "no Rprop"),
        (small_net, nn.MSELoss(), partial(Adam, amsgrad=True), {}, "no amsgrad"),
        (small_net, nn.MSELoss(), partial(SGD, maximize=True), {}, "no maximize"),
        (
            small_net,
            nn.MSELoss(),
            SGD,
            {"lr_scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=2)},
            "no lr_scheduler",
        ),
    ],
)
def test_what_has_no_counterpart_is_said(
    tmp_path: Path, net: Any, loss: nn.Module, optimizer: Any, task: dict[str, Any], why: str
) -> None:
    run = trained(tmp_path, net(), loss, partial(optimizer, lr=1e-3), steps=2, task=task)
    with pytest.raises(NotApplicable, match=why):
        beside_reference(run)
    assert ParityWithin("", 1.0).judge(run).verdict == "not applicable"


def test_callback_writes_the_summary_and_the_figure(tmp_path: Path) -> None:
    callback = Parity()
    run = trained(
        tmp_path / "a", small_net(), nn.MSELoss(), partial(SGD, lr=0.1), callbacks=(callback,)
    )
    found = run.summary["parity"]
    assert found["last_step"] == 60
    assert found["snapshots"] == 61
    assert found["parts_at"] is None
    assert 0 < found["largest"] < 1e-13
    words = json.loads((run.folder / "figures" / "parity.json").read_text())
    assert "never differ" not in words["caption"]
    assert "never exceeds the tolerance" in words["caption"]
    # The claim takes what is there instead of training again.
    run.update_summary(parity={**found, "largest": 0.5})
    assert ParityWithin("", 0.1).judge(run).measured == 0.5
    other = trained(
        tmp_path / "b",
        small_net(),
        nn.SoftMarginLoss(),
        partial(SGD, lr=0.1),
        callbacks=(Parity(),),
    )
    assert "no such SoftMarginLoss" in other.summary["parity"]["not_applicable"]
    assert "left_out" in (other.folder / "figures" / "parity.json").read_text()
    with pytest.raises(ValueError, match=r"tolerance is -1\.0"):
        Parity(tolerance=-1.0)


def test_distance_knows_what_is_not_a_number() -> None:
    a = np.array([1.0, np.nan, np.inf, np.nan, -np.inf])
    b = np.array([1.5, np.nan, np.inf, 1.0, np.inf])
    assert distance(a, b).tolist() == [0.5, 0.0, 0.0, np.inf, np.inf]
