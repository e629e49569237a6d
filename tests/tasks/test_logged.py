"""One meaning of ``loss``: over all rows, in evaluation mode, at that step."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy, BinaryConfusionMatrix

from tests.conftest import Rows, cloud, small_net, small_task, trainer, xor
from toyml.errors import UserError
from toyml.logger import RunLogger
from toyml.run import Run
from toyml.tasks import Supervised
from toyml.views import landscape_view, loss_view

SGD = partial(torch.optim.SGD, lr=0.3)


class Ordinary(Callback):
    """A callback with a hook per step, which takes Lightning's ordinary loop."""

    def on_train_batch_end(self, *_: Any) -> None:
        """Nothing."""


class Penalised(Supervised):
    """A training step of one's own that logs its loss under the name of the loss."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        value: Tensor = self.loss(self(x), y) + 0.1 * self.net[0].weight.square().sum()
        self.log("loss", value)
        return value


class Loader(pl.LightningDataModule):
    """The cloud from a loader of one's own, shuffled."""

    def __init__(self, batch_size: int = 8, held_out: bool = False) -> None:
        super().__init__()
        x, y = (a.float() for a in cloud().arrays())
        self.set, self.batch_size, self.held_out = TensorDataset(x, y), batch_size, held_out

    def train_dataloader(self) -> Any:
        return DataLoader(self.set, self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.set, self.batch_size) if self.held_out else []


def wide(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), *layers, nn.Linear(8, 1))


def random_net() -> nn.Sequential:
    return wide(nn.Dropout(0.5))


def normed_net() -> nn.Sequential:
    return wide(nn.BatchNorm1d(8))


def checked(run: Run) -> dict[str, dict[str, list[float]]]:
    """The metrics of a run whose every logged loss is the one of all rows at that step."""
    metrics = run.metrics
    steps = np.asarray(metrics["loss"]["step"])
    assert steps[0] == 0
    assert steps[-1] == run.trajectory.steps[-1]
    x, y = run.data
    states = run.trajectory.select([run.trajectory.index(int(s)) for s in steps])
    run.net.eval()
    with torch.no_grad():
        for i, value in enumerate(metrics["loss"]["value"]):
            state = {name: values[i] for name, values in states.items()}
            output = torch.func.functional_call(run.net, state, (x,))
            assert value == pytest.approx(run.loss(output, y).item(), rel=2e-6)
            if "accuracy" in metrics:
                right = ((output > 0) == (y > 0.5)).double().mean().item()
                assert metrics["accuracy"]["value"][i] == pytest.approx(right, abs=1e-6)
    view = loss_view(run)
    at = np.searchsorted(view.steps, steps)
    assert view.loss[at] == pytest.approx(metrics["loss"]["value"], rel=2e-6)
    return metrics


@pytest.mark.parametrize("net", [small_net, random_net, normed_net])
@pytest.mark.parametrize(
    ("data", "callbacks"),
    [
        (cloud, []),
        (partial(cloud, batch_size=8), []),
        (cloud, [Ordinary]),
        (partial(cloud, batch_size=8), [Ordinary]),
        (Loader, []),
        (partial(Loader, batch_size=64), []),
    ],
    ids=["blocks", "mini-batches", "ordinary", "ordinary batches", "a loader", "a full loader"],
)
def test_the_logged_loss_is_that_of_all_rows(
    net: Any, data: Any, callbacks: list[Any], tmp_path: Path
) -> None:
    task = Supervised(net(), nn.BCEWithLogitsLoss(), SGD, metrics={"accuracy": BinaryAccuracy()})
    fit = trainer(tmp_path, 60, *(c() for c in callbacks), log_every_n_steps=7)
    fit.fit(task, data())
    run = Run(tmp_path / "run/version_0", task, fit.datamodule)
    metrics = checked(run)
    small = (getattr(fit.datamodule, "batch_size", None) or 37) < 37
    assert ("batch_loss" in metrics) == (small or net is not small_net)


def test_the_compiled_route_logs_the_same_for_mini_batches(tmp_path: Path) -> None:
    found = []
    for i, compiled in enumerate((False, True)):
        task = small_task(compiled=compiled)
        fit = trainer(tmp_path, 60, log_every_n_steps=7, precision="64-true")
        fit.fit(task, cloud(batch_size=8))
        found.append(checked(Run(tmp_path / f"run/version_{i}", task, fit.datamodule)))
    for name, column in found[0].items():
        assert found[1][name]["step"] == column["step"]
        assert found[1][name]["value"] == pytest.approx(column["value"], rel=1e-9)


