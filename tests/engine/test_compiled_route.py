"""The compiled route in a fit: the same training to rounding, every step recorded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torchmetrics.classification import BinaryAccuracy

from tests.conftest import cloud, equal, small_net, small_task, trainer
from toyml.compiled import NotCompilable, compile_training
from toyml.run import Run
from toyml.tasks import Supervised


def have_compiler() -> bool:
    net = nn.Linear(2, 1)
    try:
        compile_training(net, nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0.1), 4)
    except NotCompilable:
        return False
    return True


needs_compiler = pytest.mark.skipif(not have_compiler(), reason="no C compiler on this machine")


@needs_compiler
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.SGD, lr=0.3, momentum=0.9), partial(torch.optim.Adam, lr=0.02)],
)
def test_compiled_agrees_with_eager(optimizer: Any, batch_size: int | None, tmp_path: Path) -> None:
    fits = []
    for i, compiled in enumerate((False, True)):
        task = small_task(optimizer, compiled=compiled)
        trainer(tmp_path, 330, precision="64-true", log_every_n_steps=7).fit(
            task, cloud(batch_size=batch_size)
        )
        fits.append((task, Run(tmp_path / f"run/version_{i}")))
    (eager, a), (fast, b) = fits
    assert "compiled route" in fast.route
    assert eager.route == "eager blocks"
    assert a.trajectory.steps.tolist() == b.trajectory.steps.tolist() == list(range(331))
    assert np.allclose(
        a.trajectory.parameters.flat, b.trajectory.parameters.flat, rtol=1e-9, atol=1e-10
    )
    assert a.metrics["loss"]["step"] == b.metrics["loss"]["step"]
    assert np.allclose(a.metrics["loss"]["value"], b.metrics["loss"]["value"], rtol=1e-9)


@needs_compiler
def test_long_fits_are_compiled_without_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toyml.engine.training.COMPILE_FROM", 200)
    for steps, word in ((199, "eager"), (200, "compiled")):
        task = small_task()
        trainer(tmp_path, steps).fit(task, cloud())
        assert word in task.route


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"lr_scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=3)}, "lr_scheduler"),
        ({"optimizer": partial(torch.optim.RMSprop, lr=0.01)}, "RMSprop"),
    ],
)
def test_what_cannot_be_compiled_runs_eagerly_and_says_why(
    settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    task = small_task(compiled=True, **settings)
    fit = trainer(tmp_path, 20)
    fit.fit(task, cloud())
    assert fit.global_step == 20
    assert task.route.startswith("eager route: ")
    assert reason in task.route


def test_no_compiler_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task = small_task(compiled=True)
    trainer(tmp_path, 20).fit(task, cloud())
    assert "eager route" in task.route
    assert "/nonexistent/cc" in task.route


@needs_compiler
def test_divergence_in_the_kernel_stops_at_its_step(tmp_path: Path) -> None:
    from toyml.errors import DivergedError

    steps = []
    for i, compiled in enumerate((False, True)):
        task = Supervised(
            small_net(), nn.MSELoss(), partial(torch.optim.SGD, lr=1e4), compiled=compiled
        )
        with pytest.raises(DivergedError) as caught:
            trainer(tmp_path, 500).fit(task, cloud())
        steps.append(caught.value.step)
        assert Run(tmp_path / f"run/version_{i}").trajectory.steps[-1] == caught.value.step
    assert steps[0] == steps[1]


class Ends(pl.Callback):
    """Notes where blocks end."""

    blockwise = True

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.steps.append(trainer.global_step)


class EveryEpoch(pl.Callback):
    """A user's callback that looks whenever a block ends."""

    def on_train_epoch_end(self, *_: object) -> None:
        """Nothing."""


