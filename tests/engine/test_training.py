"""Blocks give the very bits of the plain loop."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from tests.conftest import cloud, equal, plain_loop, small_net, small_task, trainer, xor
from toyml.data import InMemory
from toyml.engine import batch_order
from toyml.engine.route import obstacle
from toyml.engine.training import what_to_try
from toyml.errors import DivergedError
from toyml.models import MLP
from toyml.run import Run
from toyml.tasks import Supervised

OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.5),
    "decay": partial(torch.optim.SGD, lr=0.3, weight_decay=0.01),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.3),
    "nesterov": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": partial(torch.optim.Adam, lr=0.02),
    "adam decay": partial(torch.optim.Adam, lr=0.02, weight_decay=0.1),
    "adamw": partial(torch.optim.AdamW, lr=0.02),
    "amsgrad": partial(torch.optim.Adam, lr=0.02, amsgrad=True),
    "fused": partial(torch.optim.Adam, lr=0.02, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.01),
    "adagrad": partial(torch.optim.Adagrad, lr=0.05),
}


def batches_of(data: InMemory, dtype: torch.dtype = torch.float32) -> Any:
    x, y = (a.to(dtype) for a in data.arrays())
    size = data.batch_size
    if size is None:
        return lambda step: (x, y)

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        number, i = divmod(step, math.ceil(len(x) / size))
        order = batch_order(len(x), data.seed, number) if data.shuffle else torch.arange(len(x))
        rows = order[i * size : (i + 1) * size]
        return x[rows], y[rows]

    return batch


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_bit_equal_to_the_plain_loop(
    optimizer: Any, batch_size: int | None, tmp_path: Path
) -> None:
    data = cloud(batch_size=batch_size)
    task = small_task(optimizer)
    fit = trainer(tmp_path, 123, log_every_n_steps=1)
    fit.fit(task, data)
    net = small_net()
    losses = plain_loop(net, task.loss, optimizer, batches_of(data), 123)
    assert task.training_blocks() is not None
    assert equal(task.net, net)
    assert fit.global_step == 123
    logged = Run(tmp_path / "run/version_0").metrics
    assert logged["loss" if batch_size is None else "batch_loss"]["value"][:123] == losses
    x, y = (a.float() for a in data.arrays())
    assert logged["loss"]["step"][-1] == 123
    assert logged["loss"]["value"][-1] == task.loss(net(x), y).item(), "over all rows"
    assert ("batch_loss" in logged) == (batch_size is not None)


LOSSES = [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.SmoothL1Loss(beta=0.3), nn.BCELoss()]
NETS = {
    "sigmoid": lambda: MLP([2, 4, 3, 1], nn.Sigmoid(), nn.Sigmoid()),
    "relu, no bias": lambda: MLP([2, 6, 1], nn.ReLU(), nn.Sigmoid(), bias=False),
    "gelu by autograd": lambda: MLP([2, 4, 1], nn.GELU(), nn.Sigmoid()),
    "sequential": lambda: nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.Sigmoid())),
}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_every_loss_and_layer_is_bit_equal(
    loss: nn.Module, make: Any, precision: Any, tmp_path: Path
) -> None:
    optimizer = partial(torch.optim.SGD, lr=0.2, momentum=0.5)
    data, dtype = cloud(), torch.float64 if precision == "64-true" else torch.float32
    torch.manual_seed(1)
    task = Supervised(make(), loss, optimizer)
    trainer(tmp_path, 60, precision=precision).fit(task, data)
    torch.manual_seed(1)
    net = make().to(dtype)
    plain_loop(net, loss, optimizer, batches_of(data, dtype), 60)
    assert equal(task.net.to(dtype), net)


@pytest.mark.parametrize(
    "scheduler",
    [partial(CosineAnnealingLR, T_max=40), partial(torch.optim.lr_scheduler.StepLR, step_size=7)],
)
def test_schedulers_step_with_every_update(scheduler: Any, tmp_path: Path) -> None:
    optimizer = partial(torch.optim.Adam, lr=0.05)
    data, task = cloud(), small_task(optimizer, lr_scheduler=scheduler)
    trainer(tmp_path, 70).fit(task, data)
    net = small_net()
    plain_loop(net, task.loss, optimizer, batches_of(data), 70, scheduler)
    assert equal(task.net, net)


def test_plateau_scheduler_sees_every_loss(tmp_path: Path) -> None:
    scheduler = partial(ReduceLROnPlateau, patience=0, factor=0.5, threshold=0.5)
    task = small_task(lr_scheduler=scheduler)
    fit = trainer(tmp_path, 20)
    fit.fit(task, cloud())
    assert fit.optimizers[0].param_groups[0]["lr"] < 0.5


def test_the_ordinary_route_agrees_with_blocks(tmp_path: Path) -> None:
    """The same fit with clipping at infinity, which blocks leave to Lightning."""
    data = cloud(batch_size=8)
    fast, slow = small_task(), small_task()
    trainer(tmp_path / "a", 60).fit(fast, data)
    trainer(tmp_path / "b", 60, gradient_clip_val=1e9).fit(slow, cloud(batch_size=8))
    assert fast.training_blocks() is not None
    assert "gradient_clip_val" in slow.route
    assert equal(fast.net, slow.net)
    a, b = (Run(tmp_path / k / "run/version_0") for k in "ab")
    assert np.array_equal(a.trajectory.parameters.flat, b.trajectory.parameters.flat)
    assert a.metrics == b.metrics


def test_the_ordinary_route_validates_and_stops_where_blocks_do(tmp_path: Path) -> None:
    stops = [EarlyStopping("val_loss", patience=0, min_delta=0.01) for _ in range(2)]
    fast, slow = (trainer(tmp_path / k, 5000, stop) for k, stop in zip("ab", stops, strict=True))
    slow.gradient_clip_val = 1e9
    fast.fit(small_task(), cloud(validation=10))
    slow.fit(small_task(), cloud(validation=10))
    a, b = (Run(tmp_path / k / "run/version_0") for k in "ab")
    assert "gradient_clip_val" in b.summary["route"]
    assert fast.global_step == slow.global_step
    assert a.metrics == b.metrics


def test_clipping_clips(tmp_path: Path) -> None:
    task = small_task(partial(torch.optim.SGD, lr=1.0))
    trainer(tmp_path, 1, gradient_clip_val=1e-3).fit(task, cloud())
    moved = torch.cat(
        [
            (p - q).flatten()
            for p, q in zip(task.net.parameters(), small_net().parameters(), strict=True)
        ]
    )
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


class Nosy(pl.Callback):
    """A user's callback that counts batches."""

    def __init__(self) -> None:
        self.calls = 0

    def on_train_batch_end(self, *_: object) -> None:
        self.calls += 1