def test_a_training_step_of_ones_own_does_not_mix_with_the_loss(tmp_path: Path) -> None:
    task = Penalised(small_net(), nn.BCEWithLogitsLoss(), SGD)
    fit = trainer(tmp_path, 20, log_every_n_steps=5)
    fit.fit(task, cloud())
    metrics = checked(Run(tmp_path / "run/version_0", task, fit.datamodule))
    assert metrics["loss"]["step"] == [0, 5, 10, 15, 20]
    assert metrics["batch_loss"]["step"] == [0, 5, 10, 15]
    penalty = 0.1 * small_net()[0].weight.square().sum().item()
    first = metrics["batch_loss"]["value"][0] - metrics["loss"]["value"][0]
    assert first == pytest.approx(penalty, rel=1e-5)


def test_with_accumulated_gradients_a_step_has_one_row(tmp_path: Path) -> None:
    fit = trainer(tmp_path, 10, log_every_n_steps=3, accumulate_grad_batches=2)
    task = small_task()
    fit.fit(task, cloud(batch_size=8))
    metrics = checked(Run(tmp_path / "run/version_0", task, fit.datamodule))
    assert metrics["loss"]["step"] == [0, 3, 6, 9, 10]


@pytest.mark.parametrize("own", [False, True])
def test_held_out_rows_are_judged_together_once(own: bool, tmp_path: Path) -> None:
    task = small_task(metrics={"accuracy": BinaryAccuracy()})
    data = Loader(held_out=True) if own else cloud(validation=11, block_size=5)
    fit = trainer(tmp_path, 10, log_every_n_steps=5)
    fit.fit(task, data)
    metrics = Run(tmp_path / "run/version_0").metrics
    assert metrics["val_loss"]["step"] == [5, 10]
    x, y = data.set.tensors if own else (a.float() for a in data.arrays(held_out=True))
    with torch.no_grad():
        output = task.net.eval()(x)
    assert metrics["val_loss"]["value"][-1] == pytest.approx(task.loss(output, y).item(), rel=1e-6)
    right = ((output > 0) == (y > 0.5)).float().mean().item()
    assert metrics["val_accuracy"]["value"][-1] == pytest.approx(right, abs=1e-6)


def test_looking_at_all_rows_changes_no_bit(tmp_path: Path) -> None:
    nets = []
    for every in (1, 1000):
        task = Supervised(wide(nn.BatchNorm1d(8), nn.Dropout(0.5)), nn.BCEWithLogitsLoss(), SGD)
        torch.manual_seed(5)
        trainer(tmp_path, 30, log_every_n_steps=every).fit(task, cloud(batch_size=8))
        nets.append(task.net.state_dict())
    assert all(torch.equal(nets[1][name], value) for name, value in nets[0].items())


def test_early_stopping_sees_the_loss_of_all_rows(tmp_path: Path) -> None:
    seen: list[float] = []

    class Watch(EarlyStopping):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append(float(self.best_score))

    task = small_task()
    watch = Watch("loss", patience=1000, check_on_train_epoch_end=True)
    fit = trainer(tmp_path, 60, watch, log_every_n_steps=1)
    fit.fit(task, cloud(batch_size=8, block_size=10))
    logged = Run(tmp_path / "run/version_0").metrics["loss"]
    ends = [v for s, v in zip(logged["step"], logged["value"], strict=True) if s and s % 10 == 0]
    assert seen == [pytest.approx(min(ends), rel=1e-6)]


def test_another_logger_gets_the_same_rows(tmp_path: Path) -> None:
    loggers = [RunLogger(str(tmp_path)), CSVLogger(tmp_path / "csv")]
    fit = trainer(tmp_path, 20, log_every_n_steps=10, logger=loggers)
    fit.fit(small_task(), cloud(batch_size=8))
    text = (tmp_path / "csv/lightning_logs/version_0/metrics.csv").read_text()
    assert text.startswith("batch_loss,loss,step") or "loss" in text.splitlines()[0]
    assert len(text.splitlines()) == 4


def test_snapshots_keep_running_statistics(tmp_path: Path) -> None:
    task = Supervised(normed_net(), nn.BCEWithLogitsLoss(), SGD)
    fit = trainer(tmp_path, 30, log_every_n_steps=1)
    fit.fit(task, cloud(batch_size=8))
    trajectory = Run(tmp_path / "run/version_0").trajectory
    assert set(trajectory.buffers) == {
        "2.running_mean",
        "2.running_var",
        "2.num_batches_tracked",
    }
    assert trajectory.select()["2.num_batches_tracked"].tolist() == list(range(31))
    assert trajectory.select([0])["2.running_var"].tolist() == [[1.0] * 8]
    assert torch.equal(trajectory.select([-1])["2.running_mean"][0], task.net[2].running_mean)
    assert set(trajectory.points([0])) == {name for name, _ in task.net.named_parameters()}