@needs_compiler
@pytest.mark.parametrize(
    ("callbacks", "data", "settings", "ends"),
    [
        ([], {}, {}, [1000, 1230]),
        ([], {"batch_size": 8}, {}, [1000, 1230]),
        ([ModelCheckpoint(every_n_train_steps=700)], {}, {}, [700, 1000, 1230]),
        ([], {"block_size": 3}, {}, [*range(60, 1230, 60), 1230]),
        ([EarlyStopping("loss", patience=99)], {}, {}, [*range(50, 1230, 50), 1230]),
        ([ModelCheckpoint()], {}, {}, [*range(50, 1230, 50), 1230]),
        ([EveryEpoch()], {}, {}, [*range(50, 1230, 50), 1230]),
        ([], {"validation": 5}, {}, [*range(50, 1230, 50), 1230]),
        ([], {"batch_size": 8}, {"max_epochs": 3}, [5, 10, 15]),
    ],
)
def test_the_kernel_does_longer_blocks_where_nobody_looks_between(
    callbacks: list[pl.Callback],
    data: dict[str, int],
    settings: dict[str, int],
    ends: list[int],
    tmp_path: Path,
) -> None:
    seen, task = Ends(), small_task(compiled=True)
    fit = trainer(tmp_path, 1230, seen, *callbacks, **settings)
    fit.fit(task, cloud(**data))
    assert "compiled route" in task.route
    assert seen.steps == ends
    assert fit.global_step == ends[-1]
    assert Run(tmp_path / "run/version_0").trajectory.steps.tolist() == list(range(ends[-1] + 1))


def test_eager_blocks_stay_short(tmp_path: Path) -> None:
    """An interrupt and the bar wait for the end of a block."""
    seen = Ends()
    trainer(tmp_path, 120, seen).fit(small_task(), cloud())
    assert seen.steps == [50, 100, 120]


@needs_compiler
@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_large_net_keeps_its_blocks(batch_size: int | None, tmp_path: Path) -> None:
    """A block's snapshots have to fit the memory, and its end must not be far."""
    seen = Ends()
    net = nn.Sequential(nn.Linear(2, 300), nn.Tanh(), nn.Linear(300, 1))
    task = Supervised(net, nn.MSELoss(), partial(torch.optim.SGD, lr=0.01), compiled=True)
    fit = trainer(tmp_path, 3000, callbacks=[seen], enable_checkpointing=False)
    fit.fit(task, cloud(200, block_size=1500, batch_size=batch_size))
    assert seen.steps[0] == (1500 if batch_size is None else 3000)


@needs_compiler
@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_resumed_fit_has_the_same_bits(batch_size: int | None, tmp_path: Path) -> None:
    """Wherever long blocks were cut."""
    optimizer = partial(torch.optim.Adam, lr=0.02)
    runs = []
    for name, stops in (("a", [2300]), ("b", [330, 1700, 2300])):
        checkpoint = None
        for stop in stops:
            task = small_task(optimizer, compiled=True)
            fit = trainer(tmp_path / name, stop)
            fit.fit(task, cloud(batch_size=batch_size), ckpt_path=checkpoint, weights_only=False)
            assert fit.global_step == stop
            folder = sorted((tmp_path / name / "run").glob("version_*"))[-1]
            checkpoint = folder / "checkpoints/last.ckpt"
        runs.append((task, Run(folder)))
    (straight, one), (resumed, two) = runs
    assert equal(straight.net, resumed.net)
    again = two.trajectory.steps
    assert again.tolist() == list(range(1700, 2301))
    assert np.array_equal(one.trajectory.parameters.flat[1700:], two.trajectory.parameters.flat)


class Own(Supervised):
    """A task that logs the mean output."""

    def measure(self, output: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        assert output.shape == y.shape
        return {"mean": float(output.mean()), "target": float(y.mean())}


@needs_compiler
@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("own", [False, True])
def test_metrics_are_those_of_the_eager_route(
    own: bool, batch_size: int | None, tmp_path: Path
) -> None:
    found = []
    for i, compiled in enumerate((False, True)):
        kind = Own if own else partial(Supervised, metrics={"accuracy": BinaryAccuracy()})
        task = kind(
            small_net(),
            nn.BCEWithLogitsLoss(),
            partial(torch.optim.SGD, lr=0.3),
            compiled=compiled,
        )
        trainer(tmp_path, 230, precision="64-true", log_every_n_steps=7).fit(
            task, cloud(batch_size=batch_size)
        )
        found.append(Run(tmp_path / f"run/version_{i}").metrics)
    eager, fast = found
    batch = {"batch_loss"} if batch_size else set()
    assert set(eager) == batch | ({"loss", "mean", "target"} if own else {"loss", "accuracy"})
    for name, curve in eager.items():
        assert fast[name]["step"] == curve["step"]
        assert np.allclose(fast[name]["value"], curve["value"], rtol=1e-9)
