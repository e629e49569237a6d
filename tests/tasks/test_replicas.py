"""One fit of R replicas is R fits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from tests.conftest import Rows, trainer
from toyml import Run, optim
from toyml.callbacks import Recorder, ReplicaLosses
from toyml.cli import main
from toyml.errors import UserError
from toyml.models import MLP
from toyml.tasks import Replicas, Supervised

GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn(23, 2, generator=GENERATOR)
TARGETS = torch.sigmoid(POINTS[:, :1] * POINTS[:, 1:])


def net() -> MLP:
    return MLP([2, 3, 1], nn.Tanh())


def data(**settings: Any) -> Rows:
    return Rows(POINTS, TARGETS, **settings)


def replicas(optimizer: Any = None, **settings: Any) -> Replicas:
    optimizer = optimizer or partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    chosen = {"replicas": 3, **settings}
    return Replicas(net, nn.BCEWithLogitsLoss(), optimizer, **chosen)


@pytest.mark.parametrize("compiled", [None, False])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_replicas_are_separate_fits(
    tmp_path: Path, batch_size: int | None, compiled: bool | None
) -> None:
    rule = partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01)
    task = replicas(rule, first_seed=4, decay_bias=False, compiled=compiled)
    fit = trainer(tmp_path / "all", 120, precision="64-true")
    fit.fit(task, data(batch_size=batch_size))
    together = Run(fit.logger.folder, task, fit.datamodule)
    assert together.trajectory.parameters["hidden1.weight"].shape == (121, 3, 3, 2)
    for i in range(3):
        torch.manual_seed(4 + i)
        single = Supervised(net(), nn.BCEWithLogitsLoss(), rule, decay_bias=False)
        alone = trainer(tmp_path / str(i), 120, precision="64-true")
        alone.fit(single, data(batch_size=batch_size))
        expected = Run(alone.logger.folder, single, alone.datamodule).trajectory.parameters
        for name, values in expected.items():
            found = together.trajectory.parameters[name][:, i]
            assert abs(found - values).max() < 1e-12
            assert (found[0] == values[0]).all(), "the start has the very bits"


def test_the_log_holds_quantiles_at_every_logged_step(tmp_path: Path) -> None:
    fit = trainer(tmp_path, 30, log_every_n_steps=10)
    task = replicas(partial(optim.SGD, lr=[0.01, 0.1, 1.0]))
    fit.fit(task, data())
    run = Run(fit.logger.folder, task, fit.datamodule)
    assert run.metrics["loss"]["step"] == [0, 10, 20, 30]
    losses = []
    for i in range(3):
        one = net()
        at = {name: p[1, i] for name, p in run.trajectory.select([0, 20]).items()}
        one.load_state_dict(at)
        losses.append(float(nn.BCEWithLogitsLoss()(one(POINTS), TARGETS).detach()))
    assert run.metrics["loss"]["value"][2] == pytest.approx(sorted(losses)[1], rel=1e-5)
    assert run.metrics["diverged"]["value"] == [0.0] * 4
    assert run.summary["route"] == task.route


def test_mini_batches_are_logged_over_all_rows(tmp_path: Path) -> None:
    fit = trainer(tmp_path, 30, log_every_n_steps=7)
    task = replicas()
    fit.fit(task, data(batch_size=5))
    run = Run(fit.logger.folder, task, fit.datamodule)
    logged = run.metrics["loss"]
    assert logged["step"] == [0, 7, 14, 21, 28, 30]
    for step, value in zip(logged["step"], logged["value"], strict=True):
        state = run.trajectory.at(step)
        losses = [
            nn.functional.binary_cross_entropy_with_logits(
                torch.func.functional_call(net(), {k: v[i] for k, v in state.items()}, (POINTS,)),
                TARGETS,
            ).item()
            for i in range(3)
        ]
        assert value == pytest.approx(sorted(losses)[1], rel=1e-5)


def test_numbers_of_classes_train_as_one_hot_rows_do(tmp_path: Path) -> None:
    numbers = torch.arange(23) % 3
    found = []
    for i, y in enumerate((numbers, numbers[:, None], torch.eye(3)[numbers])):
        task = Replicas(
            lambda: MLP([2, 4, 3], nn.Tanh()),
            nn.CrossEntropyLoss(),
            partial(torch.optim.SGD, lr=0.1),
            replicas=2,
        )
        fit = trainer(tmp_path / str(i), 20)
        fit.fit(task, Rows(POINTS, y))
        found.append(Run(fit.logger.folder, task, fit.datamodule).trajectory.parameters.flat)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, torch.optim.RMSprop])
def test_a_continued_fit_gives_the_bits_of_one_in_a_piece(tmp_path: Path, kind: Any) -> None:
    chosen: dict[str, Any] = {"lr": 0.05 if kind is torch.optim.RMSprop else [0.01, 0.1, 0.05]}
    if kind is optim.SGD:
        chosen |= {"momentum": [0.0, 0.9, 0.5], "dampening": 0.2}
    whole, parts = (replicas(partial(kind, **chosen)) for _ in range(2))
    trainer(tmp_path / "whole", 100).fit(whole, data(batch_size=5))
    first = trainer(tmp_path / "parts", 37)
    first.fit(parts, data(batch_size=5))
    checkpoint = first.logger.folder / "checkpoints" / "last.ckpt"
    again = replicas(partial(kind, **chosen))
    fit = trainer(tmp_path / "parts", 100)
    fit.fit(again, data(batch_size=5), ckpt_path=str(checkpoint), weights_only=False)
    for p, q in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_diverged_replica_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    rule = partial(optim.SGD, lr=[0.1, 1e9, 0.1])
    task = Replicas(lambda: MLP([2, 3, 1], nn.ReLU()), nn.MSELoss(), rule, replicas=3)
    fit = trainer(tmp_path, 60, log_every_n_steps=1)
    fit.fit(task, data())
    run = Run(fit.logger.folder, task, fit.datamodule)
    step = int(task.diverged[1])
    assert 0 < step < 10
    assert task.diverged.tolist() == [-1, step, -1]
    counted = run.metrics["diverged"]["value"]
    assert counted[:step] == [0.0] * step
    assert counted[step:] == [1.0] * (61 - step)
    assert all(p[[0, 2]].isfinite().all() for p in task.net.parameters())


def test_starting_points_can_be_given(tmp_path: Path) -> None:
    biases = [[[0.0] * 3], [[1.0] * 3]]
    grid = torch.tensor(biases)[:, 0]
    task = replicas(replicas=2, initial={"hidden1.bias": grid.tolist()})
    torch.manual_seed(1)
    drawn = net()
    assert torch.equal(task.net.get_parameter("hidden1.bias"), grid)
    assert torch.equal(task.net.get_parameter("output.weight")[1], drawn.output.weight)
    with pytest.raises(UserError, match=r"shape \[1, 3\].*\[2, 3\]"):
        replicas(replicas=2, initial={"hidden1.bias": [[1.0, 2, 3]]})
    with pytest.raises(UserError, match=r"'bias'.*hidden1\.weight"):
        replicas(initial={"bias": [1.0]})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gradient_clip_val": 1.0}, "gradient_clip_val is 1.0"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches is 2"),
        ({"callbacks": [EarlyStopping("loss")]}, "EarlyStopping"),
        ({"callbacks": [Recorder(gradients=True)]}, "not recorded"),
    ],
)
def test_what_looks_at_all_replicas_together_is_refused(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        trainer(tmp_path, 5, **settings).fit(replicas(), data())
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("rows.bin"))


@pytest.mark.parametrize("kind", ["LBFGS", "Adafactor", "Muon"])
def test_optimizers_that_couple_replicas_are_refused(kind: str) -> None:
    with pytest.raises(UserError, match=kind):
        replicas(getattr(torch.optim, kind))


def test_a_layer_that_cannot_be_mapped_is_named_before_anything_is_written(tmp_path: Path) -> None:
    def dropping() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))

    task = Replicas(dropping, nn.MSELoss(), torch.optim.SGD, replicas=2)
    with pytest.raises(UserError, match=r"layer 1 \(Dropout\)"):
        trainer(tmp_path, 5).fit(task, data())
    assert not list(tmp_path.rglob("rows.bin"))


def test_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    task = Replicas(lambda: MLP([3, 2, 1]), nn.MSELoss(), torch.optim.SGD, replicas=2)
    with pytest.raises(UserError, match="does not take inputs"):
        trainer(tmp_path, 5).fit(task, data())
    task = Replicas(lambda: MLP([2, 2, 2]), nn.MSELoss(), torch.optim.SGD, replicas=2)
    with pytest.raises(UserError, match=r"\[2, 2\] but y has \[2, 1\]"):
        trainer(tmp_path, 5).fit(task, data())


def test_an_interrupted_block_leaves_no_replica_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toyml.replicas.eager import NarrowRoute

    task = replicas(partial(torch.optim.Adam, lr=0.01), compiled=False)
    chunks: list[int] = []
    run_chunk = NarrowRoute._run_chunk

    def interrupted(self: NarrowRoute, start: int, stop: int, seen: Any) -> None:
        if len(chunks) == 4:
            raise KeyboardInterrupt
        chunks.append(start)
        run_chunk(self, start, stop, seen)

    monkeypatch.setattr(NarrowRoute, "_run_chunk", interrupted)
    monkeypatch.setattr("toyml.replicas.eager.chunk_size", lambda *_: 1)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(tmp_path, 150).fit(task, data(block_size=50))
    assert chunks == [0, 1, 2, 0]
    once = replicas(partial(torch.optim.Adam, lr=0.01), compiled=False)
    monkeypatch.setattr(NarrowRoute, "_run_chunk", run_chunk)
    trainer(tmp_path / "once", 50).fit(once, data())
    for p, q in zip(task.net.parameters(), once.net.parameters(), strict=True):
        assert torch.equal(p, q)


def test_from_the_command_line_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = {
        "model": {
            "class_path": "toyml.tasks.Replicas",
            "init_args": {
                "net": {"class_path": "toyml.models.MLP", "init_args": {"widths": [2, 5, 1]}},
                "loss": "torch.nn.MSELoss",
                "optimizer": {"class_path": "toyml.optim.SGD", "init_args": {"lr": [0.3, 1.0]}},
                "replicas": 2,
            },
        },
        "data": {"class_path": "toyml.data.Xor"},
        "trainer": {
            "max_steps": 20,
            "log_every_n_steps": 5,
            "callbacks+": [
                "toyml.callbacks.Recorder",
                "toyml.callbacks.Curves",
                "toyml.callbacks.ReplicaLosses",
                {"class_path": "toyml.callbacks.Report", "init_args": {"question": "Which?"}},
            ],
        },
    }
    Path("many.yaml").write_text(yaml.safe_dump(config))
    main(["fit", "--config", "many.yaml"])
    run = Run.load("runs/many/version_0")
    assert run.finished
    assert list(run.trajectory.parameters["hidden1.weight"].shape) == [21, 2, 5, 2]
    outputs: Tensor = run.task(torch.zeros(4, 2))
    assert list(outputs.shape) == [2, 4, 1]
    last = run.trajectory.select([-1])["output.bias"][0]
    assert torch.equal(run.net.get_parameter("output.bias"), last)
    # What shows one net says that this is none; what shows many is drawn.
    figures = run.folder / "figures"
    assert "trains 2 replicas at once" in (figures / "curves.json").read_text()
    assert not (figures / "curves.png").exists()
    assert (figures / "replica_losses.png").stat().st_size > 5000
    page = (run.folder / "report.html").read_text()
    assert "The median of 2 losses goes from" in page
    assert "it shows one net" in page
    (ax,) = ReplicaLosses().draw(run).canvas.axes
    assert ax.lines[0].get_xdata().tolist() == [0, 5, 10, 15, 20]
    assert ax.lines[0].get_ydata().tolist() == run.metrics["loss"]["value"]
