"""The supervised task: what it refuses, which parameters decay, what a prediction is."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, LinearLR, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

from tests.conftest import Rows, cloud, equal, plain_loop, small_net, small_task, trainer
from toyml.errors import DivergedError, UserError
from toyml.models import MLP, Linear
from toyml.run import Run
from toyml.tasks import Supervised

SGD = partial(torch.optim.SGD, lr=0.5)


# -- which parameters decay ------------------------------------------------------------------


def test_biases_alone_are_spared(tmp_path: Path) -> None:
    optimizer = partial(torch.optim.SGD, lr=0.5, weight_decay=0.1)
    task = small_task(optimizer, decay_bias=False)
    groups = task.configure_optimizers().param_groups
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    names = {id(p): name for name, p in task.net.named_parameters()}
    assert [[names[id(p)] for p in g["params"]] for g in groups] == [
        ["hidden1.weight", "output.weight"],
        ["hidden1.bias", "output.bias"],
    ]
    trainer(tmp_path, 30).fit(task, cloud())
    net = small_net()
    x, y = (a.float() for a in cloud().arrays())
    plain_loop(net, task.loss, lambda _: optimizer(grouped(net)), lambda _: (x, y), 30)
    assert equal(task.net, net)


def grouped(net: nn.Module) -> list[dict[str, Any]]:
    weights = [p for p in net.parameters() if p.ndim == 2]
    biases = [p for p in net.parameters() if p.ndim == 1]
    return [{"params": weights}, {"params": biases, "weight_decay": 0.0}]


def test_by_default_everything_decays_as_in_pytorch() -> None:
    task = small_task(partial(torch.optim.SGD, lr=0.5, weight_decay=0.1))
    (group,) = task.configure_optimizers().param_groups
    assert group["weight_decay"] == 0.1
    assert len(group["params"]) == 4


@pytest.mark.parametrize("bias", [True, False])
def test_a_group_without_parameters_is_left_out(bias: bool) -> None:
    net = nn.Linear(2, 1, bias=bias)
    if bias:
        net.weight = None  # type: ignore[assignment]
    task = Supervised(net, nn.MSELoss(), partial(SGD, weight_decay=0.1), decay_bias=False)
    (group,) = task.configure_optimizers().param_groups
    assert group["weight_decay"] == (0.0 if bias else 0.1)


def test_sparing_biases_needs_an_optimizer_that_decays() -> None:
    with pytest.raises(UserError, match="decay_bias is false but Rprop has no weight_decay"):
        small_task(partial(torch.optim.Rprop, lr=0.1), decay_bias=False)


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "step", "epoch", "val_loss", "val_anything"])
def test_names_of_the_table_are_not_for_metrics(name: str) -> None:
    with pytest.raises(UserError, match=f"metric name '{name}' is taken"):
        small_task(metrics={name: BinaryAccuracy()})


@pytest.mark.parametrize("name", ["top.1", "items", "type", ""])
def test_names_that_a_module_cannot_have_are_a_users_error(name: str) -> None:
    with pytest.raises(UserError, match="metric name"):
        small_task(metrics={name: BinaryAccuracy()})


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (partial(torch.optim.SGD, lr=-1.0), "optimizer: Invalid learning rate: -1.0"),
        (partial(torch.optim.SGD, lr=0.0), "optimizer lr is 0.0; it has to be positive"),
        (partial(torch.optim.SGD, lr=float("nan")), "optimizer lr is nan"),
        (partial(torch.optim.SGD, lr=0.1, momentum=-2.0), "Invalid momentum value: -2.0"),
        (partial(torch.optim.Adam, lr=0.1, betas=(1.0, 0.9)), "Invalid beta parameter"),
    ],
)
def test_a_wrong_optimizer_is_refused_when_the_task_is_built(optimizer: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        small_task(optimizer)
    assert "\n" not in str(caught.value)


class Flat(nn.Module):
    """Outputs [n] instead of [n, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[:, 0]


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.L1Loss()])
def test_an_output_n_is_not_broadcast_against_targets_n_1(loss: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"output has shape \[37\] .* \[37, 1\].*broadcast"):
        trainer(tmp_path, 3).fit(Supervised(Flat(), loss, SGD), cloud())
    assert not list(tmp_path.iterdir()), "a refused fit leaves nothing"


# Lightning says so of any loader of training rows alone.
ALONE = "ignore:You defined a `validation_step` but have no `val_dataloader`"