def test_each_point_of_a_path_has_its_own_statistics_on_the_landscape(tmp_path: Path) -> None:
    task = Supervised(normed_net(), nn.BCEWithLogitsLoss(), SGD)
    fit = trainer(tmp_path, 30, log_every_n_steps=1)
    fit.fit(task, cloud())
    run = Run(tmp_path / "run/version_0", task, fit.datamodule)
    view = landscape_view(run, grid=5)
    assert view.true == pytest.approx(run.metrics["loss"]["value"], rel=1e-5)
    assert "the net's buffers of the last step" in view.words


def test_xor_row_by_row_has_no_loss_of_zero(tmp_path: Path) -> None:
    task = Supervised(small_net(), nn.MSELoss(), partial(torch.optim.SGD, lr=0.1))
    fit = trainer(tmp_path, 100, log_every_n_steps=1)
    fit.fit(task, xor(batch_size=1, shuffle=False))
    metrics = checked(Run(tmp_path / "run/version_0", task, fit.datamodule))
    assert min(metrics["loss"]["value"]) > 0.1 > min(metrics["batch_loss"]["value"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": nn.BCELoss()}, "BCELoss takes probabilities"),
        ({"metrics": {"four": BinaryConfusionMatrix()}}, r"metric 'four' .* gives \[2, 2\]"),
        ({"loss": nn.MSELoss(reduction="none")}, "one number"),
        ({"net": nn.Linear(3, 1)}, r"inputs of shape \[37, 2\]"),
        ({"loss": nn.CrossEntropyLoss()}, "on one output"),
    ],
)
@pytest.mark.parametrize("data", [cloud, partial(cloud, batch_size=4), Loader])
def test_everything_is_tried_before_anything_is_written(
    data: Any, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    given = {"net": small_net(), "loss": nn.BCEWithLogitsLoss(), "optimizer": SGD, **settings}
    with pytest.raises(UserError, match=words) as caught:
        trainer(tmp_path, 5).fit(Supervised(**given), data())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_metric_is_tried_on_the_last_row_too(tmp_path: Path) -> None:
    y = np.zeros((40, 1))
    y[-1] = -1
    task = Supervised(small_net(), nn.MSELoss(), SGD, metrics={"accuracy": BinaryAccuracy()})
    with pytest.raises(UserError, match="from -1 to 0"):
        trainer(tmp_path, 5).fit(task, Rows(np.zeros((40, 2)), y))


@pytest.mark.parametrize("seed", range(8))
def test_bce_without_a_sigmoid_is_refused_whatever_the_start(seed: int, tmp_path: Path) -> None:
    net = small_net(seed)
    with torch.no_grad():
        net[-1].weight.mul_(0.01)
        net[-1].bias.fill_(0.5)  # all outputs lie between 0 and 1, for now
    with pytest.raises(UserError, match="can put out"):
        trainer(tmp_path, 5).fit(Supervised(net, nn.BCELoss(), SGD), cloud())


def test_rows_in_double_precision_are_refused_and_with_64_true_taken(tmp_path: Path) -> None:
    x, y = cloud().arrays()
    loader = DataLoader(TensorDataset(x, y), 8)
    with pytest.raises(UserError, match=r"inputs are float64 .* 64-true"):
        trainer(tmp_path, 5).fit(small_task(), loader)
    assert not list(tmp_path.iterdir())
    trainer(tmp_path, 5, precision="64-true").fit(small_task(), loader)
    assert Run(tmp_path / "run/version_0").metrics["loss"]["step"] == [0, 5]


@pytest.mark.parametrize(("which", "words"), [(0, "row 3 of the inputs holds nan"), (1, "targets")])
@pytest.mark.parametrize("own", [False, True])
def test_rows_that_are_no_numbers_are_named(
    own: bool, which: int, words: str, tmp_path: Path
) -> None:
    rows = [a.float().clone() for a in cloud().arrays()]
    rows[which][3, 0] = float("nan")
    data = DataLoader(TensorDataset(*rows), 8) if own else Rows(*rows)
    with pytest.raises(UserError, match=words):
        trainer(tmp_path, 5).fit(small_task(), data)
    assert not list(tmp_path.iterdir())


def test_a_loader_without_rows_says_so(tmp_path: Path) -> None:
    empty = TensorDataset(torch.zeros(0, 2), torch.zeros(0, 1))
    with pytest.raises(UserError, match="hands over no rows"):
        trainer(tmp_path, 5).fit(small_task(), DataLoader(empty, 8))


def test_inputs_of_another_type_say_how_to_cast_them(tmp_path: Path) -> None:
    x, y = cloud().arrays()
    with pytest.raises(UserError, match=r"hand over inputs of type float32, such as x\.float"):
        trainer(tmp_path, 5).fit(small_task(), DataLoader(TensorDataset(x.half(), y.float()), 8))