class Own(Supervised):
    """A user's task with an ordinary training_step."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        return self.loss(self(x), y)


def test_a_users_callback_sees_every_step(tmp_path: Path) -> None:
    nosy, task = Nosy(), small_task()
    trainer(tmp_path, 17, nosy).fit(task, cloud())
    assert nosy.calls == 17
    assert "Nosy uses on_train_batch_end" in task.route


def test_a_users_training_step_is_recorded_too(tmp_path: Path) -> None:
    task = Own(small_net(), nn.BCEWithLogitsLoss(), partial(torch.optim.SGD, lr=0.5))
    trainer(tmp_path, 40).fit(task, cloud())
    blocks = small_task()
    trainer(tmp_path, 40).fit(blocks, cloud())
    a, b = (Run(tmp_path / f"run/version_{i}").trajectory for i in range(2))
    assert np.array_equal(a.steps, b.steps)
    assert np.array_equal(a.parameters.flat, b.parameters.flat)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches"),
        ({"overfit_batches": 1}, "overfit_batches"),
        ({"limit_train_batches": 2}, "limit_train_batches"),
        ({"precision": "bf16-mixed"}, "precision"),
    ],
)
def test_what_blocks_would_change_takes_the_ordinary_route(
    settings: dict[str, Any], word: str, tmp_path: Path
) -> None:
    task = small_task()
    fit = trainer(tmp_path, 6, **settings)
    fit.fit(task, cloud(batch_size=8))
    assert word in task.route
    assert fit.global_step == 6


def test_lbfgs_takes_the_ordinary_route(tmp_path: Path) -> None:
    task = small_task(partial(torch.optim.LBFGS, lr=0.5))
    trainer(tmp_path, 5).fit(task, cloud())
    assert "several times" in task.route


def test_fast_dev_run_is_one_step_and_leaves_nothing(tmp_path: Path) -> None:
    task = small_task()
    fit = trainer(tmp_path, 100, fast_dev_run=True)
    fit.fit(task, cloud())
    assert fit.global_step == 1
    assert not list(tmp_path.iterdir())


def test_max_epochs_are_passes_over_the_data(tmp_path: Path) -> None:
    fit = trainer(tmp_path, -1, max_epochs=3)
    fit.fit(small_task(), cloud(37, batch_size=8))
    assert fit.global_step == 3 * 5
    assert fit.current_epoch == 3


def test_early_stopping_stops_between_blocks(tmp_path: Path) -> None:
    stop = EarlyStopping("loss", patience=0, min_delta=10.0)
    fit = trainer(tmp_path, 5000, stop)
    fit.fit(small_task(), cloud())
    assert fit.global_step == 100  # one block to compare with, one without progress


def test_a_forward_pass_of_ones_own_is_what_is_trained(tmp_path: Path) -> None:
    class Threefold(Supervised):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * self.net(x)

    task = Threefold(small_net(), nn.BCEWithLogitsLoss(), partial(torch.optim.SGD, lr=0.5))
    fit = trainer(tmp_path, 5)
    fit.fit(task, cloud())
    assert task.route == "Lightning's ordinary loop: Threefold has a forward of its own"
    x, y = (rows.float() for rows in cloud().arrays())
    by_hand = nn.Sequential(small_net())

    class Scaled(nn.Module):
        def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return nn.BCEWithLogitsLoss()(3 * output, target)

    descent = partial(torch.optim.SGD, lr=0.5)
    losses = plain_loop(by_hand, Scaled(), descent, lambda step: (x, y), 5)
    assert equal(task.net, by_hand)
    logged = Run(tmp_path / "run/version_0").metrics["loss"]
    assert logged["value"][0] == pytest.approx(losses[0], rel=1e-6)


def test_validation_runs_between_blocks(tmp_path: Path) -> None:
    fit = trainer(tmp_path, 150)
    fit.fit(small_task(), cloud(validation=10))
    run = Run(tmp_path / "run/version_0")
    assert run.metrics["val_loss"]["step"] == [50, 100, 150]


def test_model_checkpoint_saves_on_its_own_steps(tmp_path: Path) -> None:
    keep = ModelCheckpoint(every_n_train_steps=30, save_top_k=-1)
    trainer(tmp_path, 130, keep).fit(small_task(), cloud())
    saved = {
        torch.load(f, weights_only=True)["global_step"]
        for f in (tmp_path / "run/version_0/checkpoints").glob("epoch*.ckpt")
    }
    assert saved == {30, 60, 90, 120}


def test_divergence_stops_at_its_step_and_keeps_the_record(tmp_path: Path) -> None:
    task = Supervised(small_net(), nn.MSELoss(), partial(torch.optim.SGD, lr=1e4))
    with pytest.raises(DivergedError, match=r"at step \d+ with lr 10000; every") as caught:
        trainer(tmp_path, 500).fit(task, cloud())
    run = Run(tmp_path / "run/version_0")
    assert run.trajectory.steps[-1] == caught.value.step
    assert run.status == f"diverged at step {caught.value.step}"
    assert len(run.trajectory) == caught.value.step + 1


@pytest.mark.parametrize(
    ("double", "loss", "lr", "words"),
    [
        (
            False,
            nn.MSELoss(),
            3.0,
            ". Try an lr below 3 (--model.optimizer.lr 0.3), or --trainer.precision 64-true",
        ),
        (True, nn.BCEWithLogitsLoss(), 1e4, ". Try an lr below 10000 (--model.optimizer.lr 1000)"),
        (
            True,
            nn.BCELoss(),
            0.5,
            ". Try an lr below 0.5 (--model.optimizer.lr 0.05), or BCEWithLogitsLoss on a net "
            "without its sigmoid",
        ),
        (True, nn.MSELoss(), None, ""),
    ],
)
def test_what_is_so_already_is_not_suggested(
    double: bool, loss: nn.Module, lr: float | None, words: str
) -> None:
    net = small_net().double() if double else small_net()
    assert what_to_try(net, loss, lr) == words


def test_the_line_of_a_diverged_fit_suggests_what_may_help(tmp_path: Path) -> None:
    task = Supervised(small_net(), nn.MSELoss(), partial(torch.optim.SGD, lr=1e4))
    with pytest.raises(DivergedError) as caught:
        trainer(tmp_path, 500, precision="64-true").fit(task, cloud())
    assert "(--model.optimizer.lr 1000)" in str(caught.value)
    assert "64-true" not in str(caught.value)
    assert "BCE" not in str(caught.value)


def test_an_interrupt_inside_a_block_counts_the_steps_done(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    class Interrupting(pl.Callback):
        needs_gradients = False

        def wanted(self, first: int, last: int) -> np.ndarray:
            return np.array([s for s in (70,) if first <= s <= last], dtype=np.int64)

        def observe(self, step: int, task: pl.LightningModule) -> None:
            raise StopError

        def observe_rows(self, steps: np.ndarray, rows: np.ndarray) -> None:
            raise AssertionError

    fit = trainer(tmp_path, 500, Interrupting())
    with pytest.raises(StopError):
        fit.fit(small_task(), cloud())
    assert fit.global_step == 70
    assert Run(tmp_path / "run/version_0").trajectory.steps[-1] >= 69


class Watching(pl.Callback):
    """Looks at the gradients after the last step."""

    needs_gradients = True
    seen: list[torch.Tensor]

    def wanted(self, first: int, last: int) -> np.ndarray:
        return np.array([s for s in (9,) if first <= s <= last], dtype=np.int64)

    def observe(self, step: int, task: pl.LightningModule) -> None:
        self.seen = [p.grad.clone() for p in task.net.parameters()]

    def observe_rows(self, steps: np.ndarray, rows: np.ndarray) -> None:
        raise AssertionError("gradients need the eager route")


def test_gradients_are_left_where_the_plain_loop_leaves_them(tmp_path: Path) -> None:
    data, task, watching = xor(), small_task(compiled=True), Watching()
    trainer(tmp_path, 9, watching).fit(task, data)
    net = small_net()
    plain_loop(net, task.loss, task.optimizer, batches_of(data), 9)
    for gradient, q in zip(watching.seen, net.parameters(), strict=True):
        assert q.grad is not None
        assert torch.equal(gradient, q.grad)
    assert "gradients" in task.route


def test_obstacle_is_none_for_a_plain_fit(tmp_path: Path) -> None:
    task = small_task()
    trainer(tmp_path, 1).fit(task, cloud())
    assert obstacle(task) is None


@pytest.mark.parametrize("n", [10, 37])
def test_rows_name_the_batches(n: int) -> None:
    from toyml.engine import Block

    x = torch.arange(float(n))[:, None]
    block = Block(x, x, 50, 4, True, 7)
    rows = block.rows(5, 25)
    assert rows is not None
    for batch, row in zip(block.batches(5, 25), rows.view(20, 4), strict=True):
        assert batch[0][:, 0].tolist() == row[row >= 0].tolist()


def halved(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(x, layer.weight, layer.bias) / 2


def test_a_replaced_forward_is_not_overlooked(tmp_path: Path) -> None:
    tasks = [small_task(), small_task()]
    for task in tasks:
        task.net.hidden1.forward = partial(halved, task.net.hidden1)
    fast, slow = tasks
    trainer(tmp_path / "a", 40).fit(fast, cloud())
    trainer(tmp_path / "b", 40, gradient_clip_val=1e9).fit(slow, cloud())
    assert fast.training_blocks() is not None
    assert equal(fast.net, slow.net)


@pytest.mark.parametrize(
    "scheduler",
    [
        partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.5, total_steps=60),
        partial(torch.optim.lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.5, step_size_up=9),
    ],
    ids=["one cycle", "cyclic"],
)
def test_schedulers_that_set_the_first_lr_themselves(scheduler: Any, tmp_path: Path) -> None:
    optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    data, task = cloud(), small_task(optimizer, lr_scheduler=scheduler)
    trainer(tmp_path, 50).fit(task, data)
    net = small_net()
    plain_loop(net, task.loss, optimizer, batches_of(data), 50, scheduler)
    assert equal(task.net, net)


def test_overfit_batches_sees_the_same_rows_in_every_pass(tmp_path: Path) -> None:
    seen: list[list[float]] = []

    class Seeing(Supervised):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            seen.append(batch[0][:, 0].tolist())
            return self.loss(self(batch[0]), batch[1])

    task = Seeing(small_net(), nn.BCEWithLogitsLoss(), partial(torch.optim.SGD, lr=0.5))
    trainer(tmp_path, 8, overfit_batches=2).fit(task, cloud(batch_size=8))
    assert seen == [seen[0], seen[1]] * 4
    assert seen[0] != seen[1]


def test_a_module_with_manual_optimization_is_recorded(tmp_path: Path) -> None:
    class Manual(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.net, self.head = nn.Linear(2, 3), nn.Linear(3, 1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def training_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward((self.head(self.net(x)) - y).square().mean())
            optimizer.step()

    trainer(tmp_path, 10).fit(Manual(), cloud())
    trajectory = Run(tmp_path / "run/version_0").trajectory
    assert trajectory.steps.tolist() == list(range(11))
    assert set(trajectory.parameters) == {"net.weight", "net.bias", "head.weight", "head.bias"}