def loader(y: torch.Tensor) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(y), 2, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=len(y))


@pytest.mark.filterwarnings(ALONE)
def test_the_same_from_a_loader_of_the_users_own(tmp_path: Path) -> None:
    task = Supervised(Flat(), nn.MSELoss(), SGD)
    with pytest.raises(UserError, match=r"output has shape \[6\] .* \[6, 1\]"):
        trainer(tmp_path, 3).fit(task, loader(torch.ones(6, 1)))


@pytest.mark.filterwarnings("ignore:Using a target size", ALONE)
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss()])
def test_integer_targets_are_not_broadcast_either(loss: nn.Module, tmp_path: Path) -> None:
    y = torch.tensor([0, 1, 0, 1, 1, 0])[:, None]
    with pytest.raises(UserError, match=r"output has shape \[6\] .* \[6, 1\]"):
        trainer(tmp_path, 3).fit(Supervised(Flat(), loss, SGD), loader(y))


def test_the_shape_check_leaves_generators_and_statistics_alone(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))
    net[2].eval()  # a module that its user has frozen stays frozen
    task, before = Supervised(net, nn.MSELoss(), SGD), torch.get_rng_state()
    task.trainer = trainer(tmp_path, 1)
    task.trainer.datamodule = cloud()  # type: ignore[attr-defined]
    task.setup("fit")
    assert torch.equal(before, torch.get_rng_state())
    assert net[1].num_batches_tracked == 0
    assert [m.training for m in net] == [True, True, False, True]


# -- predictions and classes -----------------------------------------------------------------


def test_logits_become_probabilities() -> None:
    output = torch.tensor([[0.0, 1.0, -2.0], [30.0, 0.5, 0.5]])

    def prediction(loss: nn.Module) -> torch.Tensor:
        return Supervised(Linear(2, 3), loss, SGD).prediction(output)

    e = np.exp(output.double().numpy())
    assert np.allclose(prediction(nn.BCEWithLogitsLoss()), e / (1 + e), atol=1e-7)
    assert np.allclose(prediction(nn.CrossEntropyLoss()), e / e.sum(1, keepdims=True), atol=1e-7)
    for loss in (nn.MSELoss(), nn.BCELoss(), nn.HuberLoss()):
        assert torch.equal(prediction(loss), output)


CLASSES = np.array([0, 2, 1, 1, 0, 2, 2])
POINTS = np.random.default_rng(1).standard_normal((7, 2))


def classifier(**settings: Any) -> Supervised:
    torch.manual_seed(0)
    return Supervised(MLP([2, 4, 3], nn.Tanh()), nn.CrossEntropyLoss(), SGD, **settings)


def test_cross_entropy_takes_rows_of_class_probabilities(tmp_path: Path) -> None:
    task, rows = classifier(), Rows(POINTS, np.eye(3)[CLASSES])
    trainer(tmp_path, 40).fit(task, rows)
    by_hand = classifier()
    x = torch.from_numpy(POINTS).float()
    labels = torch.from_numpy(CLASSES)
    losses = plain_loop(by_hand.net, nn.CrossEntropyLoss(), SGD, lambda _: (x, labels), 40)
    for p, q in zip(task.net.parameters(), by_hand.net.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5), "one-hot rows mean the same as class numbers"
    logged = Run(tmp_path / "run/version_0").metrics["loss"]
    assert logged["value"][0] == pytest.approx(losses[0], rel=1e-5)
    assert losses[-1] < losses[0]


