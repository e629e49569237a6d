"""The checkpoint: when it is written, that it loads safely, that a fit continues from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from tests.conftest import cloud, equal, small_net, small_task, trainer
from toyml.callbacks import LastCheckpoint, Recorder
from toyml.callbacks import checkpoint as module
from toyml.errors import DivergedError
from toyml.tasks import Supervised

ADAM = partial(torch.optim.Adam, lr=0.05)


def last(folder: Path) -> Path:
    return folder / "run/version_0/checkpoints/last.ckpt"


def test_a_time_has_to_be_positive() -> None:
    for seconds in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"every_seconds is {seconds}; it has to be positive"):
            LastCheckpoint(every_seconds=seconds)


def test_the_end_loads_without_running_code(tmp_path: Path) -> None:
    task = small_task(ADAM)
    trainer(tmp_path, 30).fit(task, cloud())
    saved = torch.load(last(tmp_path), weights_only=True)
    assert saved["global_step"] == 30
    for name, p in task.state_dict().items():
        assert torch.equal(saved["state_dict"][name], p)
    (state,) = saved["optimizer_states"]
    assert {float(s["step"]) for s in state["state"].values()} == {30.0}
    assert [p.name for p in last(tmp_path).parent.iterdir()] == ["last.ckpt"]


class Saves:
    """A clock that a test sets, and the steps at which checkpoints are written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.steps: list[int] = []
        save = pl.Trainer.save_checkpoint

        def noted(fit: pl.Trainer, *args: Any, **settings: Any) -> None:
            self.steps.append(fit.global_step)
            save(fit, *args, **settings)

        monkeypatch.setattr(pl.Trainer, "save_checkpoint", noted)
        monkeypatch.setattr(module.time, "monotonic", self.look)

    def look(self) -> float:
        return self.now


class Ticking(pl.Callback):
    """Lets a second pass at the end of every block."""

    def __init__(self, clock: Saves) -> None:
        self.clock = clock

    def on_train_epoch_end(self, *_: object) -> None:
        self.clock.now += 1.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (100.0, [200]),
        (2.5, [60, 120, 180, 200]),
        (0.5, [20, 40, 60, 80, 100, 120, 140, 160, 180, 200]),
    ],
)
def test_it_is_written_every_so_many_seconds(
    seconds: float, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Saves(monkeypatch)
    fit = trainer(tmp_path, 200, callbacks=[LastCheckpoint(seconds), Ticking(clock)])
    fit.fit(small_task(), cloud(block_size=20))
    assert clock.steps == expected


class StopError(Exception):
    """What a test stops a fit with."""


class Stopping(pl.Callback):
    """Stops at the end of the third block."""

    def __init__(self, how: BaseException) -> None:
        self.how = how

    def on_train_epoch_end(self, fit: pl.Trainer, task: pl.LightningModule) -> None:
        if fit.global_step == 60:
            raise self.how


@pytest.mark.parametrize("how", [StopError(), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_exception_leaves_a_checkpoint_to_continue_from(
    how: BaseException, tmp_path: Path
) -> None:
    with pytest.raises((StopError, SystemExit, KeyboardInterrupt)):
        trainer(tmp_path / "a", 200, Stopping(how)).fit(small_task(ADAM), cloud(block_size=20))
    assert torch.load(last(tmp_path / "a"), weights_only=True)["global_step"] == 60
    whole, rest = small_task(ADAM), small_task(ADAM)
    trainer(tmp_path / "b", 100).fit(whole, cloud(block_size=20))
    trainer(tmp_path / "c", 100).fit(
        rest, cloud(block_size=20), ckpt_path=last(tmp_path / "a"), weights_only=True
    )
    assert equal(whole.net, rest.net)


def test_a_diverged_fit_does_not_spoil_the_last_good_checkpoint(tmp_path: Path) -> None:
    task = Supervised(small_net(), nn.MSELoss(), partial(torch.optim.SGD, lr=1e4))
    with pytest.raises(DivergedError):
        trainer(tmp_path, 500).fit(task, cloud(block_size=1))
    if last(tmp_path).exists():
        saved = torch.load(last(tmp_path), weights_only=True)["state_dict"]
        assert all(p.isfinite().all() for p in saved.values())


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_continuing_gives_the_bits_of_the_whole_fit(precision: Any, tmp_path: Path) -> None:
    whole, first, second = (small_task(ADAM) for _ in range(3))
    settings: dict[str, Any] = {"precision": precision}
    trainer(tmp_path / "a", 90, **settings).fit(whole, cloud(batch_size=8))
    trainer(tmp_path / "b", 41, **settings).fit(first, cloud(batch_size=8))
    trainer(tmp_path / "c", 90, **settings).fit(
        second, cloud(batch_size=8), ckpt_path=last(tmp_path / "b"), weights_only=True
    )
    assert equal(whole.net, second.net)


def test_nothing_is_written_in_a_fast_dev_run(tmp_path: Path) -> None:
    fit = trainer(tmp_path, 5, fast_dev_run=True, callbacks=[Recorder(), LastCheckpoint(1e-9)])
    fit.fit(small_task(), cloud())
    assert not list(tmp_path.iterdir())