@pytest.mark.filterwarnings(ALONE)
def test_cross_entropy_takes_class_numbers_from_a_users_loader(tmp_path: Path) -> None:
    x, labels = torch.from_numpy(POINTS).float(), torch.from_numpy(CLASSES)
    task = classifier(metrics={"accuracy": MulticlassAccuracy(3)})
    trainer(tmp_path, 20).fit(task, DataLoader(TensorDataset(x, labels), batch_size=7))
    by_hand = classifier()
    plain_loop(by_hand.net, nn.CrossEntropyLoss(), SGD, lambda _: (x, labels), 20)
    assert equal(task.net, by_hand.net)


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_numbers_columns_and_one_hot_rows_train_to_the_same_bits(
    weighted: bool, batch_size: int | None, tmp_path: Path
) -> None:
    forms = (CLASSES, CLASSES[:, None], np.eye(3)[CLASSES])
    weight = torch.tensor([1.0, 2.0, 0.5]) if weighted else None
    found = []
    for i, y in enumerate(forms):
        task = classifier(metrics={"accuracy": MulticlassAccuracy(3)})
        task.loss = nn.CrossEntropyLoss(weight=weight)
        data = Rows(POINTS, y)
        data.batch_size = batch_size
        trainer(tmp_path, 20, log_every_n_steps=1).fit(task, data)
        found.append((task.net.state_dict(), Run(tmp_path / f"run/version_{i}").metrics))
    x, labels = torch.from_numpy(POINTS).float(), torch.from_numpy(CLASSES)
    for state, metrics in found[1:]:
        assert all(torch.equal(state[k], v) for k, v in found[0][0].items())
        assert metrics == found[0][1]
    net = classifier().net
    net.load_state_dict(found[0][0])
    right = (net(x).argmax(1) == labels).float()
    shares = [right[labels == c].mean() for c in range(3)]  # torchmetrics takes the mean of classes
    assert found[0][1]["accuracy"]["value"][-1] == pytest.approx(float(sum(shares) / 3), abs=1e-6)


@pytest.mark.parametrize("y", [CLASSES + 0.5, CLASSES + 1.0, CLASSES - 1.0])
def test_numbers_that_are_no_classes_of_the_net_are_refused(y: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0\.5|class 3|class -1"):
        trainer(tmp_path, 5).fit(classifier(), Rows(POINTS, y[:, None]))
    assert not list(tmp_path.iterdir())


# -- schedules -------------------------------------------------------------------------------

SCHEDULES = {
    "OneCycleLR": partial(OneCycleLR, max_lr=0.4, total_steps=60),
    "OneCycleLR, fixed momentum": partial(
        OneCycleLR, max_lr=0.4, total_steps=60, cycle_momentum=False
    ),
    "CyclicLR": partial(CyclicLR, base_lr=0.01, max_lr=0.3, step_size_up=7),
    "LinearLR": partial(LinearLR, start_factor=0.1, total_iters=20),
}


@pytest.mark.parametrize("scheduler", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("clip", [None, 1e9], ids=["blocks", "ordinary loop"])
def test_a_schedule_that_sets_the_rate_itself_starts_a_fresh_fit(
    scheduler: Any, clip: float | None, tmp_path: Path
) -> None:
    optimizer = partial(torch.optim.SGD, lr=0.5, momentum=0.9)
    task = small_task(optimizer, lr_scheduler=scheduler)
    trainer(tmp_path, 50, gradient_clip_val=clip).fit(task, cloud())
    net = small_net()
    x, y = (a.float() for a in cloud().arrays())
    plain_loop(net, task.loss, optimizer, lambda _: (x, y), 50, scheduler)
    if clip is None:
        assert equal(task.net, net)
    for p, q in zip(task.net.parameters(), net.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR"])
def test_a_schedule_continues_where_the_checkpoint_left_it(name: str, tmp_path: Path) -> None:
    def task() -> Supervised:
        optimizer = partial(torch.optim.SGD, lr=0.5, momentum=0.9)
        return small_task(optimizer, lr_scheduler=SCHEDULES[name])

    whole, first, second = task(), task(), task()
    trainer(tmp_path / "a", 50).fit(whole, cloud())
    trainer(tmp_path / "b", 23).fit(first, cloud())
    last = tmp_path / "b/run/version_0/checkpoints/last.ckpt"
    trainer(tmp_path / "c", 50).fit(second, cloud(), ckpt_path=last, weights_only=True)
    assert equal(whole.net, second.net)


@pytest.mark.parametrize("settings", [{}, {"gradient_clip_val": 1e300}], ids=["blocks", "loop"])
def test_a_loss_that_refuses_what_is_no_number_has_diverged(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    explode = partial(torch.optim.SGD, lr=1e20, weight_decay=1e20)
    task = Supervised(MLP([2, 3, 1], nn.Tanh(), nn.Sigmoid()), nn.BCELoss(), explode)
    with pytest.raises(DivergedError, match="the loss is nan at step"):
        trainer(tmp_path, 60, **settings).fit(task, cloud())
    assert next(tmp_path.rglob("rows.bin")).stat().st_size > 0


@pytest.mark.parametrize("settings", [{"weight_decay": math.inf}, {"momentum": math.nan}])
def test_an_optimizer_takes_finite_numbers(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="has to be a finite number"):
        small_task(partial(torch.optim.SGD, lr=0.5, **settings))  # type: ignore[arg-type]
